// Package dispatcher is Spark's cluster mode on Mesos: it takes drivers in, runs
// each one as a Mesos task, keeps an eye on it, and starts it again where it is
// supervised.
//
// Every node runs a Service, which puts what clients ask for into the replicated
// log and answers their questions. The node that leads runs a Leader beside it,
// which alone talks to Mesos. Nothing happens in Mesos before its intent is
// committed, and no status is acknowledged before it is committed:
//
//	submission ─► log ─► QUEUED
//	offers + queue ─► Decide ─► intent ─► log ─► ACCEPT
//	status ─► log ─► ACKNOWLEDGE
//
// so whichever node leads next finds in the log all that it needs to go on: it
// subscribes with the same framework id, which ends the subscription of the last
// leader, and asks Mesos what became of each attempt.
//
// Decide, the placement, is pure. The rest of the leader are five small loops
// around one subscription; see session.go for who does what.
//
// Below this package, launch turns a submission into a task, rest speaks Spark's
// protocol, and ui shows pages.
package dispatcher
