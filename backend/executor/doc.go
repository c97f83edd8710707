// Package executor runs tasks as a Mesos executor: one process per framework
// and agent, which the agent starts with the first task that names it and which
// then runs all of them. It is what fine-grained mode, and anything else that
// wants many short tasks without a process launch by Mesos for each, puts on the
// agents.
//
// # What it takes over
//
// [Run] connects to the agent (mesosutil.ExecutorDriver), calls a [Runner] for
// each task, and answers for the rest:
//
//   - Every task that was launched comes to exactly one terminal state:
//     TASK_STARTING when it is here, TASK_RUNNING when its Runner says so, then
//     TASK_FINISHED, TASK_FAILED or TASK_KILLED. A Runner that panics fails its
//     task, not its neighbours.
//   - No update is lost while this process lives: each is kept until the agent
//     has acknowledged it, and goes along when this executor subscribes again.
//   - The agent may be restarted in mid-task. With a framework that checkpoints
//     tasks run on, and the executor looks for its agent as long as
//     MESOS_RECOVERY_TIMEOUT says. Without, or beyond that, Mesos has given the
//     tasks up, so they are ended and Run returns mesosutil.ErrAgentLost.
//   - KILL ends a task's context; the Runner has the grace period to end it in
//     good order, and a second KILL can only shorten that. SHUTDOWN does it to
//     all tasks, waits until the agent has their last updates, and ends Run.
//   - Memory is bounded: by [Config].MaxTasks, and by the limits of
//     mesosutil.ExecutorConfig on updates that wait for the agent.
//
// # Tasks that are commands
//
// [Commands] is the Runner of `ha-dispatcher executor`. The data of a task is a
// [Command] as JSON:
//
//	{"argv": ["/bin/date", "-u"], "env": {"TZ": "UTC"}, "timeout": "30s"}
//	{"shell": "sort < in > out"}
//
// The command runs in tasks/ID below the sandbox, ID being the task's, where
// its output is in the files stdout and stderr. It leads a process group, which
// gets SIGTERM, and SIGKILL when the grace period is over; what it leaves behind
// is killed. The exit code is in the last status's message.
package executor
