// Package realmesos runs a real Apache Mesos 1.11.0, master and agents, as a
// fixture: what the embedded Mesos of this project only imitates.
//
// Debian 12 has no Mesos package. The Python package mesos-scheduler carries
// libmesos whole, with the master and the agent inside; [Build] downloads it
// (27 MB, checksum held), stubs the shared libraries that it wants of an older
// distribution, and compiles small programs around it (source/). That takes a
// few seconds once and needs PyPI, amd64, and root for apt-get where packages are
// missing; without them Build returns a fixture.UnavailableError that says which.
// The command executor and the fetcher are stand-ins in Python. For a user who
// is not root all tasks run as that user.
//
// [Start] then runs it on free ports of 127.0.0.1 until all agents are active,
// either in one process or, with Options.Separate, the master and each agent as
// processes that can be killed and restarted on their work directories: agents
// register again and executors come back. [Mesos.Close] leaves no process, not
// even an executor that a framework with checkpoints would keep for 2 minutes.
//
// Not there: LAUNCH_GROUP (no default executor), TLS, ZooKeeper, tty sessions,
// the web UI, http URIs through the fetcher cache, Docker.
package realmesos
