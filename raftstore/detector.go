package raftstore

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// The crash detector. A dead process is not silence but proof: its connection
// breaks and its port refuses the next dial, or a new process answers there.
// A follower with that proof about the leader need not wait for a timer. It
// sends raft's own TimeoutNow to itself, the message with which a leader hands
// over. All it can cause is an election that was not needed: who wins, and
// with which log, is decided by raft's voting rules as always.

const (
	// rankStep is how long the next in line waits for the one before.
	rankStep = 40 * time.Millisecond
	// positionTimeout is how long the others are asked for their positions.
	positionTimeout = 20 * time.Millisecond
)

type detector struct {
	store *Store
	mu    sync.Mutex
	term  uint64 // the last term whose leader was found dead: once is enough
	// standing is the term of the last vote that anybody asked us for.
	standing atomic.Uint64
}

// died is told that the process last seen as p is dead. It never blocks.
func (d *detector) died(p Peer) {
	s := d.store
	if s.cfg.DisableCrashDetector || !s.detectorMayRun(p.ID) {
		return
	}
	term := s.raft.CurrentTerm()
	d.mu.Lock()
	again := d.term >= term
	d.term = max(d.term, term)
	d.mu.Unlock()
	if again || !s.gate.enter() {
		return
	}
	s.bg.Go(func() {
		defer s.gate.leave()
		d.takeOver(p, term)
	})
}

// detectorMayRun: we are a voting follower of that very leader.
func (s *Store) detectorMayRun(leader string) bool {
	_, id := s.raft.LeaderWithID()
	return string(id) == leader && s.raft.State() == raft.Follower && s.isVoter(s.cfg.NodeID)
}

// takeOver stands for election when it is our turn.
func (d *detector) takeOver(dead Peer, term uint64) {
	s := d.store
	rank := d.rank(dead)
	s.log.Warn("raftstore: the leader's process is dead", "leader", dead.ID, "term", term, "rank", rank)
	if rank > 0 && s.newLeaderWithin(time.Duration(rank)*rankStep, dead.ID) {
		return
	}
	// Somebody stands already, only disks are slow: a second candidate now
	// would split the vote.
	if d.standing.Load() > term && s.newLeaderWithin(s.cfg.Profile.Election, dead.ID) {
		return
	}
	if s.raft.State() != raft.Follower {
		return
	}
	if _, id := s.raft.LeaderWithID(); id != "" && string(id) != dead.ID {
		return
	}
	s.metrics.takeovers.Inc()
	if err := s.timeoutNow(Peer{s.cfg.NodeID, s.cfg.AdvertiseAddr}); err != nil {
		s.log.Warn("raftstore: could not start an election, the timers will", "error", err)
	}
}

func (s *Store) timeoutNow(p Peer) error {
	q := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(s.cfg.NodeID),
		Addr:            []byte(s.cfg.AdvertiseAddr),
	}}
	return s.trans.TimeoutNow(raft.ServerID(p.ID), raft.ServerAddress(p.Addr), &q, &raft.TimeoutNowResponse{})
}

// newLeaderWithin waits for a leader other than dead.
func (s *Store) newLeaderWithin(limit time.Duration, dead string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		_, _, changed := s.leadership.watch()
		if _, id := s.raft.LeaderWithID(); id != "" && string(id) != dead {
			return true
		}
		if s.waitChange(ctx, changed) != nil {
			return false
		}
	}
}

// logPosition is how far a log reaches, in the order of raft's voting rule.
type logPosition struct{ term, index uint64 }

func (p logPosition) before(q logPosition) bool {
	return p.term < q.term || p.term == q.term && p.index < q.index
}

func (s *Store) position() logPosition {
	st := s.raft.Stats() // once: the numbers must belong together
	log := logPosition{number(st["last_log_term"]), number(st["last_log_index"])}
	snap := logPosition{number(st["last_snapshot_term"]), number(st["last_snapshot_index"])}
	if log.before(snap) {
		return snap
	}
	return log
}

// number reads one of raft's statistics, which are text.
func number(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// rank is the number of living voters who are better placed than this node:
// those with a longer log, since they would refuse us their vote, and with an
// equal one those with a smaller id. Whoever does not answer does not count.
func (d *detector) rank(dead Peer) int {
	s := d.store
	mine := s.position()
	ahead := 0
	for id, pos := range s.positions(dead.ID) {
		if mine.before(pos) || mine == pos && id < s.cfg.NodeID {
			ahead++
		}
	}
	return ahead
}

// positions asks the other voters, except one, how far their logs reach.
func (s *Store) positions(except string) map[string]logPosition {
	ctx, cancel := context.WithTimeout(context.Background(), positionTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]logPosition{}
	for _, srv := range s.servers() {
		p := Peer{string(srv.ID), string(srv.Address)}
		if p.ID == s.cfg.NodeID || p.ID == except || srv.Suffrage != raft.Voter {
			continue
		}
		wg.Go(func() {
			r, err := s.peers.call(ctx, p, "Position", request{})
			if err != nil {
				return
			}
			mu.Lock()
			out[p.ID] = logPosition{r.Term, r.Index}
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

// diskFailed hands leadership over after a failed write. raft steps down by
// itself once it has the error, but without naming a successor, so we do what
// a leader does in a transfer: ask the best placed follower to stand at once.
func (s *Store) diskFailed(err error) {
	led := s.IsLeader()
	s.log.Error("raftstore: write to the raft log failed", "leader", led, "error", err)
	if !led || !s.gate.enter() {
		return
	}
	s.bg.Go(func() {
		defer s.gate.leave()
		var best string
		var at logPosition
		for id, pos := range s.positions("") {
			if best == "" || at.before(pos) {
				best, at = id, pos
			}
		}
		if addr := s.addrOf(best); addr != "" {
			if err := s.timeoutNow(Peer{best, addr}); err != nil {
				s.log.Warn("raftstore: hand-over after a disk failure", "to", best, "error", err)
			}
		}
	})
}
