package testcluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func impatient(_ string, d *dispatcher.Config, _ *raftstore.Config) { d.SubmitWait = time.Second }

// TestLeaderInTheMinority: a leader that is cut off from the other nodes, but not
// from Mesos and its clients, takes nothing in, stops acting, and does not get
// its subscription back.
func TestLeaderInTheMinority(t *testing.T) {
	overBoth(t, func(t *testing.T, opts testcluster.Options) {
		opts.Tune = impatient
		c := testcluster.New(t, opts)
		old := c.Ready()
		id := c.Submit(old, testcluster.Submission{Key: "before"})
		c.In(id, fsm.DriverRunning)
		c.Do(c.WaitApplied(c.Ctx()))
		old.Isolate()
		if a := old.Submit(c.Ctx(), testcluster.Submission{Key: "lost", Command: c.Journal.Until("lost")}); a.Outcome == testcluster.Acked {
			t.Errorf("acknowledged without a majority: %+v", a)
		}
		next := c.Ready()
		if next == old {
			t.Fatal("the leader in the minority still leads")
		}
		c.Until("the old leader to let go of Mesos", func() bool { return !old.Inside().LeaderStatus().Leading })
		if fws := c.Mesos.Frameworks(); len(fws) != 1 || !fws[0].Connected {
			t.Errorf("%+v", fws)
		}
		if a := old.Status(c.Ctx(), id, false); a.HTTP != 503 || !strings.Contains(a.Message, "no leader") {
			t.Errorf("linearizable read in the minority: %+v", a)
		}
		if a := old.Status(c.Ctx(), id, true); a.HTTP != 200 || a.DriverState != "RUNNING" {
			t.Errorf("stale read in the minority: %+v", a)
		}
		if a := old.Status(c.Ctx(), "driver-unknown", true); !strings.Contains(a.Message, "may lag behind") {
			t.Errorf("a stale answer does not say so: %+v", a)
		}
		after := c.Submit(next, testcluster.Submission{Key: "after"})
		c.In(after, fsm.DriverRunning)
		c.Heal()
		c.End("before", 0)
		c.End("after", 0)
		c.In(id, fsm.DriverFinished)
		c.In(after, fsm.DriverFinished)
		c.Consistent()
		if runs, _ := c.Journal.RunsOf("lost"); len(runs) > 0 {
			t.Errorf("a submission that no majority took ran: %+v", runs)
		}
	})
}

// TestSilentMesosOfTheOldLeader: what the deposed leader had on its way to Mesos
// comes late, and has no effect.
func TestSilentMesosOfTheOldLeader(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	old := c.Ready()
	c.In(c.Submit(old, testcluster.Submission{Key: "warm", Command: c.Journal.For("warm", 0, 0)}), fsm.DriverFinished)
	trap := old.Arm(dispatcher.FailIntentCommitted, testcluster.HoldThere)
	id := c.Submit(old, testcluster.Submission{Key: "d"})
	c.Snap(trap)
	old.SilenceMesos() // its ACCEPT leaves, and does not arrive
	c.Until("heartbeats to be held back", func() bool { return old.HeldBack() > 0 })
	before := old.HeldBack()
	trap.Release()
	c.Until("the ACCEPT to be held back", func() bool { return old.HeldBack() > before })
	old.Isolate()
	c.Until("another leader", func() bool {
		for _, n := range c.Others(old) {
			if n.Leads() {
				return true
			}
		}
		return false
	})
	c.In(id, fsm.DriverRunning)
	c.Heal() // now it arrives
	c.End("d", 0)
	c.In(id, fsm.DriverFinished)
	c.Consistent()
	if runs := c.Runs("d", 1); len(runs) != 1 {
		t.Errorf("%d processes: %+v", len(runs), runs)
	}
}

// TestSubscriptionOfTheOldLeaderComesLate: the SUBSCRIBE of a deposed leader gets
// to Mesos after that of its successor, who takes the subscription back.
func TestSubscriptionOfTheOldLeaderComesLate(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	old := c.Ready()
	old.CutMesos()
	c.Until("the subscription to end", func() bool { return !old.Inside().LeaderStatus().Subscribed })
	old.SilenceMesos()
	c.Until("a SUBSCRIBE on its way", func() bool { return old.HeldBack() > 0 })
	old.Isolate()
	next := c.Ready()
	if next == old {
		t.Fatal("the isolated leader leads")
	}
	first := c.Submit(next, testcluster.Submission{Key: "first"})
	c.In(first, fsm.DriverRunning)
	old.HealMesos() // here it comes
	second := c.Submit(next, testcluster.Submission{Key: "second"})
	c.In(second, fsm.DriverRunning)
	c.Heal()
	c.Until("a subscription that stays", func() bool {
		fw := c.Mesos.Frameworks()
		return len(fw) == 1 && fw[0].Connected && c.Ready().Leads()
	})
	c.End("first", 0)
	c.End("second", 0)
	c.In(first, fsm.DriverFinished)
	c.In(second, fsm.DriverFinished)
	c.Consistent()
}

// TestMesosCutOffFromTheLeader: the leader stays, says what is missing, and goes
// on when Mesos is back.
func TestMesosCutOffFromTheLeader(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	leader := c.Ready()
	id := c.Submit(leader, testcluster.Submission{Key: "d"})
	c.In(id, fsm.DriverRunning)
	leader.CutMesos()
	c.Until("readyz to tell", func() bool {
		status, body, err := leader.Get(c.Ctx(), "/readyz", true)
		c.Do(err)
		return status == 503 && strings.Contains(body, "not subscribed to mesos")
	})
	queued := c.Submit(leader, testcluster.Submission{Key: "queued"})
	c.End("d", 0)
	leader.HealMesos()
	c.In(id, fsm.DriverFinished)
	c.In(queued, fsm.DriverRunning)
	c.Until("readyz to be well", func() bool {
		status, _, err := leader.Get(c.Ctx(), "/readyz", true)
		c.Do(err)
		return status == 200
	})
	c.Consistent()
}

// TestLeadershipBounces: leadership is handed around while clients submit.
func TestLeadershipBounces(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	c.Ready()
	done := make(chan []string)
	go func() {
		var ids []string
		for i := range 20 {
			key := fmt.Sprintf("d%d", i)
			a := c.Node(i%3).Submit(c.Ctx(), testcluster.Submission{Key: key, Command: c.Journal.For(key, 0, 0), Idempotency: key})
			if a.Outcome != testcluster.Acked {
				t.Errorf("%s: %+v", key, a)
			}
			ids = append(ids, a.SubmissionID)
		}
		done <- ids
	}()
	for range 6 {
		leader, err := c.WaitLeader(c.Ctx())
		c.Do(err)
		store := leader.Inside().Store()
		term := store.Status().Term
		if err := store.Transfer(c.Ctx(), ""); err != nil {
			t.Logf("transfer from %s: %v", leader.ID, err)
			continue
		}
		_, err = c.WaitTerm(c.Ctx(), term)
		c.Do(err)
	}
	for _, id := range <-done {
		c.In(id, fsm.DriverFinished)
	}
	c.Consistent()
}

// TestDiskOfTheLeader: a disk that hangs or fails costs the leader its office and
// nobody a submission.
func TestDiskOfTheLeader(t *testing.T) {
	for name, harm := range map[string]func(*testcluster.Node){
		"hangs": (*testcluster.Node).HangDisk,
		"fails": func(n *testcluster.Node) { n.FailDisk(testcluster.ErrInjected) },
		"slow":  func(n *testcluster.Node) { n.SlowDisk(30 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			c := testcluster.New(t, testcluster.Options{Memory: true})
			leader := c.Ready()
			other := c.Others(leader)[0]
			before := c.Submit(leader, testcluster.Submission{Key: "before"})
			c.In(before, fsm.DriverRunning)
			harm(leader)
			after := c.Submit(other, testcluster.Submission{Key: "after", Idempotency: "after"})
			c.In(after, fsm.DriverRunning)
			leader.HealDisk()
			if name == "fails" { // what a failed disk holds is not to be trusted
				c.Do(leader.Restart(c.Ctx()))
			}
			c.End("before", 0)
			c.End("after", 0)
			c.In(before, fsm.DriverFinished)
			c.In(after, fsm.DriverFinished)
			c.Consistent()
		})
	}
}
