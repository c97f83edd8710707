package backend

import "time"

// ledger is what the task scheduler of this node knows of its tasks, so that it is
// told of the end of each of them, and once.
type ledger struct {
	leads uint64 // the time of leading for which it has adopted
	// open are the tasks that it believes to be live.
	open map[int64]bool
	// awaited are those of open that are over in the log by a status that Mesos
	// sends again, because it was not acknowledged; what came with it is known to
	// nobody else. It is given up at the time noted.
	awaited map[int64]time.Time
	told    taskSet // those whose end it was told
}

func newLedger() ledger {
	return ledger{open: make(map[int64]bool), awaited: make(map[int64]time.Time), told: make(taskSet)}
}

// close notes that the scheduler is told of the end of a task, and is false where
// it was before.
func (l *ledger) close(id int64) bool {
	delete(l.open, id)
	delete(l.awaited, id)
	return l.told.add(id)
}

// taskSet is a set of task ids. They come in long runs, of which 64 share a word.
type taskSet map[int64]uint64

func (s taskSet) has(id int64) bool { return s[id>>6]&(1<<(id&63)) != 0 }

func (s taskSet) add(id int64) bool {
	if s.has(id) {
		return false
	}
	s[id>>6] |= 1 << (id & 63)
	return true
}
