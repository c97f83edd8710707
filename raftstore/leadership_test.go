package raftstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// task records what RunWhileLeader does with it.
type task struct {
	t           *testing.T
	refuse      atomic.Bool
	active      atomic.Bool // between Establish and Revoke
	established atomic.Int32
	revoked     atomic.Int32
	lastTerm    atomic.Uint64
}

func (k *task) Establish(ctx context.Context, term uint64) error {
	if !k.active.CompareAndSwap(false, true) {
		k.t.Error("Establish while established")
	}
	if term <= k.lastTerm.Load() && !k.refuse.Load() {
		k.t.Errorf("established twice in term %d", term)
	}
	k.lastTerm.Store(term)
	if k.refuse.Load() {
		return errors.New("not today")
	}
	k.established.Add(1)
	return nil
}

func (k *task) Revoke() {
	if !k.active.CompareAndSwap(true, false) {
		k.t.Error("Revoke without Establish")
	}
	k.revoked.Add(1)
}

func TestRunWhileLeader(t *testing.T) {
	c := newCluster(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	tasks := make([]*task, 3)
	ended := make(chan error, 3)
	for i, nd := range c.nodes {
		tasks[i] = &task{t: t}
		s := nd.store
		go func() { ended <- s.RunWhileLeader(ctx, tasks[i]) }()
	}
	running := func(nd *node) bool { return tasks[index(c, nd)].active.Load() }
	for range 3 {
		l := c.leader()
		eventually(t, "the leader's task", func() bool { return running(l) })
		if err := l.store.Transfer(timeout(t, 10*time.Second), ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the old leader's task to be revoked", func() bool { return !running(l) || l.store.IsLeader() })
	}
	// A leader whose task cannot start hands over.
	l := c.leader()
	tasks[index(c, l)].refuse.Store(true)
	f := c.followers()[0]
	if err := l.store.Transfer(timeout(t, 10*time.Second), f.cfg.NodeID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower's task", func() bool { return running(f) })
	if err := f.store.Transfer(timeout(t, 10*time.Second), l.cfg.NodeID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another node to run its task", func() bool {
		for _, nd := range c.nodes {
			if nd != l && running(nd) {
				return true
			}
		}
		return false
	})
	cancel()
	for range 3 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("RunWhileLeader: %v", err)
		}
	}
	for i, k := range tasks {
		if k.active.Load() {
			t.Errorf("task %d was not revoked", i)
		}
	}
}

func TestLonelyLeaderBacksOff(t *testing.T) {
	c := newCluster(t, 1)
	s := c.leader().store
	k := &task{t: t}
	k.refuse.Store(true)
	ended := make(chan error, 1)
	go func() { ended <- s.RunWhileLeader(t.Context(), k) }()
	eventually(t, "a second try", func() bool { return k.revoked.Load() >= 2 })
	k.refuse.Store(false)
	k.lastTerm.Store(0)
	eventually(t, "success in the same term", func() bool { return k.established.Load() == 1 })
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, raftstore.ErrClosed) {
		t.Errorf("RunWhileLeader on a closed store: %v", err)
	}
	if k.active.Load() {
		t.Error("not revoked")
	}
}

// TestMetricsReachPrometheus fails without the build tag hashicorpmetrics.
func TestMetricsReachPrometheus(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := newCluster(t, 1, func(_ int, cfg *raftstore.Config) { cfg.Registerer = reg })
	c.propose(c.leader(), "x")
	if metric(t, reg, "ha_dispatcher_raft_apply") < 1 {
		t.Error("raft.apply did not count; build with -tags hashicorpmetrics")
	}
	if metric(t, reg, "ha_dispatcher_raftstore_proposals_total") < 1 {
		t.Error("proposals were not counted")
	}
	c.crash(c.nodes[0])
	// Everything is unregistered: the same registry serves again.
	c.open(c.nodes[0])
	c.leader()
}
