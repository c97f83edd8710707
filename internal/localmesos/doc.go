// Package localmesos is a small Apache Mesos in one process: a master (with
// standbys, if asked for) and agents that run real operating system processes
// in sandboxes. It is what `ha-dispatcher dev` and `ha-dispatcher mesos` run
// when there is no Mesos at hand, and a fixture for tests that need one to
// break.
//
// # What a scheduler sees
//
// The v1 scheduler API over HTTP, as Mesos 1.11 speaks it: RecordIO streams of
// protobuf or JSON, Mesos-Stream-Id, heartbeats, redirects to the leading
// master, basic authentication; offers for each framework and role with
// filters, REVIVE and SUPPRESS; ACCEPT with LAUNCH; KILL with a grace period;
// status updates that come again until they are acknowledged; both kinds of
// reconciliation; framework failover, failover timeout and TEARDOWN; agents
// that get lost, come back, or are gone. Names, reasons and message texts are
// those of Mesos, whose master.cpp, validation.cpp and http.cpp are the
// reference; behaviour was compared with a real Mesos 1.11 side by side.
//
// # How it works
//
// [Mesos] holds one mutex over all state; nothing blocks under it, so every
// call is atomic and events of a stream are in the order in which things
// happened. The state has Mesos' own seams: a master's records (framework,
// task, offer) live in one value that a failover throws away, while agents keep
// their runs (the processes, and updates not acknowledged yet) and bring them
// to the next master when they re-register. Streams are queues that the HTTP
// handler of each subscription drains. The allocator sleeps until something
// changed.
//
// Each task leads a session of its own. Nothing outlives this process, however
// it ends: see spawner.
//
// # For tests
//
// [Mesos.FailoverMaster], [Mesos.FailoverTo] and [Mesos.StopMaster] break the
// master; [Mesos.LoseAgent], [Mesos.DisconnectAgent], [Mesos.ReturnAgent] and
// [Mesos.RemoveAgent] break agents; [Mesos.CutStreams], [Mesos.Silence] and
// [Faults] break what runs between master and scheduler. [Mesos.Tasks],
// [Mesos.Frameworks] and [Mesos.Agents] show what is there. The package never
// imports testing.
//
// # What it deliberately leaves out
//
// Containers and images (a DOCKER task fails with a clear message), task
// groups, custom executors and the executor API (a place for them is marked in
// run.go), dynamic reservations and volumes (such operations are dropped),
// quota, maintenance, inverse offers, health checks, the operator API, users
// (tasks run as the user of this process), TLS, and resource isolation: a task
// gets what it takes, not what it was allotted.
package localmesos
