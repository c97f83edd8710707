package fsm

import "sync"

// ChangeKind tells what a change is about.
type ChangeKind uint8

// The kinds of change.
const (
	ChangeDriver ChangeKind = iota
	ChangeFramework
	ChangePolicy
	ChangeNode
	ChangeApp      // ID is that of the application; From and To are its framework's
	ChangeExecutor // ID is that of the application
)

// Change is one transition that Apply made. Numbers run without gaps and are
// the same on every node, so a reader can go on at another node.
type Change struct {
	Number uint64
	Index  uint64
	TimeMs int64
	Kind   ChangeKind
	ID     string // of the driver or the node; the framework id
	Event  string
	From   string
	To     string
	TaskID string
	Reason string
	Driver *Driver // after the change; nil for other kinds

	App      *App      // after the change; nil for other kinds
	Executor *Executor // after the change; nil for other kinds
}

// feedLength is how many changes a node can replay. A reader that fell further
// behind starts again from a View.
const feedLength = 4096

// Feed keeps the latest changes and wakes those who wait for more. It holds
// nothing that a snapshot needs. All methods are safe for concurrent use.
type Feed struct {
	mu    sync.Mutex
	ring  []Change
	next  uint64 // number of the next change
	first uint64 // number of the oldest one kept
	wake  chan struct{}

	restarted chan struct{}
}

func newFeed() *Feed {
	return &Feed{next: 1, first: 1, wake: make(chan struct{}), restarted: make(chan struct{})}
}

// Restarted is closed when a snapshot has replaced the state: whatever somebody
// has put into it may not be there any more.
func (f *Feed) Restarted() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restarted
}

// Since returns the changes from number on, at most limit of them (0: all).
// lost tells that some of them are kept no longer: start again from a View. With
// no change to return, wake is closed when there may be one.
func (f *Feed) Since(number uint64, limit int) (changes []Change, lost bool, wake <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < f.first || number > f.next {
		return nil, true, f.wake
	}
	n := int(f.next - number)
	if limit > 0 && n > limit {
		n = limit
	}
	changes = make([]Change, 0, n)
	for i := range n {
		changes = append(changes, f.ring[(number+uint64(i))%feedLength])
	}
	return changes, false, f.wake
}

// Next is the number that the next change will have.
func (f *Feed) Next() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

func (f *Feed) publish(changes []Change) {
	if len(changes) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ring == nil {
		f.ring = make([]Change, feedLength)
	}
	for _, c := range changes {
		f.ring[c.Number%feedLength] = c
		f.next = c.Number + 1
	}
	if f.next-f.first > feedLength {
		f.first = f.next - feedLength
	}
	close(f.wake)
	f.wake = make(chan struct{})
}

// restart forgets everything, because a snapshot was restored, and wakes all.
func (f *Feed) restart(next uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring, f.next, f.first = nil, next, next
	close(f.wake)
	f.wake = make(chan struct{})
	close(f.restarted)
	f.restarted = make(chan struct{})
}
