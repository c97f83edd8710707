package testcluster

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Patience is how long T waits for anything before it fails its test.
const Patience = 60 * time.Second

// T is a cluster that fails its test where Cluster returns an error.
type T struct {
	*Cluster
	tb testing.TB
}

// New starts a cluster that ends with the test. With the environment variable
// TESTCLUSTER_LOG set the nodes log to standard error.
func New(tb testing.TB, opts Options) *T {
	tb.Helper()
	if opts.Dir == "" {
		opts.Dir = tb.TempDir()
	}
	if opts.Logger == nil && os.Getenv("TESTCLUSTER_LOG") != "" {
		opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c, err := Start(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("close the cluster: %v", err)
		}
	})
	return &T{c, tb}
}

// Ctx ends after Patience.
func (t *T) Ctx() context.Context {
	ctx, cancel := context.WithTimeout(t.tb.Context(), Patience)
	t.tb.Cleanup(cancel)
	return ctx
}

// Do fails the test on an error.
func (t *T) Do(err error) {
	t.tb.Helper()
	if err != nil {
		t.tb.Fatal(err)
	}
}

// Ready is the leader as soon as it is subscribed.
func (t *T) Ready() *Node {
	t.tb.Helper()
	n, err := t.WaitReady(t.Ctx())
	t.Do(err)
	return n
}

// Until waits for a condition.
func (t *T) Until(what string, ok func() bool) {
	t.tb.Helper()
	t.Do(Until(t.Ctx(), what, ok))
}

// Submit submits to n and wants an acknowledgement; it returns the driver's id.
// Where there is surely no leader at the moment it asks again.
func (t *T) Submit(n *Node, s Submission) string {
	t.tb.Helper()
	if s.Command == "" {
		s.Command = t.Journal.Until(s.Key)
	}
	var a Answer
	t.Until("a leader to take "+s.Key, func() bool {
		a = n.Submit(t.Ctx(), s)
		return a.Outcome != Refused || a.HTTP != http.StatusServiceUnavailable
	})
	if a.Outcome != Acked {
		t.tb.Fatalf("submit %s to %s: %+v", s.Key, n.ID, a)
	}
	return a.SubmissionID
}

// Kill kills by n and wants it accepted.
func (t *T) Kill(n *Node, id string) Answer {
	t.tb.Helper()
	a := n.Kill(t.Ctx(), id)
	if a.Outcome != Acked {
		t.tb.Fatalf("kill %s by %s: %+v", id, n.ID, a)
	}
	return a
}

// Driver waits for a driver that satisfies ok.
func (t *T) Driver(id string, ok func(*fsm.Driver) bool) *fsm.Driver {
	t.tb.Helper()
	d, err := t.WaitDriver(t.Ctx(), id, ok)
	t.Do(err)
	return d
}

// In waits for a driver in one of these states.
func (t *T) In(id string, states ...fsm.DriverState) *fsm.Driver {
	t.tb.Helper()
	return t.Driver(id, func(d *fsm.Driver) bool {
		for _, s := range states {
			if d.State == s {
				return true
			}
		}
		return false
	})
}

// End lets a driver end with exit code.
func (t *T) End(keyOrTask string, code int) {
	t.tb.Helper()
	t.Do(t.Journal.End(keyOrTask, code))
}

// Runs waits until a driver has been started n times.
func (t *T) Runs(key string, n int) []Run {
	t.tb.Helper()
	var runs []Run
	t.Until("a process of "+key, func() bool {
		var err error
		runs, err = t.Journal.RunsOf(key)
		t.Do(err)
		return len(runs) >= n
	})
	return runs
}

// Same wants the same bytes on all running nodes.
func (t *T) Same() {
	t.tb.Helper()
	t.Do(t.SameBytes(t.Ctx()))
}

// Consistent wants the same bytes on all running nodes, and that clients, state
// and journal agree.
func (t *T) Consistent() {
	t.tb.Helper()
	t.Same()
	t.Do(t.Check(t.Running()[0], false))
}

// Snap waits until a trap has caught a node.
func (t *T) Snap(trap *Trap) *Node {
	t.tb.Helper()
	n, err := trap.Wait(t.Ctx())
	t.Do(err)
	return n
}

// Start starts a node again.
func (t *T) Start(n *Node) {
	t.tb.Helper()
	t.Do(n.Start(t.Ctx()))
}

// Only waits for the driver with this key on n, and wants no other one with it.
func (t *T) Only(n *Node, key string) string {
	t.tb.Helper()
	var ids []string
	t.Do(n.WaitState(t.Ctx(), "driver "+key, func(s *fsm.State) bool {
		ids = ids[:0]
		s.View().After(0, func(d *fsm.Driver) bool {
			if d.Name == key {
				ids = append(ids, d.ID)
			}
			return true
		})
		return len(ids) > 0
	}))
	if len(ids) > 1 {
		t.tb.Fatalf("%d drivers for %s: %q", len(ids), key, ids)
	}
	return ids[0]
}

// Acknowledged waits until Mesos holds no update that was not acknowledged.
func (t *T) Acknowledged() {
	t.tb.Helper()
	t.Until("all updates to be acknowledged", func() bool {
		for _, v := range t.Mesos.Tasks() {
			if v.Unacked > 0 {
				return false
			}
		}
		return true
	})
}
