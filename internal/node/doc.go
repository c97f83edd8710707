// Package node puts one dispatcher node together: the replicated log, the
// dispatcher's service and leader, the REST server and the web pages. Command
// ha-dispatcher runs one node a process; tests run several in one.
//
// Start opens from the inside out: ports first, so that a port in use is told at
// once, then the log, then what needs it. Close goes the other way round, and in
// the order that a client notices least: leadership is handed over while the
// node still serves, and passes on to the next leader what it is asked for; then
// the servers finish what they have begun; the log closes last.
package node
