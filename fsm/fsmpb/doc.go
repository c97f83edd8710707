// Package fsmpb is the stored form of fsm: log entries and snapshots.
package fsmpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative fsm.proto
