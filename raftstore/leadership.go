package raftstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leadership is what this node knows about who leads. Every change wakes all
// who wait. There is one epoch per leadership of this node; lost and regained
// is two epochs, even if the loss was never seen.
type leadership struct {
	mu      sync.Mutex
	changed chan struct{}
	epoch   *epoch // nil unless raft says that we lead
	ended   bool
}

type epoch struct {
	ctx    context.Context // cancelled when this leadership ends
	cancel context.CancelFunc
	// term is set once an entry of this term is committed and applied here;
	// zero before.
	term uint64
}

func (l *leadership) init() { l.changed = make(chan struct{}) }

// watch returns the current confirmed epoch, if any, and a channel that is
// closed at the next change of anything.
func (l *leadership) watch() (ep *epoch, term uint64, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != nil && l.epoch.term != 0 {
		ep, term = l.epoch, l.epoch.term
	}
	return ep, term, l.changed
}

func (l *leadership) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeLocked()
}

func (l *leadership) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// begin ends the epoch there is and returns a new one, nil after end.
func (l *leadership) begin() *epoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopLocked()
	if l.ended {
		return nil
	}
	ep := &epoch{}
	ep.ctx, ep.cancel = context.WithCancel(context.Background())
	l.epoch = ep
	l.wakeLocked()
	return ep
}

func (l *leadership) confirm(ep *epoch, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ep.term = term
	l.wakeLocked()
}

func (l *leadership) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopLocked()
}

// end is stop for good.
func (l *leadership) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.stopLocked()
}

func (l *leadership) stopLocked() {
	if l.epoch != nil {
		l.epoch.cancel()
		l.epoch = nil
	}
	l.wakeLocked()
}

// watchLeadership is the one goroutine that drains raft's LeaderCh. It does
// nothing that can block.
func (s *Store) watchLeadership(events <-chan raft.Observation) {
	for {
		select {
		case leads := <-s.raft.LeaderCh():
			if !leads {
				s.leadership.stop()
				continue
			}
			// true after true: lost and regained in between.
			s.metrics.terms.Inc()
			if ep := s.leadership.begin(); ep != nil {
				s.bg.Go(func() { s.confirmLeadership(ep) })
			}
		case <-events:
			s.leadership.wake()
			s.mesh.nudge()
		case <-s.stopped:
			s.leadership.end()
			return
		}
	}
}

// confirmLeadership commits an entry in our own term: when it is applied, so
// is everything that any earlier leader acknowledged. It keeps trying as long
// as we lead, since giving up would leave a leader that serves nothing.
func (s *Store) confirmLeadership(ep *epoch) {
	for ep.ctx.Err() == nil {
		term, err := s.tick(ep.ctx)
		if err == nil {
			s.log.Info("raftstore: leading", "term", term)
			s.leadership.confirm(ep, term)
			return
		}
		if errors.Is(err, ErrClosed) {
			return
		}
		select {
		case <-ep.ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// tick commits an empty entry and returns the term it got.
func (s *Store) tick(ctx context.Context) (uint64, error) {
	if !s.gate.enter() {
		return 0, ErrClosed
	}
	defer s.gate.leave()
	p := s.enqueue(ctx, raft.Log{Extensions: tickMark})
	select {
	case <-p.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if p.err != nil {
		return 0, p.err
	}
	term, _ := p.result.(uint64)
	return term, nil
}

// Leader returns the leader this node knows of, and this node's term. It may
// be outdated; ok is false while none is known.
func (s *Store) Leader() (m Member, term uint64, ok bool) {
	addr, id := s.raft.LeaderWithID()
	if id == "" {
		return Member{}, s.raft.CurrentTerm(), false
	}
	return Member{ID: string(id), Addr: string(addr), Voter: true}, s.raft.CurrentTerm(), true
}

// WaitLeader returns when this node knows a leader; if that is itself, when it
// is ready to serve.
func (s *Store) WaitLeader(ctx context.Context) error {
	for {
		ep, _, changed := s.leadership.watch()
		if m, _, ok := s.Leader(); ok && (m.ID != s.cfg.NodeID || ep != nil) {
			return nil
		}
		if err := s.waitChange(ctx, changed); err != nil {
			return err
		}
	}
}

func (s *Store) waitChange(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

// VerifyLeader returns nil if this node was the leader at some moment during
// the call, as a majority confirmed. Otherwise ErrNotLeader or the ctx error.
func (s *Store) VerifyLeader(ctx context.Context) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	if !s.IsLeader() {
		return s.notLeader()
	}
	_, err := s.reads.join(ctx, s, true)
	return err
}

// LeaderTask is work that exactly one node does. For each leadership,
// Establish is called once and then Revoke once, never concurrently.
type LeaderTask interface {
	// Establish starts the work. Everything that was acknowledged before is
	// applied on this node. ctx ends with the leadership; goroutines started
	// here must end with it. It should return soon. An error gives leadership
	// away.
	Establish(ctx context.Context, term uint64) error
	// Revoke undoes Establish, also a failed one, and returns when all of it
	// has stopped. Another node may lead already.
	Revoke()
}

// RunWhileLeader runs t whenever this node leads, until ctx ends (then it
// returns the ctx error) or the store closes (ErrClosed). t is revoked before
// it returns.
func (s *Store) RunWhileLeader(ctx context.Context, t LeaderTask) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	s.tasks.Add(1)
	s.gate.leave()
	defer s.tasks.Done()
	backoff := 100 * time.Millisecond
	for {
		ep, term, changed := s.leadership.watch()
		if ep == nil || ep.ctx.Err() != nil {
			if err := s.waitChange(ctx, changed); err != nil {
				return err
			}
			continue
		}
		if s.runEpoch(ctx, ep, term, t) {
			backoff = 100 * time.Millisecond
		} else {
			s.passOn(ctx, ep, backoff)
			backoff = min(2*backoff, 5*time.Second)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// runEpoch is one leadership of one task; false if it could not be established.
func (s *Store) runEpoch(ctx context.Context, ep *epoch, term uint64, t LeaderTask) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ep.ctx, cancel)()
	err := t.Establish(ctx, term)
	if err == nil {
		<-ctx.Done()
	}
	cancel()
	t.Revoke()
	if err != nil && ep.ctx.Err() == nil {
		s.log.Error("raftstore: leader task failed to start, giving leadership away", "term", term, "error", err)
		return false
	}
	return true
}

// passOn gives leadership away; without a taker it waits before the next try.
func (s *Store) passOn(ctx context.Context, ep *epoch, backoff time.Duration) {
	if ctx.Err() == nil && s.transferAway(ctx, "") == nil {
		return
	}
	select {
	case <-time.After(backoff):
	case <-ep.ctx.Done():
	case <-ctx.Done():
	case <-s.closing:
	}
}
