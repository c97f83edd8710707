// Package registry remembers, across crashes, which executors keep files on
// this host and which drivers heartbeat, and decides when an application is
// gone.
//
// Executors register their directories; an application whose driver registered
// too (Mesos) must heartbeat, and [Registry.Expired] lists those that did not
// for longer than they promised. [Registry.Remove] forgets an application and,
// in the same transaction, notes the directories that are to be deleted, so
// that a crash between the two neither loses the files nor deletes them twice.
// Directories that another application registered too are left out: the last
// one that uses a directory takes it along.
//
// After a restart heartbeats may never come back: Spark's Mesos client beats on
// one connection for ever and does not notice that it broke. An application
// that was restored from disk is therefore not held to its timeout until it has
// beaten again; it is given the orphan timeout instead, counted from its last
// sign of life of any kind. The same orphan timeout serves applications whose
// driver never registered, if so configured.
//
// Everything is in memory; the database (bbolt, one file) is written through
// on each change and read only by Open.
package registry
