package testcluster_test

import (
	"fmt"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

// TestDriversOutliveTheirLeader is the main promise: the leader dies while one
// driver runs, and everything goes on.
func TestDriversOutliveTheirLeader(t *testing.T) {
	overBoth(t, func(t *testing.T, opts testcluster.Options) {
		c := testcluster.New(t, opts)
		leader := c.Ready()
		before := c.Submit(leader, testcluster.Submission{Key: "before"})
		c.In(before, fsm.DriverRunning)
		run := c.Runs("before", 1)[0]
		leader.Crash()
		after := c.Submit(c.Running()[0], testcluster.Submission{Key: "after"})
		c.End("before", 0)
		c.End("after", 0)
		c.In(before, fsm.DriverFinished)
		c.In(after, fsm.DriverFinished)
		if runs := c.Runs("before", 1); len(runs) != 1 || runs[0].PID != run.PID {
			t.Errorf("another process than before the crash: %+v", runs)
		}
		c.Start(leader)
		c.Consistent()
	})
}

// TestLeaderCrashAtEveryPlaceOfALaunch kills the leader where it is in the middle
// of something, and wants exactly one process in the end.
func TestLeaderCrashAtEveryPlaceOfALaunch(t *testing.T) {
	for _, place := range []string{
		dispatcher.FailSubmitted,       // acknowledged, nothing launched
		dispatcher.FailIntentCommitted, // after the intent, before ACCEPT
		dispatcher.FailAccepted,        // after ACCEPT, before its status
		dispatcher.FailStatusReceived,  // status received, not committed
		dispatcher.FailStatusCommitted, // committed, not acknowledged
	} {
		t.Run(place, func(t *testing.T) {
			overBoth(t, func(t *testing.T, opts testcluster.Options) {
				c := testcluster.New(t, opts)
				leader := c.Ready()
				trap := c.Arm(place, testcluster.CrashThere)
				// The answer may get lost with the leader.
				a := leader.Submit(c.Ctx(), testcluster.Submission{Key: "d", Command: c.Journal.Until("d")})
				if a.Outcome == testcluster.Refused {
					t.Fatalf("refused: %+v", a)
				}
				crashed := c.Snap(trap)
				next := c.Ready()
				id := c.Only(next, "d")
				c.In(id, fsm.DriverRunning)
				c.End("d", 0)
				d := c.In(id, fsm.DriverFinished)
				if runs := c.Runs("d", 1); len(runs) != 1 {
					t.Errorf("%d processes: %+v", len(runs), runs)
				}
				if started := startedAttempts(d); started != 1 {
					t.Errorf("%d attempts were started", started)
				}
				c.Start(crashed)
				c.Consistent()
				c.Acknowledged()
			})
		})
	}
}

func startedAttempts(d *fsm.Driver) int {
	n := 0
	for _, a := range d.Attempts {
		if a.StartedMs != 0 {
			n++
		}
	}
	return n
}

// TestLeaderCrashAfterStatusOfTheEnd: the last update of a driver is committed
// and not acknowledged when the leader dies; the next one gets it again.
func TestLeaderCrashAfterStatusOfTheEnd(t *testing.T) {
	for _, place := range []string{dispatcher.FailStatusReceived, dispatcher.FailStatusCommitted} {
		t.Run(place, func(t *testing.T) {
			c := testcluster.New(t, testcluster.Options{Memory: true})
			leader := c.Ready()
			id := c.Submit(leader, testcluster.Submission{Key: "d", Supervise: true})
			c.In(id, fsm.DriverRunning)
			c.Acknowledged()
			trap := c.Arm(place, testcluster.CrashThere)
			c.End("d", 0)
			crashed := c.Snap(trap)
			c.In(id, fsm.DriverFinished)
			c.Start(crashed)
			c.Acknowledged()
			c.Consistent()
			if runs := c.Runs("d", 1); len(runs) != 1 {
				t.Errorf("%d processes", len(runs))
			}
		})
	}
}

// TestLeaderCrashBetweenKillAndKILL: the kill is committed and was not sent.
func TestLeaderCrashBetweenKillAndKILL(t *testing.T) {
	overBoth(t, func(t *testing.T, opts testcluster.Options) {
		c := testcluster.New(t, opts)
		leader := c.Ready()
		id := c.Submit(leader, testcluster.Submission{Key: "d", Supervise: true})
		c.Runs("d", 1)
		trap := c.Arm(dispatcher.FailKillCommitted, testcluster.CrashThere)
		leader.Kill(c.Ctx(), id)
		crashed := c.Snap(trap)
		c.In(id, fsm.DriverKilled)
		c.Start(crashed)
		c.Consistent()
		if runs := c.Runs("d", 1); len(runs) != 1 || !runs[0].Killed {
			t.Errorf("%+v", runs)
		}
	})
}

// TestEveryLeaderCrashes: three leaders die one after the other, each while it
// launches, and each comes back.
func TestEveryLeaderCrashes(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{})
	places := []string{dispatcher.FailIntentCommitted, dispatcher.FailAccepted, dispatcher.FailStatusCommitted}
	var ids []string
	for i, place := range places {
		leader := c.Ready()
		trap := c.Arm(place, testcluster.CrashThere)
		key := fmt.Sprintf("d%d", i)
		ids = append(ids, c.Submit(c.Others(leader)[0], testcluster.Submission{Key: key, Command: c.Journal.For(key, 0, 0)}))
		crashed := c.Snap(trap)
		c.Start(crashed)
	}
	for _, id := range ids {
		c.In(id, fsm.DriverFinished)
	}
	c.Consistent()
}
