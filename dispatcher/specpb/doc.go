// Package specpb is the stored form of a driver's specification.
package specpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative spec.proto
