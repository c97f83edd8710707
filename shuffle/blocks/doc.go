// Package blocks finds, reads, checks and deletes the files in which Spark's
// executors keep shuffle output and cached partitions.
//
// An executor tells the service its local directories once; a [Location] is
// that answer. Where a file lies beneath them follows from a hash of its name,
// Java's String.hashCode, which [Location.Find] computes. The output of one map
// task is a data file with all its reduce partitions and an index file of
// their offsets; [Store.Shuffle] turns (shuffle, map, reduce range) into a
// [Block], a range of an open file. Indexes are cached within a byte budget and
// data files within a number of descriptors; both are checked against the file
// system on every use, so a rewritten file is never served from memory.
//
// Nothing here trusts a path. Every file is opened through [os.Root], so that
// neither ".." nor a symbolic link leads out of the executor's directory, and
// [RemoveDir] deletes a directory only if it still is the one that was
// registered, and of a directory that is not named blockmgr-* only what a block
// manager would have put there.
package blocks
