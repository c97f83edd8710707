// Package testcluster runs several dispatcher nodes in one process, with a small
// Mesos beside them, and breaks them.
//
// A Cluster is three nodes (or as many as asked for) as command ha-dispatcher
// would run them: each with its own log on disk, REST port and web port, over
// loopback TCP or over an in-memory network. What can be broken:
//
//   - a node: Stop in good order, Crash like SIGKILL, Start again on its data,
//   - the network: Cut, Isolate and Heal between nodes; CutMesos, SilenceMesos
//     and HealMesos between one node and Mesos,
//   - a disk: SlowDisk, HangDisk, FailDisk,
//   - a place in the code: Arm a failpoint, and whoever comes there crashes,
//     waits or gets an error,
//   - Mesos itself, through the methods of Cluster.Mesos.
//
// Drivers are shell scripts that write a journal: which attempt ran when, as
// which process, and whether an earlier attempt was still alive at that moment.
// The journal, the replicated state and what Mesos shows must agree; Check says
// where they do not.
//
// Everything waits for conditions: for an index, a change of the state, a line of
// the journal. Cluster returns errors; T, made by New, fails its test instead.
package testcluster
