package host

import (
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// feedLength is how many changes of one application are kept for its session.
const feedLength = 256

// appFeed is a backend.Feed of one application, filled by whoever leads. The feed
// of the whole state would wake the sessions of all applications at each change of
// any.
type appFeed struct {
	mu    sync.Mutex
	kept  []fsm.Change
	first uint64 // number of the oldest one kept; numbers are this feed's own
	wake  chan struct{}
}

func newAppFeed() *appFeed { return &appFeed{first: 1, wake: make(chan struct{})} }

func (f *appFeed) Since(number uint64, limit int) (changes []fsm.Change, lost bool, wake <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < f.first || number > f.next() {
		return nil, true, f.wake
	}
	kept := f.kept[number-f.first:]
	if limit > 0 && len(kept) > limit {
		kept = kept[:limit]
	}
	return append(changes, kept...), false, f.wake
}

func (f *appFeed) Next() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next()
}

func (f *appFeed) next() uint64 { return f.first + uint64(len(f.kept)) }

func (f *appFeed) publish(c fsm.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) == feedLength {
		half := feedLength / 2
		f.first += uint64(half)
		f.kept = append(f.kept[:0:0], f.kept[half:]...)
	}
	f.kept = append(f.kept, c)
	close(f.wake)
	f.wake = make(chan struct{})
}

// lose forgets all, because changes were missed.
func (f *appFeed) lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first, f.kept = f.next()+1, nil
	close(f.wake)
	f.wake = make(chan struct{})
}
