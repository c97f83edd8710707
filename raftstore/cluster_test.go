package raftstore_test

import (
	"fmt"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestProposeFromAnyNode(t *testing.T) {
	for name, opts := range map[string][]option{"memory": nil, "tcp": {overTCP(t, 3)}} {
		t.Run(name, func(t *testing.T) {
			// Patient timers: a busy machine must not cause elections here.
			patient := func(_ int, cfg *raftstore.Config) { cfg.Profile = raftstore.WAN }
			c := newCluster(t, 3, append(opts, patient)...)
			c.leader()
			for i, nd := range c.nodes {
				res, err := nd.store.Propose(t.Context(), fmt.Appendf(nil, "cmd-%d", i))
				if err != nil || string(res) != fmt.Sprint(i+1) {
					t.Fatalf("propose on %s: %q, %v", nd.cfg.NodeID, res, err)
				}
				for _, other := range c.nodes {
					if _, err := other.store.Linearize(t.Context()); err != nil {
						t.Fatalf("linearize: %v", err)
					}
					if got := len(other.list.all()); got != i+1 {
						t.Fatalf("%s shows %d commands after a linearizable read, want %d", other.cfg.NodeID, got, i+1)
					}
				}
			}
			c.sameState()
		})
	}
}
