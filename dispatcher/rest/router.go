package rest

import (
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// router reads the feed once for the streams of all applications and hands each
// change to those of its application: there may be thousands of streams, and
// thousands of changes a second of which none concerns them.
type router struct {
	feed func() *fsm.Feed
	quit chan struct{}

	mu      sync.Mutex
	done    chan struct{} // nil: not started
	stopped bool
	next    uint64 // the changes before it are handed out
	subs    map[string][]*subscription
}

const (
	// routerPace is the shortest time between two looks at the feed: together they
	// cost less.
	routerPace = 5 * time.Millisecond
	// maxQueue is how many changes wait for a stream whose reader is slow.
	maxQueue = 4096
)

func newRouter(feed func() *fsm.Feed) *router {
	return &router{feed: feed, quit: make(chan struct{}), subs: make(map[string][]*subscription)}
}

// subscribe begins to collect the changes of an application; close ends it.
func (r *router) subscribe(id string) *subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil && !r.stopped {
		r.done, r.next = make(chan struct{}), r.feed().Next()
		go r.run(r.next)
	}
	s := &subscription{r: r, id: id, start: r.next, wake: make(chan struct{}, 1)}
	r.subs[id] = append(r.subs[id], s)
	return s
}

func (r *router) run(next uint64) {
	defer close(r.done)
	feed := r.feed()
	for {
		changes, lost, wake := feed.Since(next, 0)
		if next += uint64(len(changes)); lost {
			next = feed.Next()
		}
		r.route(changes, lost, next)
		var rest <-chan time.Time
		if len(changes) > 0 {
			wake, rest = nil, time.After(routerPace)
		}
		select {
		case <-rest:
		case <-wake:
		case <-r.quit:
			return
		}
	}
}

func (r *router) route(changes []fsm.Change, lost bool, next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = next
	for _, subs := range r.subs {
		if !lost {
			break
		}
		for _, s := range subs {
			s.lose()
		}
	}
	for i := range changes {
		if c := &changes[i]; c.Kind == fsm.ChangeApp || c.Kind == fsm.ChangeExecutor {
			for _, s := range r.subs[c.ID] {
				s.add(c)
			}
		}
	}
}

func (r *router) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.stopped = true
		close(r.quit)
	}
}

func (r *router) wait() {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	if done != nil {
		<-done
	}
}

// subscription is what a stream gets of a router. But for the calls of the stream
// its fields are guarded by the router's lock.
type subscription struct {
	r     *router
	id    string
	start uint64 // changes before it have to be looked for in the feed
	queue []fsm.Change
	lost  bool
	wake  chan struct{}
}

func (s *subscription) add(c *fsm.Change) {
	if len(s.queue) == maxQueue {
		s.lose()
		return
	}
	s.queue = append(s.queue, *c)
	s.signal()
}

func (s *subscription) lose() {
	s.queue, s.lost = nil, true
	s.signal()
}

func (s *subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Since is as that of the feed, but for changes of others, which are left out
// once the subscription has begun.
func (s *subscription) Since(number uint64, limit int) (changes []fsm.Change, lost bool, wake <-chan struct{}) {
	feed := s.r.feed()
	if number > feed.Next() {
		return feed.Since(number, limit) // ahead of this node
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	switch {
	case s.lost:
		s.lost = false
		return nil, true, s.wake
	case number < s.start:
		limit = min(limit, int(min(s.start-number, eventBatch)))
		return feed.Since(number, limit)
	}
	taken := 0
	for taken < len(s.queue) && len(changes) < limit {
		if c := s.queue[taken]; c.Number >= number {
			changes = append(changes, c)
		}
		taken++
	}
	s.queue = s.queue[taken:]
	return changes, false, s.wake
}

func (s *subscription) Next() uint64 { return s.r.feed().Next() }

// position is the number of the next change that the stream may not have seen,
// for one that was at number and got all that Since had for it.
func (s *subscription) position(number uint64) uint64 {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.lost || len(s.queue) > 0 || number < s.start {
		return number
	}
	return max(number, s.r.next)
}

func (s *subscription) close() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	kept := s.r.subs[s.id][:0:0]
	for _, other := range s.r.subs[s.id] {
		if other != s {
			kept = append(kept, other)
		}
	}
	if s.r.subs[s.id] = kept; len(kept) == 0 {
		delete(s.r.subs, s.id)
	}
}
