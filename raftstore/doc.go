// Package raftstore replicates any deterministic state machine over a few
// nodes: what one node was told and acknowledged, the others know too, and
// they go on when one of them dies.
//
// # The story
//
// You write a [Machine]: Apply changes your state by one log entry, Snapshot
// captures it, Restore replaces it. [Open] starts one node of the cluster
// around it. From then on, on any node:
//
//   - [Store.Propose] puts a command into the log and returns what Apply
//     answered, once a majority of the nodes has the command on disk. On a
//     follower the command is sent to the leader, once.
//   - [Store.Linearize] gives a point in the log that is at least as new as
//     everything acknowledged before the call, and waits until the local
//     machine is there; then read your own state.
//   - [Store.RunWhileLeader] runs the work that only one node may do, and
//     cancels it when leadership is lost.
//   - [Store.Join], [Store.Remove], [Store.Transfer], [Store.Status],
//     [Store.SaveSnapshot] and [Store.RestoreSnapshot] are for operators;
//     [Inspect], [ExportSnapshot] and [RecoverPeers] work on a stopped node.
//
// The consensus itself is hashicorp/raft with raft-boltdb; no type of theirs
// is visible outside of this package.
//
// # Errors and what they mean for your command
//
// [ErrNotLeader], [ErrNoLeader], [ErrTooLarge] and [ErrClosed] without
// [ErrOutcomeUnknown] mean: it was not executed and never will be.
// [ErrOutcomeUnknown] means: it may have been executed, or may yet be. Give
// every command a request id, deduplicate in Apply, and then simply repeat.
//
// # Fail-over
//
// A planned stop ([Store.Close]) hands leadership over first. When a leader's
// process is killed, the followers notice at once that its connections broke
// and that its port refuses the next dial, and take over without waiting for
// a timer. When it falls silent, the timers of the [Profile] decide. DESIGN.md
// in this folder says why that is safe, and how a write travels.
//
// # Build tag
//
// Build with -tags hashicorpmetrics: without it the metrics of
// hashicorp/raft never reach Config.Registerer.
package raftstore
