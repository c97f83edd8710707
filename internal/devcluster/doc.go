// Package devcluster runs a whole dispatcher cluster as processes on loopback: a
// small Mesos and some nodes. `ha-dispatcher dev`, the demo and the tests that
// kill real processes stand on it.
//
// Every process leads a process group of its own and dies with the one that
// started it, even if that one is killed. It never imports testing.
package devcluster
