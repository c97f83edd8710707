package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// kind of a driver in a story.
type kind string

const (
	runs       kind = "runs"
	failsFirst kind = "fails"  // supervised, its first attempt fails
	killed     kind = "killed" // runs until it is killed
)

// submission is one driver that a client wanted, and what the client knows of it.
type submission struct {
	command
	kind kind
	id   string // if acknowledged
	outcome
	err error
}

// story is a set of clients that submit while somebody does harm, and the check
// of what became of it.
type story struct {
	cluster *cluster
	journal journal
	think   time.Duration // between the submissions of one client

	mu   sync.Mutex
	subs []*submission
}

func (s *story) add(sub *submission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = append(s.subs, sub)
}

// client submits to all nodes in turn until ctx ends. Odd clients send an
// idempotency key and repeat until they are acknowledged; the others ask once.
func (s *story) client(ctx context.Context, t *testing.T, me int, nodes []int) error {
	u := newUser(t)
	for n := 0; ctx.Err() == nil; n++ {
		sub := s.plan(me, n)
		node := nodes[n%len(nodes)]
		if me%2 == 1 {
			s.insist(t, u, sub, nodes, n)
		} else {
			// A request under way is always waited for: only the server may lose it.
			sub.id, sub.outcome, sub.err = u.submit(t.Context(), s.cluster.rest(node), sub.command, "")
		}
		s.add(sub)
		if sub.kind == killed && sub.outcome == acknowledged {
			if err := u.kill(t.Context(), s.cluster, sub.id); err != nil {
				return err
			}
		}
		pause(ctx, s.think)
	}
	return nil
}

// insist repeats a submission with the same key until it is acknowledged.
func (s *story) insist(t *testing.T, u *user, sub *submission, nodes []int, n int) {
	key := "key-" + sub.name
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ; ctx.Err() == nil; n++ {
		sub.id, sub.outcome, sub.err = u.submit(ctx, s.cluster.rest(nodes[n%len(nodes)]), sub.command, key)
		if sub.outcome == acknowledged {
			return
		}
		pause(ctx, 5*time.Millisecond)
	}
	t.Errorf("%s was never acknowledged: %v", sub.name, sub.err)
}

// plan chooses the n-th driver of a client.
func (s *story) plan(me, n int) *submission {
	name := fmt.Sprintf("c%d-%d", me, n)
	switch n % 8 {
	case 2:
		return &submission{command: s.journal.failsFirst(name), kind: failsFirst}
	case 5:
		return &submission{command: s.journal.runs(name, "300"), kind: killed}
	}
	return &submission{command: s.journal.runs(name, fmt.Sprintf("0.%d", n%5)), kind: runs}
}

// check waits until every driver has ended, and holds against each other what
// the clients know, what the nodes say, and what the drivers noted.
func (s *story) check(t *testing.T) {
	t.Helper()
	u := newUser(t)
	submitted := time.Now()
	s.killTheRest(t, u)
	listed := s.waitAllEnded(t, u)
	t.Logf("all drivers had ended %v after the last submission", time.Since(submitted).Round(time.Millisecond))
	notes := s.journal.read(t)
	byName := make(map[string]api.Summary)
	for id, d := range listed {
		if _, twice := byName[d.Name]; twice {
			t.Errorf("%s was submitted once and is there twice, also as %s", d.Name, id)
		}
		byName[d.Name] = d
	}
	count := make(map[outcome]int)
	for _, sub := range s.subs {
		count[sub.outcome]++
		d, there := byName[sub.name]
		switch {
		case sub.outcome == acknowledged && listed[sub.id].Name != sub.name:
			t.Errorf("%s was acknowledged as %s and is lost", sub.name, sub.id)
		case sub.outcome == refused && there:
			t.Errorf("%s was refused (%v) and is there as %s", sub.name, sub.err, d.ID)
		case !there && len(notes[sub.name]) > 0:
			t.Errorf("%s is not there and ran: %+v", sub.name, notes[sub.name])
		case there:
			s.checkDriver(t, u, sub, d, notes[sub.name])
		}
		delete(byName, sub.name)
	}
	if len(byName) > 0 {
		t.Errorf("drivers that nobody submitted: %v", slices.Sorted(maps.Keys(byName)))
	}
	s.checkNodesAgree(t, u, listed)
	t.Logf("%d submissions: %v; %d drivers", len(s.subs), count, len(listed))
	if count[acknowledged] == 0 {
		t.Error("nothing was acknowledged")
	}
}

// killTheRest kills those that are to be killed of which their client does not
// know: their submission was in the log when its answer got lost.
func (s *story) killTheRest(t *testing.T, u *user) {
	t.Helper()
	unknown := make(map[string]bool)
	for _, sub := range s.subs {
		if sub.kind == killed && sub.outcome != acknowledged {
			unknown[sub.name] = true
		}
	}
	eventually(t, "drivers of unknown outcome to be killed", func() string {
		listed, err := u.drivers(t.Context(), s.cluster.rest(0), "linearizable")
		if err != nil {
			return err.Error()
		}
		for id, d := range listed {
			if unknown[d.Name] && d.FinishedAt == nil {
				if err := u.kill(t.Context(), s.cluster, id); err != nil {
					return err.Error()
				}
			}
		}
		return ""
	})
}

// waitAllEnded returns the drivers as the leader lists them in the end.
func (s *story) waitAllEnded(t *testing.T, u *user) (listed map[string]api.Summary) {
	t.Helper()
	eventually(t, "all drivers to end", func() string {
		var err error
		listed, err = u.drivers(t.Context(), s.cluster.rest(0), "linearizable")
		if err != nil {
			return err.Error()
		}
		going := make(map[string]int)
		example := ""
		for id, d := range listed {
			if d.FinishedAt == nil {
				going[d.State]++
				example = fmt.Sprintf("%s (%s) is %s %s", id, d.Name, d.State, d.Reason)
			}
		}
		if len(going) > 0 {
			return fmt.Sprint(going, " ", example)
		}
		return ""
	})
	return listed
}

// wantState is the state in which a driver of a kind ends.
func (k kind) wantState() string {
	if k == killed {
		return "KILLED"
	}
	return "FINISHED"
}

func (s *story) checkDriver(t *testing.T, u *user, sub *submission, d api.Summary, notes []attempt) {
	t.Helper()
	full, err := u.driver(t.Context(), s.cluster.rest(0), d.ID)
	if err != nil {
		t.Error(err)
		return
	}
	problem := func(format string, args ...any) {
		t.Errorf("%s (%s, %s): %s\nattempts %+v\njournal %+v", d.ID, sub.name, sub.kind, fmt.Sprintf(format, args...), full.Attempts, notes)
	}
	if want := sub.kind.wantState(); d.State != want && sub.outcome == acknowledged {
		problem("is %s, not %s: %s", d.State, want, d.Reason)
	}
	// Each attempt that reached an agent started exactly once, except one that
	// was killed before it could.
	started := make(map[string]int)
	for i, a := range notes {
		started[a.taskID]++
		if i > 0 && (notes[i-1].end == 0 || notes[i-1].end > a.start) && sub.kind != killed {
			problem("two attempts ran at once")
		}
	}
	for _, a := range full.Attempts {
		switch n := started[a.TaskID]; {
		case n == 0 && !a.Dropped && sub.kind != killed:
			problem("attempt %d never ran", a.Number)
		case n > 1, n == 1 && a.Dropped:
			problem("attempt %d ran %d times (dropped: %t)", a.Number, n, a.Dropped)
		}
		delete(started, a.TaskID)
	}
	if len(started) > 0 {
		problem("tasks ran that are no attempts: %v", started)
	}
	if want := sub.wantEnds(); ends(notes) != want {
		problem("ended %d times, not %d", ends(notes), want)
	}
}

func ends(notes []attempt) (n int) {
	for _, a := range notes {
		if a.end != 0 && !a.failed {
			n++
		}
	}
	return n
}

func (s *submission) wantEnds() int {
	if s.kind == killed {
		return 0
	}
	return 1
}

// checkNodesAgree waits until every node, asked for what it has itself, tells
// the same.
func (s *story) checkNodesAgree(t *testing.T, u *user, want map[string]api.Summary) {
	t.Helper()
	for i := range s.cluster.nodes() {
		eventually(t, "the nodes to agree", func() string {
			got, err := u.drivers(t.Context(), s.cluster.rest(i), "stale")
			if err != nil {
				return err.Error()
			}
			var differ []string
			for id := range want {
				if !reflect.DeepEqual(got[id], want[id]) {
					differ = append(differ, id)
				}
			}
			if len(differ) > 0 || len(got) != len(want) {
				return fmt.Sprintf("node %d has %d drivers, the leader %d; they differ in %s", i, len(got), len(want), strings.Join(differ, " "))
			}
			return ""
		})
	}
}
