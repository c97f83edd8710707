package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// enqueueLimit bounds how long a command may wait to be taken by raft.
const enqueueLimit = 10 * time.Second

// Propose puts data into the log and returns what Apply answered on the
// leader, once a majority has it on disk and it is applied there. On a
// follower it is forwarded to the leader once; a forwarded command is never
// forwarded again. data may be reused after the call.
//
// Errors: ErrNotLeader, ErrNoLeader, ErrTooLarge, ErrClosed and a ctx that
// ended before the call mean that it was not and will not be executed;
// ErrOutcomeUnknown (with the cause in its chain, for example the ctx error)
// that it may be.
func (s *Store) Propose(ctx context.Context, data []byte) ([]byte, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	if len(data) > s.cfg.MaxCommandBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), s.cfg.MaxCommandBytes)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := time.Now()
	way := "local"
	var res []byte
	var err error
	if s.IsLeader() {
		res, err = s.proposeLocal(ctx, bytes.Clone(data))
	} else {
		way = "forwarded"
		res, err = s.forward(ctx, data)
	}
	s.metrics.proposeTime.Observe(time.Since(start).Seconds())
	s.metrics.proposals.WithLabelValues(outcome(err), way).Inc()
	return res, err
}

// ProposeLocal is Propose on the leader only: elsewhere the answer is
// ErrNotLeader, and nothing is forwarded. It is for what a leader decides, which
// its successor must not find in the log as if it were its own.
func (s *Store) ProposeLocal(ctx context.Context, data []byte) ([]byte, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	if len(data) > s.cfg.MaxCommandBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), s.cfg.MaxCommandBytes)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.IsLeader() {
		return nil, s.notLeader()
	}
	start := time.Now()
	res, err := s.proposeLocal(ctx, bytes.Clone(data))
	s.metrics.proposeTime.Observe(time.Since(start).Seconds())
	s.metrics.proposals.WithLabelValues(outcome(err), "local").Inc()
	return res, err
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrOutcomeUnknown):
		return "unknown"
	}
	return "refused"
}

// pending is a command that raft has taken.
type pending struct {
	future raft.ApplyFuture
	done   chan struct{} // closed when err and result are set
	err    error
	result any
}

// awaitFutures waits for raft's futures, which cannot be waited for together
// with a context. They complete in log order, so one goroutine does for all.
func (s *Store) awaitFutures() {
	defer close(s.answered)
	for p := range s.futures {
		if p.err = p.future.Error(); p.err == nil {
			p.result = p.future.Response()
		}
		close(p.done)
	}
}

// enqueue hands an entry to raft. The caller must be inside the gate.
func (s *Store) enqueue(ctx context.Context, l raft.Log) *pending {
	limit := enqueueLimit
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(d), time.Millisecond))
	}
	p := &pending{done: make(chan struct{})}
	p.future = s.raft.ApplyLog(l, limit)
	s.futures <- p
	return p
}

// proposeLocal runs a command on this node, or not at all. It keeps data.
func (s *Store) proposeLocal(ctx context.Context, data []byte) ([]byte, error) {
	p := s.enqueue(ctx, raft.Log{Data: data})
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, unknown(ctx.Err())
	case <-s.closing:
		return nil, unknown(ErrClosed)
	}
	if p.err != nil {
		return nil, s.proposeError(p.err)
	}
	res, _ := p.result.([]byte)
	return res, nil
}

// proposeError sorts raft's errors into "surely not" and "maybe".
func (s *Store) proposeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return s.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: the leader took no command for a while; not executed", ErrNoLeader)
	case errors.Is(err, raft.ErrRaftShutdown):
		return unknown(ErrClosed)
	}
	// ErrLeadershipLost, ErrAbortedByRestore, and what the disk says: the entry
	// may be on some disk already.
	return unknown(err)
}

func (s *Store) notLeader() error {
	e := &NotLeaderError{}
	if m, _, ok := s.Leader(); ok && m.ID != s.cfg.NodeID {
		e.LeaderID, e.LeaderAddr = m.ID, m.Addr
	}
	return e
}

// forward sends a command to the leader.
func (s *Store) forward(ctx context.Context, data []byte) ([]byte, error) {
	leader, err := s.otherLeader()
	if err != nil {
		return nil, err
	}
	reply, err := s.peers.call(ctx, leader, "Propose", request{Data: data})
	if err != nil {
		return nil, s.leaderStops(err)
	}
	return reply.Data, nil
}

// leaderStops makes ErrNoLeader of a leader's word that it is closing: this node
// goes on, and another one leads in a moment.
func (s *Store) leaderStops(err error) error {
	select {
	case <-s.closing:
		return err
	default:
	}
	if errors.Is(err, ErrClosed) && !errors.Is(err, ErrOutcomeUnknown) {
		return fmt.Errorf("%w: the leader is stopping", ErrNoLeader)
	}
	return err
}

// otherLeader is the leader to forward to: known, and not this node.
func (s *Store) otherLeader() (Peer, error) {
	m, _, ok := s.Leader()
	if !ok {
		return Peer{}, ErrNoLeader
	}
	if m.ID == s.cfg.NodeID {
		// raft is just changing its mind about us.
		return Peer{}, &NotLeaderError{}
	}
	return Peer{m.ID, m.Addr}, nil
}
