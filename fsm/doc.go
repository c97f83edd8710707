// Package fsm holds the lifecycles of the dispatcher as data, and the replicated
// state that moves through them.
//
// A driver goes QUEUED → LAUNCHING → RUNNING → one of FINISHED, FAILED, KILLED,
// LOST, ERROR; the framework, which is our registration with Mesos, has a
// lifecycle of its own. Both are tables on looplab/fsm, drawn in
// docs/lifecycles.md from the very tables that run. An event that a state does
// not know is refused with a result; it is never a panic and never skipped.
//
// # The log
//
// State changes only in Apply, which carries out one numbered command. It has no
// clock, no randomness, no I/O and no goroutine: times, ids and choices come with
// the command, so that the same log gives the same bytes on every node. What a
// client asks for carries a request id; asking again gives the first outcome.
//
// # Reading
//
// View is the state at one index. Taking one costs O(1), because the trees behind
// it are copy-on-write; a snapshot is written from a View while Apply goes on.
// Feed tells what changed, in numbered steps that are the same on every node.
//
// # What is not here
//
// Nothing in this package talks to Mesos, decides what to launch or knows what a
// submission means: the specification of a driver is opaque bytes. Package
// dispatcher decides, package raftstore replicates.
package fsm
