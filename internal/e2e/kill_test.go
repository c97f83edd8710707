package e2e_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
)

const (
	kills   = 5
	clients = 4
)

// The leader dies five times in a row by kill -9 while four clients submit, and
// comes back each time. Whatever was acknowledged is there and ran exactly as
// often as it says.
func TestLeaderIsKilledWhileClientsSubmit(t *testing.T) {
	onEachMesos(t, func(t *testing.T, opts devcluster.Options) {
		c := start(t, opts)
		s := &story{cluster: c, journal: newJournal(c.dir), think: 60 * time.Millisecond}
		if opts.MesosURL != "" {
			s.think *= 3 // its executors are Python programs
		}
		var gaps []time.Duration
		whileClientsSubmit(t, s, []int{0, 1, 2}, func(ctx context.Context) {
			for n := range kills {
				gaps = append(gaps, s.killLeader(t, n))
			}
		})
		s.check(t)
		t.Logf("from kill -9 to the next acceptance: median %v of %v", median(gaps), gaps)
	})
}

// whileClientsSubmit runs the clients as long as harm takes.
func whileClientsSubmit(t *testing.T, s *story, nodes []int, harm func(context.Context)) {
	t.Helper()
	s.cluster.ready(t)
	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	for i := range clients {
		g.Go(func() error { return s.client(ctx, t, i, nodes) })
	}
	func() {
		defer stop() // also when harm fails the test
		harm(ctx)
	}()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// killLeader kills the leader, measures the time until another node acknowledges
// a submission, and starts the node again.
func (s *story) killLeader(t *testing.T, n int) time.Duration {
	t.Helper()
	leader := s.cluster.ready(t)
	pause(t.Context(), 300*time.Millisecond) // for the clients to get on
	began := time.Now()
	if err := s.cluster.Signal(leader, syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	gap := s.nextAcceptance(t, fmt.Sprintf("after-kill-%d", n), (leader+1)%s.cluster.nodes(), began)
	eventually(t, "the killed process to end", func() string {
		if s.cluster.Running(leader) {
			return "it runs"
		}
		return ""
	})
	s.cluster.restart(t, leader)
	t.Logf("kill %d: %v", n, gap)
	return gap
}

// nextAcceptance submits to a node until it acknowledges.
func (s *story) nextAcceptance(t *testing.T, name string, node int, since time.Time) time.Duration {
	t.Helper()
	u := newUser(t)
	for try := 0; ; try++ {
		sub := &submission{command: s.journal.runs(fmt.Sprintf("%s-%d", name, try), "0.1"), kind: runs}
		sub.id, sub.outcome, sub.err = u.submit(t.Context(), s.cluster.rest(node), sub.command, "")
		gap := time.Since(since)
		s.add(sub)
		if sub.outcome == acknowledged {
			return gap
		}
		if gap > patience {
			t.Fatalf("nothing was accepted for %v: %v", gap, sub.err)
		}
	}
}
