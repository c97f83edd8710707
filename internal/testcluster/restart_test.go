package testcluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// huge finds no room on any agent.
var huge = map[string]string{"spark.driver.cores": "1000"}

// TestFullRestart: all nodes go and come back while one driver runs, one waits
// and one is between two attempts.
func TestFullRestart(t *testing.T) {
	for _, crash := range []bool{true, false} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			overBoth(t, func(t *testing.T, opts testcluster.Options) {
				c := testcluster.New(t, opts)
				leader := c.Ready()
				running := c.Submit(leader, testcluster.Submission{Key: "running"})
				queued := c.Submit(leader, testcluster.Submission{Key: "queued", Conf: huge})
				retrying := c.Submit(leader, testcluster.Submission{Key: "retrying", Supervise: true})
				run := c.Runs("running", 1)[0]
				c.In(running, fsm.DriverRunning)
				c.End(retrying, 1) // the first attempt
				c.In(retrying, fsm.DriverRetrying)
				var wg sync.WaitGroup
				for _, n := range c.Nodes() {
					if crash {
						n.Crash()
						continue
					}
					wg.Go(func() {
						if err := n.Stop(c.Ctx()); err != nil {
							t.Errorf("stop %s: %v", n.ID, err)
						}
					})
				}
				wg.Wait()
				for _, n := range c.Nodes() {
					c.Start(n)
				}
				c.Ready()
				c.End("running", 0)
				c.End(fsm.TaskID(retrying, 1), 0)
				c.In(running, fsm.DriverFinished)
				c.In(retrying, fsm.DriverFinished)
				c.In(queued, fsm.DriverQueued)
				c.Kill(c.Node(0), queued)
				c.In(queued, fsm.DriverKilled)
				if runs := c.Runs("running", 1); len(runs) != 1 || runs[0].PID != run.PID {
					t.Errorf("%+v", runs)
				}
				c.Consistent()
			})
		})
	}
}

// TestRejoinFromSnapshot: a node that missed more than the log still holds gets a
// snapshot, has the same bytes, and can lead.
func TestRejoinFromSnapshot(t *testing.T) {
	overBoth(t, func(t *testing.T, opts testcluster.Options) {
		opts.Tune = func(_ string, _ *dispatcher.Config, r *raftstore.Config) {
			r.SnapshotThreshold, r.SnapshotInterval, r.TrailingLogs = 20, 50*time.Millisecond, 5
		}
		c := testcluster.New(t, opts)
		leader := c.Ready()
		away := c.Others(leader)[0]
		away.Crash()
		running := c.Submit(leader, testcluster.Submission{Key: "running"})
		for i := range 80 {
			c.Submit(leader, testcluster.Submission{Key: fmt.Sprintf("queued%d", i), Conf: huge})
		}
		c.Until("a snapshot", func() bool { return leader.Inside().Store().Status().SnapshotAt > 60 })
		c.Start(away)
		c.Until("the snapshot to be installed", func() bool { return away.Inside().Store().Status().Restores > 0 })
		c.Same()
		c.Until("the node to lead", func() bool {
			if away.Leads() {
				return true
			}
			away.Inside().Store().Transfer(c.Ctx(), away.ID) // not before it has caught up
			return false
		})
		c.End("running", 0)
		c.In(running, fsm.DriverFinished)
		c.Consistent()
	})
}

// TestPlannedStops: each node is stopped in good order while clients submit to
// the others; nobody is refused.
func TestPlannedStops(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{})
	var ids []string
	for round := range 3 {
		leader := c.Ready()
		c.Do(leader.Stop(c.Ctx()))
		key := fmt.Sprintf("d%d", round)
		ids = append(ids, c.Submit(c.Running()[round%2], testcluster.Submission{Key: key, Command: c.Journal.For(key, 0, 0)}))
		c.Start(leader)
	}
	for _, id := range ids {
		c.In(id, fsm.DriverFinished)
	}
	c.Consistent()
}
