package rest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// signs passes signs of life of applications' drivers on to the log. A commit for
// each request would cost more than the request, so each application's are
// passed on at most once in a quarter of its failover timeout. Nobody waits for
// them: there may be no leader for a while, and then many are due at once.
type signs struct {
	apps Applications
	ctx  context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	of      map[string]sign
	running sync.WaitGroup
}

type sign struct {
	heard time.Time // the last one was committed; zero: none yet
	busy  bool      // one is under way
}

const (
	// maxSigns bounds the memory; without its entry a sign is passed on at once.
	maxSigns = 20_000
	// presumedTimeout stands in for a failover timeout that is not known.
	presumedTimeout = time.Minute
)

func newSigns(apps Applications) *signs {
	s := &signs{apps: apps, of: make(map[string]sign)}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// note takes down a sign of life, and passes it on where that is due.
func (s *signs) note(id string, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.of[id]
	if g.busy || time.Since(g.heard) < orPresumed(timeout)/4 || s.ctx.Err() != nil {
		return
	}
	g.busy = true
	s.set(id, g)
	s.running.Go(func() { _ = s.commit(s.ctx, id) }) // a failure is tried again with the next sign
}

// noteSoon is note for a caller that does not know the failover timeout.
func (s *signs) noteSoon(id string) {
	st, err := s.apps.Application(s.ctx, id, dispatcher.Stale)
	if err == nil {
		s.note(id, timeoutOf(st.FailoverTimeoutMs))
	}
}

// commit passes one on and waits for it.
func (s *signs) commit(ctx context.Context, id string) error {
	err := s.apps.Heard(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.of[id]
	g.busy = false
	var refused *fsm.RefusedError
	if err == nil || errors.As(err, &refused) { // the log was reached, which is what counts
		g.heard = time.Now()
	}
	s.set(id, g)
	return err
}

func (s *signs) set(id string, g sign) {
	if _, known := s.of[id]; !known && len(s.of) >= maxSigns {
		for other, o := range s.of {
			if !o.busy {
				delete(s.of, other)
			}
		}
	}
	s.of[id] = g
}

// heard is when the last sign of an application was committed by way of this
// node, or zero.
func (s *signs) heard(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id].heard
}

func (s *signs) stop() {
	s.mu.Lock() // so that note does not start one beside wait
	defer s.mu.Unlock()
	s.end()
}

func (s *signs) wait() { s.running.Wait() }

func timeoutOf(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func orPresumed(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return presumedTimeout
	}
	return timeout
}
