package testcluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// A crowd is a cluster that was given a prepared state, with a Mesos whose agents
// exist in name only.
func crowd(t *testing.T, d scale.Drivers) (*testcluster.T, *scale.Mesos) {
	t.Helper()
	m, err := scale.StartMesos()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	state, err := scale.State(d)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := scale.Archive(&archive, state); err != nil {
		t.Fatal(err)
	}
	c := testcluster.New(t, testcluster.Options{
		Memory: true, Master: strings.TrimPrefix(m.URL(), "http://"),
		// An agent that is held for a driver which has waited for long is an offer
		// without an answer.
		Conf: map[string]string{"spark.mesos.dispatcher.holdAfter": "0"},
		// Three nodes restore a large state on the processors of one.
		Tune: func(_ string, _ *dispatcher.Config, r *raftstore.Config) {
			r.Profile = raftstore.Profile{Name: "slow", Heartbeat: 3 * time.Second, Election: 3 * time.Second, Lease: 1500 * time.Millisecond}
		},
	})
	c.Until("the state to be restored", func() bool {
		return c.Ready().Inside().Store().RestoreSnapshot(c.Ctx(), bytes.NewReader(archive.Bytes())) == nil
	})
	return c, m
}

func counts(t *testing.T, n *testcluster.Node) fsm.Counts {
	t.Helper()
	state, err := n.State()
	if err != nil {
		t.Fatal(err)
	}
	return state.Counts()
}

// TestLargeState is the whole node with a fifth of what it is made for: every
// driver is placed, snapshots do not keep submissions out, and what was there is
// there after a crash, after a node was given all of it, and in the lists.
func TestLargeState(t *testing.T) {
	d, agents := scale.Drivers{Finished: 20_000, Queued: 4_000}, 400
	if raceDetector {
		d, agents = scale.Drivers{Finished: 2_000, Queued: 600}, 60
	}
	c, mesos := crowd(t, d)
	for _, n := range c.Nodes() {
		c.Do(n.WaitState(c.Ctx(), "the prepared drivers", func(s *fsm.State) bool {
			return s.Counts() == fsm.Counts{Waiting: d.Queued, Finished: d.Finished}
		}))
	}
	leader := c.Ready()
	if got := leader.Inside().Store().Status().Members; len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	c.Until("the nodes to be known again", func() bool {
		state, err := leader.State()
		known := 0
		state.View().Nodes(func(*fsm.Node) bool { known++; return true })
		return err == nil && known == 3
	})

	listsAreRight(t, leader, d)
	submitted := submissionsBesideSnapshots(t, c, leader)

	// One cycle: all that is queued finds its place, each driver once.
	queued := d.Queued + submitted
	a, err := mesos.Offer(c.Ctx(), scale.RoomFor(agents, (queued+agents-1)/agents))
	c.Do(err)
	if a.Tasks != queued {
		t.Errorf("%d of %d drivers were placed: %+v", a.Tasks, queued, a)
	}
	if n, twice := mesos.Tasks(); n != queued || len(twice) > 0 {
		t.Errorf("%d tasks for %d drivers, twice: %v", n, queued, twice)
	}
	// Each agent's drivers go in one ACCEPT, and each status is acknowledged once.
	if calls := mesos.Counts(); calls.Accepts > agents+2 {
		t.Errorf("%d ACCEPTs for %d agents", calls.Accepts, agents)
	}
	want := fsm.Counts{Active: queued, Finished: d.Finished}
	c.Do(leader.WaitState(c.Ctx(), "all to run", func(s *fsm.State) bool {
		running := 0
		s.View().Active(func(dr *fsm.Driver) bool {
			if dr.State == fsm.DriverRunning {
				running++
			}
			return true
		})
		return running == queued
	}))

	c.Do(leader.Restart(c.Ctx()))
	c.Do(leader.WaitState(c.Ctx(), "what was there before the crash", func(s *fsm.State) bool { return s.Counts() == want }))
	next := c.Ready()
	c.Until("the next leader to ask about every task", func() bool { return mesos.Counts().Asked >= queued })
	c.Same()
	if got := counts(t, next); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// submissionsBesideSnapshots submits as long as every node writes a snapshot of
// the whole state, and wants the submissions to go on all the while. What is
// counted is work, not time: a snapshot that kept Apply, or the log, from working
// would let none through.
func submissionsBesideSnapshots(t *testing.T, c *testcluster.T, leader *testcluster.Node) (submitted int) {
	t.Helper()
	ctx, cancel := context.WithCancel(c.Ctx())
	defer cancel()
	var writing atomic.Int32
	done := make(chan error, len(c.Nodes()))
	for _, n := range c.Nodes() {
		writing.Add(1)
		go func() {
			err := n.Inside().Store().SaveSnapshot(ctx, io.Discard)
			writing.Add(-1)
			done <- err
		}()
	}
	beside := 0
	for writing.Load() > 0 || submitted < 20 {
		before := writing.Load()
		key := fmt.Sprintf("beside-%d", submitted)
		c.Until("an acknowledgement of "+key, func() bool {
			return leader.Submit(ctx, testcluster.Submission{Key: key, Command: "true", Idempotency: key}).Outcome == testcluster.Acked
		})
		submitted++
		if before > 0 && writing.Load() > 0 {
			beside++
		}
	}
	for range c.Nodes() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if beside < 3 {
		t.Errorf("%d submissions were acknowledged while snapshots were written", beside)
	}
	t.Logf("%d submissions beside the snapshots", beside)
	return submitted
}

// listsAreRight walks all pages of the list, and looks for one driver.
func listsAreRight(t *testing.T, n *testcluster.Node, d scale.Drivers) {
	t.Helper()
	seen := make(map[string]bool)
	get := func(query string) (l api.DriverList) {
		t.Helper()
		raw := page(t, n.Inside().RESTURL()+"/v1/drivers?"+query)
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	cursor := ""
	for {
		l := get("limit=1000&cursor=" + cursor)
		for _, s := range l.Drivers {
			if seen[s.ID] {
				t.Fatalf("%s is on two pages", s.ID)
			}
			seen[s.ID] = true
		}
		if cursor = l.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != d.Finished+d.Queued {
		t.Errorf("%d drivers on all pages", len(seen))
	}
	if l := get("state=FINISHED&limit=1"); len(l.Drivers) != 1 || l.Drivers[0].State != "FINISHED" || l.Counts.Finished != d.Finished {
		t.Errorf("%+v", l)
	}
	for address, text := range map[string]string{
		"/":                       "Queued Drivers:",
		"/drivers?q=nightly":      "nightly-report",
		"/drivers?state=FINISHED": "FINISHED",
	} {
		if body := page(t, n.Inside().WebURL()+address); !bytes.Contains(body, []byte(text)) {
			t.Errorf("%s: no %q in %d bytes", address, text, len(body))
		}
	}
}

func page(t *testing.T, address string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: HTTP %d: %v", address, resp.StatusCode, err)
	}
	return body
}
