package rest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestWritesAreSignsOfLifeAtABoundedRateAndReadsAreNone(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	s := newServer(t, hostConfig(h), h.node)
	for range 20 {
		for _, path := range appReads[:3] {
			do(s, "GET", path, "")
		}
	}
	if n := h.heardOf("a"); n != 0 {
		t.Errorf("%d signs of life of reads", n)
	}
	for range 50 {
		do(s, "PUT", "/v1/apps/a/totals", `{"totals":[]}`)
		do(s, "POST", "/v1/apps/a/heartbeat", "")
	}
	s.signs.wait()
	if n := h.heardOf("a"); n < 1 || n > 2 { // a heartbeat does not wait for the one of the write before
		t.Errorf("%d signs of life in a moment", n)
	}
}

// A heartbeat that cannot be committed must not look as if it were.
func TestAHeartbeatIsAnsweredWhenItIsCommitted(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	s := newServer(t, hostConfig(h), h.node)
	h.locked(func() { h.deaf = raftstore.ErrNoLeader })
	for range 2 {
		if w := do(s, "POST", "/v1/apps/a/heartbeat", ""); w.Code != 503 {
			t.Fatalf("status %d", w.Code)
		}
	}
	h.locked(func() { h.deaf = nil })
	h.locked(func() { h.behind["a"] = true }) // a node that lags behind knows no better than to ask
	if w := do(s, "POST", "/v1/apps/a/heartbeat", ""); w.Code != 200 || h.heardOf("a") != 3 {
		t.Errorf("status %d, %d signs", w.Code, h.heardOf("a"))
	}
}

func TestSignsOfApplicationsThatAreGoneAreForgotten(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	g := newSigns(h)
	defer g.wait()
	defer g.stop()
	for i := range maxSigns {
		g.of[fmt.Sprint(i)] = sign{heard: time.Now()}
	}
	g.note("a", time.Minute)
	g.wait()
	if len(g.of) != 1 || g.heard("a").IsZero() {
		t.Errorf("%d entries", len(g.of))
	}
}
