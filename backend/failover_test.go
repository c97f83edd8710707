package backend

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// killProcess ends an executor behind everybody's back.
func killProcess(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestExecutorsOutliveTheLeader(t *testing.T) {
	c := newCluster(t, nil)
	c.scale(c.follower(), 2)
	before := c.running(2)
	id := c.anyone().ApplicationID()
	c.leader().crash()
	next := c.leader()
	app, _, _ := next.up()
	if got := app.ApplicationID(); got != id {
		t.Errorf("framework id %s, was %s", got, id)
	}
	c.scale(app, 4)
	after := c.running(4)
	for task, pid := range before {
		if after[task] != pid {
			t.Errorf("executor %s is process %d, was %d", task, after[task], pid)
		}
	}
	c.consistent()
}

// TestLeaderCrashAtEveryPlaceOfScaling: an acknowledged request to scale is
// carried out, wherever the leader is when it dies.
func TestLeaderCrashAtEveryPlaceOfScaling(t *testing.T) {
	for _, place := range []string{FailTotalsCommitted, FailIntentCommitted, FailAccepted, FailStatusReceived, FailStatusCommitted} {
		t.Run(place, func(t *testing.T) {
			c := newCluster(t, nil)
			c.scale(c.follower(), 1)
			before := c.running(1)
			app := c.follower()
			trap := c.arm(place)
			c.scale(app, 3)
			dead := c.snapped(trap)
			after := c.running(3)
			for task, pid := range before {
				if after[task] != pid {
					t.Errorf("executor %s is process %d, was %d", task, after[task], pid)
				}
			}
			c.start(dead)
			c.consistent()
			c.scale(c.anyone(), 4)
			c.running(4)
		})
	}
}

// TestLeaderCrashBetweenKillAndKILL: an acknowledged kill is carried out.
func TestLeaderCrashBetweenKillAndKILL(t *testing.T) {
	c := newCluster(t, nil)
	app := c.follower()
	c.scale(app, 3)
	before := c.running(3)
	trap := c.arm(FailKillCommitted)
	c.scale(app, 2)
	c.do(app.KillExecutors(t.Context(), "1"))
	dead := c.snapped(trap)
	after := c.running(2)
	for _, task := range []string{"0", "2"} {
		if after[task] != before[task] {
			t.Errorf("executor %s is process %d, was %d", task, after[task], before[task])
		}
	}
	c.start(dead)
	eventually(t, "the record of the kill", func() bool {
		e, found := c.anyone().cfg.State.Executor("app", "1")
		return found && e.State == fsm.ExecutorKilled
	})
	c.consistent()
}

// TestLeaderCrashWhenAnExecutorEnds: the last status of an executor is not lost,
// and the executor is replaced once.
func TestLeaderCrashWhenAnExecutorEnds(t *testing.T) {
	for _, place := range []string{FailStatusReceived, FailStatusCommitted} {
		t.Run(place, func(t *testing.T) {
			c := newCluster(t, nil)
			c.scale(c.follower(), 2)
			before := c.running(2)
			c.consistent() // nothing is under way
			trap := c.arm(place)
			killProcess(t, before["0"])
			dead := c.snapped(trap)
			after := c.running(2)
			if _, there := after["0"]; there || after["1"] != before["1"] {
				t.Errorf("%v, then %v", before, after)
			}
			c.start(dead)
			c.consistent()
			if e, _ := c.anyone().cfg.State.Executor("app", "0"); e.State != fsm.ExecutorFailed {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestStopGoesOnWithTheNextLeader(t *testing.T) {
	c := newCluster(t, nil)
	c.scale(c.follower(), 2)
	c.running(2)
	trap := c.arm(FailKillCommitted)
	app := c.follower()
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- app.Stop(ctx)
	}()
	c.snapped(trap)
	c.do(<-stopped)
	if f := c.mesos.Frameworks(); len(f) != 1 || !f[0].Completed {
		t.Errorf("%+v", f)
	}
	if st := app.Status(); st.Live != 0 || st.Framework != fsm.FrameworkTornDown {
		t.Errorf("%+v", st)
	}
}

func TestEveryLeaderCrashesWhileScaling(t *testing.T) {
	c := newCluster(t, nil)
	for i, place := range []string{FailIntentCommitted, FailAccepted, FailStatusCommitted, FailTotalsCommitted} {
		app := c.follower()
		trap := c.arm(place)
		c.scale(app, i+1) // an answer of the leader would be lost with it
		dead := c.snapped(trap)
		c.start(dead)
	}
	c.running(4)
	c.consistent()
}

// TestWithoutAMajorityNothingIsAcknowledged: a request that nobody can commit
// fails, and says so.
func TestWithoutAMajorityNothingIsAcknowledged(t *testing.T) {
	c := newCluster(t, func(cfg *Config) { cfg.RequestWait = 300 * time.Millisecond })
	c.scale(c.follower(), 1)
	before := c.running(1)
	c.members[0].crash()
	c.members[1].crash()
	app, _, _ := c.members[2].up()
	err := app.RequestTotalExecutors(t.Context(), Totals{Executors: 5})
	if !errors.Is(err, raftstore.ErrNoLeader) && !errors.Is(err, raftstore.ErrNotLeader) && !errors.Is(err, raftstore.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	var wait []chan struct{}
	for _, m := range c.members[:2] {
		done := make(chan struct{})
		wait = append(wait, done)
		go func() { c.start(m); close(done) }()
	}
	for _, done := range wait {
		<-done
	}
	eventually(t, "the total to be settled", func() bool {
		n := c.anyone().Status().Live
		return n == 1 || n == 5
	})
	c.scale(c.anyone(), 2)
	if after := c.anyone().Status(); after.Live > 5 {
		t.Errorf("%+v", after)
	}
	if pid := c.pidOf("0"); pid != before["0"] {
		t.Errorf("process %d, was %d", pid, before["0"])
	}
}

func TestMesosGoesAwayAndComesBack(t *testing.T) {
	c := newCluster(t, nil)
	c.scale(c.follower(), 2)
	before := c.running(2)
	c.mesos.CutStreams()
	c.do(c.mesos.FailoverMaster(t.Context()))
	c.scale(c.follower(), 3)
	after := c.running(3)
	for task, pid := range before {
		if after[task] != pid {
			t.Errorf("executor %s is process %d, was %d", task, after[task], pid)
		}
	}
	c.consistent()
}

// TestAnAgentThatComesBackWithAnExecutorThatWasReplaced: the old one is killed.
func TestAnAgentThatComesBackWithAnExecutorThatWasReplaced(t *testing.T) {
	c := newCluster(t, nil)
	c.scale(c.follower(), 1)
	c.running(1)
	agent := ""
	for _, v := range c.mesos.Tasks() {
		agent = v.AgentID
	}
	c.do(c.mesos.LoseAgent(agent))
	eventually(t, "its replacement", func() bool {
		st := c.anyone().Status()
		return st.Running == 1 && c.anyone().Executors()[0].State == fsm.ExecutorLost
	})
	c.do(c.mesos.ReturnAgent(agent))
	eventually(t, "the end of the old one", func() bool {
		live := 0
		for _, v := range c.mesos.Tasks() {
			if v.State == "TASK_RUNNING" {
				live++
			}
		}
		return live == 1
	})
	if after := c.running(1); len(after) != 1 || after["1"] == 0 {
		t.Errorf("%v", after)
	}
}

// TestALeaderThatIsCutOffGivesUp: it can still reach Mesos, and must not act.
func TestALeaderThatIsCutOffGivesUp(t *testing.T) {
	c := newCluster(t, nil)
	c.scale(c.follower(), 2)
	before := c.running(2)
	old := c.leader()
	app, _, _ := old.up()
	c.isolate(old, true)
	next := c.leader()
	nextApp, _, _ := next.up()
	c.scale(nextApp, 3)
	after := c.running(3)
	for task, pid := range before {
		if after[task] != pid {
			t.Errorf("executor %s is process %d, was %d", task, after[task], pid)
		}
	}
	eventually(t, "the old leader to give up", func() bool { return !app.Status().Leading })
	c.isolate(old, false)
	c.scale(app, 4) // through a node that leads no more
	c.running(4)
	c.consistent()
}
