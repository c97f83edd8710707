// Package scale makes what a large installation looks like, in seconds: a state
// with as many drivers as wanted, and a Mesos with as many agents as wanted.
//
// State builds the replicated state by applying the commands that would have led
// there, so every record is as it would be; Archive makes of it a snapshot that a
// running cluster restores. Mesos speaks the scheduler protocol of a master over
// HTTP, offers its agents when told to, and runs nothing: a task that it takes is
// a name in a map. What is measured against it is the dispatcher, and not how
// fast this machine starts processes; internal/localmesos is the one that runs
// things.
//
// It is used by internal/bench, and by the tests of internal/testcluster that ask
// whether a whole node holds at that size.
package scale
