package raftstore

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// Linearize returns an index that includes everything acknowledged anywhere
// before the call, after waiting until the local machine has applied it. What
// is read from the machine afterwards is linearizable. It works on any node,
// writes nothing, and many callers share one round of messages.
//
// Errors: ErrNotLeader or ErrNoLeader (try again), ErrClosed, the ctx error.
func (s *Store) Linearize(ctx context.Context) (uint64, error) {
	if !s.gate.enter() {
		return 0, ErrClosed
	}
	defer s.gate.leave()
	index, err := s.reads.join(ctx, s, false)
	if err != nil {
		return 0, err
	}
	return index, s.fsm.applied.wait(ctx, index, s.closing)
}

// WaitApplied returns when the local machine has applied index. The index
// must come from this package: some positions of the log hold raft's own
// entries, and waiting for the very last of those may take until the next
// command.
func (s *Store) WaitApplied(ctx context.Context, index uint64) error {
	return s.fsm.applied.wait(ctx, index, s.closing)
}

// readRounds lets many readers share one round. A reader may only join a
// round that has not begun: the round's commit index must be taken after the
// reader came.
type readRounds struct {
	mu      sync.Mutex
	running bool
	next    *readRound
}

type readRound struct {
	local bool // this node must be the leader
	done  chan struct{}
	index uint64
	err   error
}

// join waits for a full round that began after the call.
func (r *readRounds) join(ctx context.Context, s *Store, local bool) (uint64, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &readRound{done: make(chan struct{})}
	}
	round := r.next
	round.local = round.local || local
	if !r.running {
		r.running = true
		// Rounds are inside the gate, so that raft outlives them.
		if !s.gate.enter() {
			r.running, r.next = false, nil
			r.mu.Unlock()
			return 0, ErrClosed
		}
		s.bg.Go(func() { r.run(s) })
	}
	r.mu.Unlock()
	select {
	case <-round.done:
		return round.index, round.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.closing:
		return 0, ErrClosed
	}
}

func (r *readRounds) run(s *Store) {
	defer s.gate.leave()
	for {
		r.mu.Lock()
		round := r.next
		r.next = nil
		if round == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		s.metrics.readRounds.Inc()
		round.index, round.err = s.readIndex(round.local)
		close(round.done)
	}
}

// readIndex does one round: here if this node leads, else at the leader.
func (s *Store) readIndex(local bool) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*s.cfg.Profile.Election)
	defer cancel()
	if local || s.IsLeader() {
		return s.localReadIndex(ctx)
	}
	leader, err := s.otherLeader()
	if err != nil {
		return 0, err
	}
	reply, err := s.peers.call(ctx, leader, "ReadIndex", request{})
	if errors.Is(err, ErrOutcomeUnknown) {
		// A read has no outcome to be unsure about.
		return 0, ErrNoLeader
	}
	return reply.Index, s.leaderStops(err)
}

// localReadIndex: an entry of our term is committed; take the commit index;
// have a majority confirm that we led after taking it.
func (s *Store) localReadIndex(ctx context.Context) (uint64, error) {
	_, term, err := s.waitConfirmed(ctx)
	if err != nil {
		return 0, err
	}
	index := s.raft.CommitIndex()
	if err := s.raft.VerifyLeader().Error(); err != nil {
		if errors.Is(err, raft.ErrRaftShutdown) {
			return 0, ErrClosed
		}
		return 0, s.notLeader()
	}
	if s.raft.CurrentTerm() != term {
		return 0, s.notLeader()
	}
	return index, nil
}

// waitConfirmed waits until our leadership, if we have one, is confirmed.
func (s *Store) waitConfirmed(ctx context.Context) (*epoch, uint64, error) {
	for {
		ep, term, changed := s.leadership.watch()
		if !s.IsLeader() {
			return nil, 0, s.notLeader()
		}
		if ep != nil && term == s.raft.CurrentTerm() {
			return ep, term, nil
		}
		if err := s.waitChange(ctx, changed); err != nil {
			return nil, 0, err
		}
	}
}
