package e2e_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
)

// A leader that is told to stop hands over first: clients of the other nodes see
// a pause, and no failure.
func TestPlannedHandoverFailsNoRequest(t *testing.T) {
	c := start(t, devcluster.Options{})
	s := &story{cluster: c, journal: newJournal(c.dir), think: 60 * time.Millisecond}
	leader := c.ready(t)
	others := []int{(leader + 1) % 3, (leader + 2) % 3}
	var longest time.Duration
	whileClientsSubmit(t, s, others, func(ctx context.Context) {
		pause(ctx, 300*time.Millisecond)
		if err := c.Signal(leader, syscall.SIGTERM, false); err != nil {
			t.Fatal(err)
		}
		longest = s.submitUntil(t, others[0], func() bool { return !c.Running(leader) })
	})
	for _, sub := range s.subs {
		if sub.outcome != acknowledged {
			t.Errorf("%s: %s: %v", sub.name, sub.outcome, sub.err)
		}
	}
	c.restart(t, leader)
	c.ready(t)
	s.check(t)
	t.Logf("the longest time between two acceptances during the hand-over: %v", longest)
}

// submitUntil submits one driver after the other, and returns the longest time
// between two acceptances.
func (s *story) submitUntil(t *testing.T, node int, done func() bool) (longest time.Duration) {
	t.Helper()
	u := newUser(t)
	last := time.Now()
	for n, rest := 0, 20; rest > 0; n++ {
		if done() {
			rest-- // some more behind the end
		}
		sub := &submission{command: s.journal.runs(fmt.Sprintf("hand-over-%d", n), "0"), kind: runs}
		sub.id, sub.outcome, sub.err = u.submit(t.Context(), s.cluster.rest(node), sub.command, "")
		s.add(sub)
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		pause(t.Context(), 5*time.Millisecond)
	}
	return longest
}

// All nodes die at once, and what was acknowledged is there when they come back.
// What ran meanwhile went on.
func TestAllNodesAreKilledAndComeBack(t *testing.T) {
	c := start(t, devcluster.Options{})
	s := &story{cluster: c, journal: newJournal(c.dir), think: 50 * time.Millisecond}
	whileClientsSubmit(t, s, []int{0, 1, 2}, func(ctx context.Context) {
		pause(ctx, 500*time.Millisecond)
		for i := range c.nodes() {
			if err := c.Signal(i, syscall.SIGKILL, false); err != nil {
				t.Fatal(err)
			}
		}
		for i := range c.nodes() {
			eventually(t, "the killed process to end", func() string {
				if c.Running(i) {
					return "it runs"
				}
				return ""
			})
			c.restart(t, i)
		}
		c.ready(t)
		pause(ctx, 300*time.Millisecond)
	})
	s.check(t)
}

// A follower that was away catches up; the cluster never noticed.
func TestAFollowerThatWasDownRejoins(t *testing.T) {
	c := start(t, devcluster.Options{})
	s := &story{cluster: c, journal: newJournal(c.dir), think: 50 * time.Millisecond}
	follower := (c.ready(t) + 1) % 3
	if err := c.Kill(follower); err != nil {
		t.Fatal(err)
	}
	whileClientsSubmit(t, s, []int{(follower + 1) % 3, (follower + 2) % 3}, func(ctx context.Context) {
		pause(ctx, time.Second)
	})
	for _, sub := range s.subs {
		if sub.outcome == refused {
			t.Errorf("%s: %v", sub.name, sub.err)
		}
	}
	c.restart(t, follower)
	c.ready(t)
	s.check(t) // compares what the nodes say, that one too
}
