package backend

import (
	"context"
	"slices"
	"strings"

	"os"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// newFineCluster is three nodes that run one fine-grained application, on a Mesos
// whose executors are processes of this test's program.
func newFineCluster(t testing.TB, n int, takes string) *cluster {
	t.Helper()
	notes := t.TempDir()
	c := startCluster(t, newJobs(t, n, takes), func(cfg *Config) {
		cfg.Context.Conf["spark.mesos.mesosExecutor.cores"] = "0.5"
		cfg.LossWait = 500 * time.Millisecond
		executorOfTests(t, cfg, notes)
	})
	c.starts = notes
	return c
}

// executorOfTests makes this test's program the executor.
func executorOfTests(t testing.TB, cfg *Config, notes string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Executor = func(AgentExecutorSpec) (*mesos.ExecutorInfo, error) {
		shell := false
		return &mesos.ExecutorInfo{Command: &mesos.CommandInfo{
			Shell: &shell, Value: &self, Arguments: []string{self},
			Environment: &mesos.Environment{Variables: []mesos.Environment_Variable{{Name: executorEnv, Value: &notes}}},
		}}, nil
	}
}

func (m *member) upFine() *Fine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fine
}

// anyFine is a member that is up, and leads or does not.
func (c *cluster) anyFine(leads bool) (f *Fine) {
	c.t.Helper()
	eventually(c.t, "a member", func() bool {
		for _, m := range c.members {
			if f = m.upFine(); f != nil && f.Status().Subscribed == leads {
				return true
			}
		}
		return false
	})
	return f
}

// allDone waits until all jobs are done, and checks that no task ran twice.
func (c *cluster) allDone(n int) {
	c.t.Helper()
	var done, open int
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%d done, %d open", done, open)
			for _, m := range c.members {
				if f := m.upFine(); f != nil {
					c.t.Logf("%+v", f.Status())
				}
			}
		}
	}()
	eventually(c.t, "all jobs", func() bool {
		done, _, open = c.jobs.counts()
		return done >= n && open == 0
	})
	if done != n {
		c.t.Errorf("%d of %d jobs are done", done, n)
	}
	c.consistent()
}

// executors are the process ids of those that run, by agent.
func (c *cluster) executors() map[string]int {
	out := make(map[string]int)
	for _, x := range c.mesos.Executors() {
		if x.State == "RUNNING" {
			out[x.AgentID] = x.PID
		}
	}
	return out
}

func TestHundredsOfTasksOnOneExecutorAnAgent(t *testing.T) {
	c := newFineCluster(t, 300, "5ms")
	c.allDone(300)
	if got := len(c.mesos.Executors()); got != 2 {
		t.Errorf("%d executors on two agents", got)
	}
	c.jobs.mu.Lock()
	defer c.jobs.mu.Unlock()
	if c.jobs.again != 0 || c.jobs.results != 300 || len(c.jobs.added) != 2 {
		t.Errorf("%d again, %d results, executors %v", c.jobs.again, c.jobs.results, c.jobs.added)
	}
}

// TestTasksOutliveTheLeaderWhereverItDies: the executors run on, the next leader
// takes over what there is, and each job is done.
func TestTasksOutliveTheLeaderWhereverItDies(t *testing.T) {
	for _, place := range []string{FailIntentCommitted, FailAccepted, FailStatusReceived, FailStatusCommitted} {
		t.Run(place, func(t *testing.T) {
			const n = 120
			c := newFineCluster(t, n, "40ms")
			eventually(t, "the first results", func() bool { done, _, _ := c.jobs.counts(); return done > 10 })
			before := c.executors()
			dead := c.snapped(c.arm(place))
			c.start(dead)
			c.allDone(n)
			for agent, pid := range c.executors() {
				if was := before[agent]; was != 0 && was != pid {
					t.Errorf("the executor on %s is process %d, was %d", agent, pid, was)
				}
			}
		})
	}
}

func TestTheTasksOfAnExecutorThatDiesAreRunAgain(t *testing.T) {
	const n = 100
	c := newFineCluster(t, n, "60ms")
	eventually(t, "the first results", func() bool { done, _, _ := c.jobs.counts(); return done > 5 })
	killed := ""
	for agent, pid := range c.executors() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed = agent
		break
	}
	c.allDone(n)
	eventually(t, "the end of the executor", func() bool {
		c.jobs.mu.Lock()
		defer c.jobs.mu.Unlock()
		return slices.ContainsFunc(c.jobs.lost, func(l string) bool { return strings.HasPrefix(l, killed+": ") })
	})
	c.jobs.mu.Lock()
	defer c.jobs.mu.Unlock()
	if c.jobs.again == 0 {
		t.Error("no task was run again")
	}
}

// TestLeaderCrashBetweenTheKillOfATaskAndKILL: an acknowledged kill is carried out.
func TestLeaderCrashBetweenTheKillOfATaskAndKILL(t *testing.T) {
	c := newFineCluster(t, 2, "1h")
	running := func(n int) func() bool {
		return func() bool { return c.anyFine(true).Status().Running == n }
	}
	eventually(t, "two tasks", running(2))
	trap := c.arm(FailKillCommitted)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.do(c.anyFine(false).KillTask(ctx, 1))
	c.snapped(trap)
	eventually(t, "one task", running(1))
	eventually(t, "the word", func() bool {
		c.jobs.mu.Lock()
		defer c.jobs.mu.Unlock()
		return c.jobs.tasks[1].end == mesosutil.TaskKilled
	})
	c.do(c.anyFine(false).Stop(ctx))
	if f := c.mesos.Frameworks(); len(f) != 1 || !f[0].Completed {
		t.Errorf("%+v", f)
	}
}

// TestAnAgentThatComesBackWithItsExecutor: tasks that are done again elsewhere do
// not go on there, and its executor is replaced.
func TestAnAgentThatComesBackWithItsExecutor(t *testing.T) {
	c := newFineCluster(t, 8, "1h")
	eventually(t, "tasks", func() bool { return c.anyFine(true).Status().Running == 8 })
	f := c.anyFine(true)
	agent := f.Executors()[0].AgentID
	c.do(c.mesos.LoseAgent(agent))
	eventually(t, "its tasks elsewhere", func() bool {
		n := 0
		for _, e := range c.anyFine(true).Executors() {
			if e.State == fsm.ExecutorRunning && e.AgentID != agent {
				n++
			}
		}
		return n == 8
	})
	c.do(c.mesos.ReturnAgent(agent))
	eventually(t, "the end of the old ones", func() bool {
		live := 0
		for _, v := range c.mesos.Tasks() {
			if v.State == "TASK_RUNNING" {
				live++
			}
		}
		return live == 8
	})
}
