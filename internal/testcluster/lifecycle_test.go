package testcluster_test

import (
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

// TestKillInEveryState: what a kill answers and does, wherever the driver stands.
func TestKillInEveryState(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	leader := c.Ready()
	follower := c.Others(leader)[0]
	kill := func(id, message string, outcome testcluster.Outcome) {
		t.Helper()
		if a := follower.Kill(c.Ctx(), id); a.Outcome != outcome || a.Message != message {
			t.Errorf("kill %s: %s %q, want %s %q", id, a.Outcome, a.Message, outcome, message)
		}
	}
	never := func(key string) {
		t.Helper()
		if runs, err := c.Journal.RunsOf(key); err != nil || len(runs) > 0 {
			t.Errorf("%s ran: %+v %v", key, runs, err)
		}
	}

	queued := c.Submit(leader, testcluster.Submission{Key: "queued", Conf: huge})
	kill(queued, "Removed driver while it's still pending", testcluster.Acked)
	c.In(queued, fsm.DriverKilled)
	never("queued")

	trap := c.Arm(dispatcher.FailIntentCommitted, testcluster.HoldThere)
	launching := c.Submit(leader, testcluster.Submission{Key: "launching"})
	c.Snap(trap)
	c.In(launching, fsm.DriverLaunching)
	kill(launching, "Killing running driver", testcluster.Acked)
	c.In(launching, fsm.DriverKilling)
	kill(launching, "Killing running driver", testcluster.Acked) // in KILLING
	trap.Release()
	d := c.In(launching, fsm.DriverKilled)
	if len(d.Attempts) != 1 {
		t.Errorf("%+v", d.Attempts)
	}

	running := c.Submit(leader, testcluster.Submission{Key: "running", Supervise: true})
	c.Runs("running", 1)
	kill(running, "Killing running driver", testcluster.Acked)
	c.In(running, fsm.DriverKilled)
	kill(running, "Driver already terminated", testcluster.Refused)

	retrying := c.Submit(leader, testcluster.Submission{Key: "retrying", Supervise: true})
	c.End("retrying", 3)
	c.In(retrying, fsm.DriverRetrying)
	kill(retrying, "Removed driver while it's being retried", testcluster.Acked)
	c.In(retrying, fsm.DriverKilled)

	kill("driver-unknown", "Cannot find driver", testcluster.Refused)
	c.Consistent()
}

// TestBackOffSeries: a supervised driver waits 1 s, then twice as long each time
// up to the limit, and is started once each time.
func TestBackOffSeries(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true, Conf: map[string]string{"spark.mesos.cluster.retry.wait.max": "2"}})
	leader := c.Ready()
	id := c.Submit(leader, testcluster.Submission{Key: "d", Supervise: true})
	for i := range 3 {
		c.End(fsm.TaskID(id, uint32(i)), 1)
	}
	c.End(fsm.TaskID(id, 3), 0)
	d := c.In(id, fsm.DriverFinished)
	if len(d.Attempts) != 4 {
		t.Fatalf("%d attempts", len(d.Attempts))
	}
	for i, want := range []int64{1000, 2000, 2000} {
		if got := d.Attempts[i+1].LaunchedMs - d.Attempts[i].EndedMs; got < want {
			t.Errorf("attempt %d came %d ms after the one before, want at least %d", i+1, got, want)
		}
	}
	c.Consistent()
}

// TestRetryOutlivesTheLeader: the back-off goes on under the next leader, which
// launches at the time that the last one promised.
func TestRetryOutlivesTheLeader(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{})
	leader := c.Ready()
	id := c.Submit(leader, testcluster.Submission{Key: "d", Supervise: true})
	c.End(id, 1)
	due := c.In(id, fsm.DriverRetrying).NotBeforeMs
	leader.Crash()
	c.End(fsm.TaskID(id, 1), 0)
	d := c.In(id, fsm.DriverFinished)
	if got := d.Attempts[1].LaunchedMs; got < due {
		t.Errorf("launched %d ms too early", due-got)
	}
	c.Start(leader)
	c.Consistent()
}

// TestFrameworkRemoved: Mesos has given the framework up. Nothing is launched and
// nothing taken in until an operator says so; then it goes on under a new id.
func TestFrameworkRemoved(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true, Conf: map[string]string{"spark.mesos.dispatcher.failoverTimeout": "300ms"}})
	leader := c.Ready()
	plain := c.Submit(leader, testcluster.Submission{Key: "plain"})
	supervised := c.Submit(leader, testcluster.Submission{Key: "supervised", Supervise: true})
	c.Runs("plain", 1)
	c.Runs("supervised", 1)
	c.In(plain, fsm.DriverRunning)
	c.In(supervised, fsm.DriverRunning)
	old := c.Mesos.Frameworks()[0].ID
	for _, n := range c.Nodes() {
		n.CutMesos()
	}
	c.Until("Mesos to remove the framework", func() bool { return c.Mesos.Frameworks()[0].Completed })
	c.Heal()
	for _, n := range c.Nodes() {
		c.Do(n.WaitState(c.Ctx(), "the framework to be REMOVED", func(s *fsm.State) bool {
			return s.Framework().State == fsm.FrameworkRemoved
		}))
		c.Until("readyz to name the verb", func() bool {
			status, body, err := n.Get(c.Ctx(), "/readyz", true)
			c.Do(err)
			return status == 503 && strings.Contains(body, "REMOVED") && strings.Contains(body, "reset-framework")
		})
	}
	a := c.Node(0).Submit(c.Ctx(), testcluster.Submission{Key: "refused", Command: c.Journal.Until("refused")})
	if a.Outcome != testcluster.Refused || !strings.Contains(a.Message, "reset-framework") {
		t.Errorf("%+v", a)
	}
	c.Do(c.Node(1).Inside().Service().ResetFramework(c.Ctx()))
	c.In(plain, fsm.DriverLost)
	leader = c.Ready()
	c.In(supervised, fsm.DriverRunning)
	after := c.Submit(leader, testcluster.Submission{Key: "after"})
	c.In(after, fsm.DriverRunning)
	st, err := leader.State()
	c.Do(err)
	if id := st.Framework().ID; id == old || id == "" {
		t.Errorf("framework %q, was %q", id, old)
	}
	c.End("after", 0)
	c.In(after, fsm.DriverFinished)
	c.Consistent()
}
