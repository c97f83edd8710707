package raftstore_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore/internal/wire"
)

// TestForwardedCommandIsNotForwardedAgain calls a follower the way a follower
// calls its leader: it must refuse and name the leader.
func TestForwardedCommandIsNotForwardedAgain(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	f := c.followers()[0]
	for _, method := range []string{"Propose", "ReadIndex", "Join", "Remove", "Transfer"} {
		r := callRPC(t, f.store.Address(), "Store."+method, wire.Request{Data: []byte("x"), PeerID: "n9", PeerAddr: "h:1"})
		if r.Code != 3 {
			t.Errorf("%s on a follower: code %d %s, want 3 (not leader)", method, r.Code, r.Detail)
		}
	}
	if r := callRPC(t, f.store.Address(), "Store.Propose", wire.Request{}); r.LeaderID != c.leader().cfg.NodeID {
		t.Errorf("hint %q, the leader is %q", r.LeaderID, c.leader().cfg.NodeID)
	}
	r := callRPC(t, c.leader().store.Address(), "Store.Propose", wire.Request{Data: make([]byte, 2<<20)})
	if r.Code != 6 {
		t.Errorf("too large a command: code %d %s", r.Code, r.Detail)
	}
	if n := len(c.nodes[0].list.all()); n != 0 {
		t.Errorf("%d commands were executed", n)
	}
}

// TestManyClientsOnAllNodes: results go to whoever asked.
func TestManyClientsOnAllNodes(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	c.leader()
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	const clients, each = 16, 20
	for i := range clients {
		wg.Go(func() {
			for range each {
				res, err := c.nodes[i%3].store.Propose(timeout(t, 20*time.Second), []byte("x"))
				if err != nil {
					t.Errorf("propose: %v", err)
					return
				}
				mu.Lock()
				if seen[string(res)] {
					t.Errorf("result %s was given twice", res)
				}
				seen[string(res)] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != clients*each {
		t.Errorf("%d results, want %d", len(seen), clients*each)
	}
	c.sameState()
}

func TestNoMajorityNoLeader(t *testing.T) {
	c := newCluster(t, 3)
	l := c.leader()
	fs := c.followers()
	c.crash(l)
	c.crash(fs[0])
	eventually(t, "the last node to know that nobody leads", func() bool {
		_, err := fs[1].store.Propose(timeout(t, time.Second), []byte("x"))
		if errors.Is(err, raftstore.ErrOutcomeUnknown) {
			t.Errorf("nothing was sent to anybody: %v", err)
		}
		return errors.Is(err, raftstore.ErrNoLeader) && fs[1].store.Status().LeaderID == ""
	})
	if err := fs[1].store.WaitLeader(timeout(t, 50*time.Millisecond)); err == nil {
		t.Error("a leader without a majority")
	}
}
