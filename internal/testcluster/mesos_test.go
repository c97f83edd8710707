package testcluster_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

// first n calls of a type meet a fault.
func first(n int32, typ scheduler.Call_Type, action localmesos.Action) localmesos.Faults {
	var left atomic.Int32
	left.Store(n)
	return localmesos.Faults{Call: func(c *scheduler.Call) localmesos.Action {
		if c.Type == typ && left.Add(-1) >= 0 {
			return action
		}
		return localmesos.Pass
	}}
}

// TestAcceptGoesWrong: whatever becomes of an ACCEPT, the driver runs once.
func TestAcceptGoesWrong(t *testing.T) {
	for name, c := range map[string]struct {
		action   localmesos.Action
		attempts int
	}{
		"taken and lost inside of Mesos": {localmesos.Drop, 2},
		"answer lost":                    {localmesos.LoseAnswer, 1},
		"refused with 503":               {localmesos.Refuse, 2},
	} {
		t.Run(name, func(t *testing.T) {
			tc := testcluster.New(t, testcluster.Options{Memory: true})
			leader := tc.Ready()
			tc.Mesos.SetFaults(first(1, scheduler.Call_ACCEPT, c.action))
			id := tc.Submit(leader, testcluster.Submission{Key: "d"})
			tc.In(id, fsm.DriverRunning)
			tc.End("d", 0)
			d := tc.In(id, fsm.DriverFinished)
			if len(d.Attempts) != c.attempts || startedAttempts(d) != 1 {
				t.Errorf("%d attempts, want %d of which one ran: %+v", len(d.Attempts), c.attempts, d.Attempts)
			}
			tc.Consistent()
		})
	}
}

// TestAcceptHeldUp: an ACCEPT that arrives long after its leader gave it up.
func TestAcceptHeldUp(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	leader := c.Ready()
	c.Mesos.SetFaults(first(1, scheduler.Call_ACCEPT, localmesos.Hold))
	id := c.Submit(leader, testcluster.Submission{Key: "d"})
	c.In(id, fsm.DriverRunning) // after the fence, as another attempt
	c.Mesos.Release()
	c.End("d", 0)
	c.In(id, fsm.DriverFinished)
	c.Consistent()
	if runs := c.Runs("d", 1); len(runs) != 1 {
		t.Errorf("%+v", runs)
	}
}

// TestOfferGoneBeforeAccept: the agent's offers are rescinded between the
// decision and the ACCEPT.
func TestOfferGoneBeforeAccept(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true, Mesos: localmesos.Options{Agents: 1}})
	leader := c.Ready()
	trap := c.Arm(dispatcher.FailIntentCommitted, testcluster.HoldThere)
	id := c.Submit(leader, testcluster.Submission{Key: "d"})
	c.Snap(trap)
	agent := c.Mesos.Agents()[0].ID
	c.Do(c.Mesos.DisconnectAgent(agent))
	c.Do(c.Mesos.ReturnAgent(agent))
	trap.Release()
	c.In(id, fsm.DriverRunning)
	c.End("d", 0)
	d := c.In(id, fsm.DriverFinished)
	if len(d.Attempts) < 2 || !d.Attempts[0].Dropped {
		t.Errorf("%+v", d.Attempts)
	}
	c.Consistent()
}

// TestMasterFailoverWhileLaunching: the Mesos master dies again and again while
// drivers are submitted.
func TestMasterFailoverWhileLaunching(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true, Mesos: localmesos.Options{Agents: 2, AgentReregisterDelay: 50 * time.Millisecond}})
	leader := c.Ready()
	var ids []string
	for i := range 12 {
		key := fmt.Sprintf("d%d", i)
		ids = append(ids, c.Submit(leader, testcluster.Submission{Key: key, Command: c.Journal.For(key, 0, 0)}))
		if i%3 == 0 {
			c.Do(c.Mesos.FailoverMaster(context.Background()))
		}
	}
	for _, id := range ids {
		c.In(id, fsm.DriverFinished)
	}
	c.Consistent()
}

// TestUpdatesTwiceAndLate: every update comes twice, and some come when all is
// over.
func TestUpdatesTwiceAndLate(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	leader := c.Ready()
	isUpdate := func(e *scheduler.Event, s mesos.TaskState) bool {
		return e.Type == scheduler.Event_UPDATE && e.Update.Status.GetState() == s
	}
	c.Mesos.SetFaults(localmesos.Faults{Event: func(_ string, e *scheduler.Event) localmesos.Action {
		switch {
		case isUpdate(e, mesos.TASK_RUNNING):
			return localmesos.Hold
		case e.Type == scheduler.Event_UPDATE:
			return localmesos.Duplicate
		}
		return localmesos.Pass
	}})
	id := c.Submit(leader, testcluster.Submission{Key: "d", Supervise: true})
	c.In(id, fsm.DriverRunning) // TASK_STARTING is enough
	c.Runs("d", 1)
	c.Mesos.SetFaults(localmesos.Faults{})
	c.Acknowledged() // RUNNING came again, while older copies are held
	c.End("d", 0)
	c.In(id, fsm.DriverFinished)
	c.Mesos.Release()
	next := c.Submit(leader, testcluster.Submission{Key: "next", Command: c.Journal.For("next", 0, 0)})
	c.In(next, fsm.DriverFinished) // what was held has come by now
	if d := c.In(id, fsm.DriverFinished); len(d.Attempts) != 1 {
		t.Errorf("%+v", d)
	}
	c.Consistent()
}

// TestLostKillIsSentAgain: two KILLs get lost.
func TestLostKillIsSentAgain(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Memory: true})
	leader := c.Ready()
	id := c.Submit(leader, testcluster.Submission{Key: "d"})
	c.Runs("d", 1)
	c.Mesos.SetFaults(first(2, scheduler.Call_KILL, localmesos.Drop))
	c.Kill(leader, id)
	c.In(id, fsm.DriverKilled)
	c.Consistent()
}

func attempts(d *fsm.Driver) (text string) {
	for _, a := range d.Attempts {
		text += fmt.Sprintf("%+v; ", *a)
	}
	return text
}

// TestAgentLostAndBack: the policy for agents that Mesos cannot reach.
func TestAgentLostAndBack(t *testing.T) {
	const wait = "spark.mesos.dispatcher.unreachable"
	for _, tc := range []struct {
		name      string
		policy    string
		supervise bool
		lost      fsm.DriverState // while the agent is away
	}{
		{"relaunch, unsupervised", "relaunch", false, fsm.DriverLost},
		{"relaunch, supervised", "relaunch", true, fsm.DriverRunning},
		{"wait, supervised", "wait", true, fsm.DriverRunning},
		{"wait, unsupervised", "wait", false, fsm.DriverRunning},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testcluster.New(t, testcluster.Options{Memory: true, Conf: map[string]string{wait: tc.policy}})
			leader := c.Ready()
			id := c.Submit(leader, testcluster.Submission{Key: "d", Supervise: tc.supervise})
			c.Runs("d", 1)
			d := c.In(id, fsm.DriverRunning)
			agent := d.Current().AgentID
			c.Do(c.Mesos.LoseAgent(agent))
			relaunched := tc.policy == "relaunch" && tc.supervise
			if relaunched {
				c.Runs("d", 2)
			}
			c.Driver(id, func(d *fsm.Driver) bool { // a node that lags behind may have no attempt yet
				if d.State != tc.lost || len(d.Attempts) == 0 || d.Attempts[0].Last == nil {
					return false
				}
				return fsm.TaskState(d.Attempts[0].Last.State) == fsm.TaskUnreachable
			})
			c.Do(c.Mesos.ReturnAgent(agent))
			if tc.policy == "relaunch" {
				c.Until("the old attempt to be killed", func() bool {
					runs, err := c.Journal.RunsOf("d")
					c.Do(err)
					return runs[0].Killed
				})
			}
			if tc.lost != fsm.DriverLost {
				c.End("d", 0)
				d = c.In(id, fsm.DriverFinished)
				want := 1
				if relaunched {
					want = 2
				}
				if n := startedAttempts(d); n != want {
					t.Errorf("%d attempts were started, want %d: %s", n, want, attempts(d))
				}
			}
			c.Same()
			c.Do(c.Check(leader, relaunched))
		})
	}
}
