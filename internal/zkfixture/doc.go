// Package zkfixture runs a real Apache ZooKeeper for tests: one server on a
// loopback port, with its data in a directory of its own, that can be stopped,
// killed and started again.
//
// It takes the server's jars from where Debian's package `zookeeper` puts them
// (/usr/share/java), or from the directory in the environment variable
// HA_DISPATCHER_ZOOKEEPER_JARS, and the java in PATH. Where either is missing,
// [Start] returns a fixture.UnavailableError that says so.
//
// Ticks are short, so that sessions of a second are possible; nothing is
// flushed to disk.
package zkfixture
