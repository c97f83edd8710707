package raftstore

import "io"

// Entry is one committed command. Data is never reused or changed by this
// package: a Machine may keep it without copying, but must not modify it,
// because the log cache and other readers share the bytes.
type Entry struct {
	Index, Term uint64
	Data        []byte
}

// Machine is the replicated state. Apply, Snapshot and Restore are called
// from one goroutine at a time; reads of the state from other goroutines are
// the Machine's own business (a lock, or an atomic pointer to immutable data).
type Machine interface {
	// Apply changes the state by one command and returns the result for
	// whoever proposed it. It must be deterministic: no clock, randomness,
	// I/O or map order may reach the state or the result. It cannot fail;
	// a refused command is a result too. A panic stops the process.
	Apply(e Entry) []byte
	// Snapshot captures the state in O(1), for example a pointer to immutable
	// data: no command is applied while it runs. The capture is written later,
	// beside further Apply calls.
	Snapshot() (Snapshot, error)
	// Restore replaces the whole state by what a Snapshot wrote. On error the
	// old state must still stand.
	Restore(r io.Reader) error
}

// Snapshot is a captured state. WriteTo is called at most once, Release
// exactly once, both from another goroutine than Apply.
type Snapshot interface {
	io.WriterTo
	Release()
}

// BatchMachine is an optional extension of Machine for states that are cheaper
// to change in batches. It is then used instead of Apply, and must return
// exactly one result per entry, in order.
type BatchMachine interface {
	ApplyBatch([]Entry) [][]byte
}

// SnapshotChecker is an optional extension of Machine: CheckSnapshot says
// whether Restore would accept these bytes, without changing any state. With
// it, RestoreSnapshot refuses a bad archive instead of letting it stop the
// leader.
type SnapshotChecker interface {
	CheckSnapshot(r io.Reader) error
}
