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
// that get lost, come back, or are gone; MESSAGE to and from executors and their
// SHUTDOWN. Names, reasons and message texts are
// those of Mesos, whose master.cpp, validation.cpp and http.cpp are the
// reference; behaviour was compared with a real Mesos 1.11 side by side.
//
// # Tasks and executors
//
// A task with a CommandInfo is a process of its own, run as Mesos' command
// executor runs it: TASK_STARTING, TASK_RUNNING, and how it ended.
//
// A task with an ExecutorInfo (type CUSTOM, with a command; DEFAULT is refused
// with TASK_ERROR) belongs to the executor of that id. The agent starts one
// process for each framework and executor id, with the first task that names
// it, in its own sandbox and with the environment of a real agent
// (MESOS_FRAMEWORK_ID, MESOS_EXECUTOR_ID, MESOS_AGENT_ENDPOINT, MESOS_SANDBOX,
// MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD and so on; with checkpointing also
// MESOS_RECOVERY_TIMEOUT and MESOS_SUBSCRIPTION_BACKOFF_MAX). Every agent has a
// port of its own for POST /api/v1/executor: SUBSCRIBE with what is not
// acknowledged, UPDATE, MESSAGE, HEARTBEAT; SUBSCRIBED, LAUNCH, KILL,
// ACKNOWLEDGED, MESSAGE, SHUTDOWN and HEARTBEAT come back. The resources of an
// executor are used as long as it runs, beside those of its tasks; offers of its
// agent name it. What happens at its end is Mesos' as well: FAILURE with the
// status of wait(2), TASK_FAILED with REASON_EXECUTOR_TERMINATED for its tasks,
// and TASK_DROPPED for a task that wants the same id while an update of the old
// one is not acknowledged. The tests of all this run against a real Mesos too.
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
// Each command task, and each executor, leads a session of its own. Nothing outlives this process, however
// it ends: see spawner.
//
// # For tests
//
// [Mesos.FailoverMaster], [Mesos.FailoverTo] and [Mesos.StopMaster] break the
// master; [Mesos.LoseAgent], [Mesos.DisconnectAgent], [Mesos.ReturnAgent] and
// [Mesos.RemoveAgent] break what is between agents and master;
// [Mesos.StopAgent], [Mesos.StartAgent] and [Mesos.RestartAgent] break agents
// themselves, which executors notice; [Mesos.CutStreams], [Mesos.CutExecutors],
// [Mesos.Silence] and [Faults] break what runs between master and scheduler, or
// agent and executor. [Mesos.Tasks], [Mesos.Executors], [Mesos.Frameworks] and
// [Mesos.Agents] show what is there. The package never imports testing.
//
// # What it deliberately leaves out
//
// Containers and images (a DOCKER task fails with a clear message), task groups
// and the default executor, dynamic reservations and volumes (such operations
// are dropped), quota, maintenance, inverse offers, health checks, the operator
// API, users (tasks run as the user of this process), TLS, and resource
// isolation: a task gets what it takes, not what it was allotted.
package localmesos
