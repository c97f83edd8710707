package raftstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Join adds a node to the cluster, or changes its address or its vote. The
// node must be running (opened without Peers) and reachable at p.Addr. A voter
// first catches up without a vote, so that it cannot hold the others up.
// Any node may be asked; the call is forwarded once.
//
// Errors: ErrWrongNode, ErrTimersDiffer, ErrNotLeader, ErrNoLeader, the ctx
// error; ErrOutcomeUnknown if leadership was lost meanwhile. Repeating is safe.
func (s *Store) Join(ctx context.Context, p Peer, voter bool) error {
	if !validID(p.ID) || p.Addr == "" {
		return fmt.Errorf("raftstore: join %q at %q: need an id of [A-Za-z0-9._-] and an address", p.ID, p.Addr)
	}
	return s.onLeader(ctx, "Join", request{PeerID: p.ID, PeerAddr: p.Addr, Voter: voter}, func() error { return s.joinLocal(ctx, p, voter) })
}

// Remove takes a node out of the cluster, dead or alive. Removing one that is
// no member succeeds. Any node may be asked.
func (s *Store) Remove(ctx context.Context, id string) error {
	return s.onLeader(ctx, "Remove", request{PeerID: id}, func() error { return s.removeLocal(ctx, id) })
}

// Transfer hands leadership to a voter, or to the best placed one if toID is
// empty, and returns when the old leader has stepped down. Any node may be
// asked.
func (s *Store) Transfer(ctx context.Context, toID string) error {
	return s.onLeader(ctx, "Transfer", request{PeerID: toID}, func() error { return s.transferLocal(ctx, toID) })
}

// onLeader runs local here if this node leads, else the call at the leader.
func (s *Store) onLeader(ctx context.Context, method string, q request, local func() error) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	if s.IsLeader() {
		return local()
	}
	leader, err := s.otherLeader()
	if err != nil {
		return err
	}
	_, err = s.peers.call(ctx, leader, method, q)
	return err
}

func (s *Store) joinLocal(ctx context.Context, p Peer, voter bool) error {
	if _, _, err := s.waitConfirmed(ctx); err != nil {
		return err
	}
	if p.ID != s.cfg.NodeID {
		if err := s.checkJoiner(ctx, p); err != nil {
			return err
		}
	}
	id, addr := raft.ServerID(p.ID), raft.ServerAddress(p.Addr)
	srv, known := s.server(p.ID)
	votes, moved := known && srv.Suffrage == raft.Voter, srv.Address != addr
	if known && !moved && votes == voter {
		return nil
	}
	if votes && !voter {
		if err := s.await(ctx, s.raft.DemoteVoter(id, 0, s.changeLimit(ctx))); err != nil {
			return err
		}
	}
	if !votes && (!known || moved) || !voter && moved {
		if err := s.await(ctx, s.raft.AddNonvoter(id, addr, 0, s.changeLimit(ctx))); err != nil {
			return err
		}
	}
	if !voter {
		return nil
	}
	if !votes {
		if err := s.waitCaughtUp(ctx, p); err != nil {
			return err
		}
	}
	return s.await(ctx, s.raft.AddVoter(id, addr, 0, s.changeLimit(ctx)))
}

// checkJoiner asks the node itself: right id, equal timers.
func (s *Store) checkJoiner(ctx context.Context, p Peer) error {
	h, err := s.ask(ctx, p)
	if err != nil {
		return fmt.Errorf("raftstore: %s does not answer as a node at %s: %w", p.ID, p.Addr, err)
	}
	if !h.Profile.sameTimers(s.cfg.Profile) {
		return fmt.Errorf("%w: %s has %v, the cluster %v", ErrTimersDiffer, p.ID, h.Profile, s.cfg.Profile)
	}
	return nil
}

func (s *Store) ask(ctx context.Context, p Peer) (hello, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, h, err := s.greetMember(ctx, p)
	if err == nil {
		conn.Close()
	}
	return h, err
}

// waitCaughtUp waits until a new node has what was committed when it came.
func (s *Store) waitCaughtUp(ctx context.Context, p Peer) error {
	// The index of our last own or machine entry: see WaitApplied.
	target := s.AppliedIndex()
	for {
		if h, err := s.ask(ctx, p); err == nil && h.Applied >= target {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("raftstore: %s has not caught up yet, it stays without a vote: %w", p.ID, ctx.Err())
		case <-s.closing:
			return ErrClosed
		case <-time.After(50 * time.Millisecond):
		}
		if !s.IsLeader() {
			return s.notLeader()
		}
	}
}

func (s *Store) removeLocal(ctx context.Context, id string) error {
	if _, _, err := s.waitConfirmed(ctx); err != nil {
		return err
	}
	srv, ok := s.server(id)
	if !ok {
		return nil
	}
	if voters := s.voters(); srv.Suffrage == raft.Voter && len(voters) == 1 {
		return fmt.Errorf("raftstore: %s is the only voter, removing it would end the cluster", id)
	}
	return s.await(ctx, s.raft.RemoveServer(raft.ServerID(id), 0, s.changeLimit(ctx)))
}

func (s *Store) transferLocal(ctx context.Context, toID string) error {
	if !s.IsLeader() {
		return s.notLeader()
	}
	if toID == s.cfg.NodeID {
		return nil
	}
	if toID != "" {
		if srv, ok := s.server(toID); !ok {
			return fmt.Errorf("%w: %q", ErrUnknownMember, toID)
		} else if srv.Suffrage != raft.Voter {
			return fmt.Errorf("raftstore: %q has no vote and cannot lead", toID)
		}
	}
	return s.transferAway(ctx, toID)
}

// transferAway hands over if there is somebody. raft bounds it by the
// election timeout.
func (s *Store) transferAway(ctx context.Context, toID string) error {
	if len(s.voters()) < 2 {
		return errors.New("raftstore: no other voter to hand leadership to")
	}
	if toID == "" {
		return s.await(ctx, s.raft.LeadershipTransfer())
	}
	return s.await(ctx, s.raft.LeadershipTransferToServer(raft.ServerID(toID), raft.ServerAddress(s.addrOf(toID))))
}

// await waits for a future of raft, which completes as long as raft runs.
func (s *Store) await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	s.bg.Go(func() { done <- f.Error() })
	select {
	case err := <-done:
		switch {
		case err == nil:
			return nil
		case errors.Is(err, raft.ErrNotLeader):
			return s.notLeader()
		case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown):
			return unknown(err)
		}
		return fmt.Errorf("raftstore: %w", err)
	case <-ctx.Done():
		return unknown(ctx.Err())
	case <-s.closing:
		return unknown(ErrClosed)
	}
}

func (s *Store) changeLimit(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return max(time.Until(d), time.Millisecond)
	}
	return enqueueLimit
}

func (s *Store) servers() []raft.Server {
	return s.raft.GetConfiguration().Configuration().Servers
}

func (s *Store) server(id string) (raft.Server, bool) {
	for _, srv := range s.servers() {
		if string(srv.ID) == id {
			return srv, true
		}
	}
	return raft.Server{}, false
}

func (s *Store) voters() (out []raft.Server) {
	for _, srv := range s.servers() {
		if srv.Suffrage == raft.Voter {
			out = append(out, srv)
		}
	}
	return out
}

func (s *Store) isVoter(id string) bool {
	srv, ok := s.server(id)
	return ok && srv.Suffrage == raft.Voter
}

func (s *Store) addrOf(id string) string {
	srv, _ := s.server(id)
	return string(srv.Address)
}

// memberAt finds who should be at an address, for checking who is.
func (s *Store) memberAt(addr string) string {
	if addr == s.cfg.AdvertiseAddr {
		return s.cfg.NodeID
	}
	for _, srv := range s.servers() {
		if string(srv.Address) == addr {
			return string(srv.ID)
		}
	}
	return ""
}
