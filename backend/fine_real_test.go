package backend

import (
	"context"
	"os"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
)

// TestTasksOnARealMesos: its master compares how each task names its executor, its
// agents start one executor each, and a second leader is given both.
func TestTasksOnARealMesos(t *testing.T) {
	realmesos.Require(t)
	m, err := realmesos.Start(t.Context(), realmesos.Options{Agents: 2, Separate: true, Env: []string{"MESOS_ALLOCATION_INTERVAL=50ms"}})
	fixture.Require(t, realmesos.Name, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), jobPatience)
	defer cancel()
	const n = 100
	work, state, notes := newJobs(t, n, "20ms"), fsm.New(), t.TempDir()
	log := &soloLog{state: state}
	start := func() *Fine {
		cfg := Config{
			AppID: "app", State: state, Log: log, Master: m.Addr(), Logger: testLogger(), Scheduler: &jobScheduler{jobs: work},
			Context: Context{AppName: "app", SparkHome: "/path", Conf: props("spark.executor.memory", "64m",
				"spark.mesos.executor.memoryOverhead", "16", "spark.mesos.mesosExecutor.cores", "0.1")},
		}
		executorOfTests(t, &cfg, notes)
		f, err := NewFine(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Start(ctx); err != nil {
			t.Fatal(err)
		}
		return f
	}
	some := func(least int) func() bool {
		return func() bool { done, _, _ := work.counts(); return done >= least }
	}
	first := start()
	eventuallyFor(t, jobPatience, "the first results", some(n/4))
	first.Close()
	executors := len(first.Status().AgentExecutors)
	second := start()
	eventuallyFor(t, jobPatience, "all jobs", some(n))
	if got := second.Status().AgentExecutors; len(got) < executors || len(got) > 2 {
		t.Errorf("%d executors, were %d", len(got), executors)
	}
	if err := second.Stop(ctx); err != nil {
		t.Error(err)
	}
	// What the first leader launched at its end may not have reached Mesos: it is
	// lost, and done again as another task. But nothing is begun twice.
	done, again, _ := work.counts()
	begun, err := os.ReadDir(notes)
	if done != n || len(begun) != n || err != nil {
		t.Errorf("%d of %d jobs are done, %d again; %d tasks were begun: %v", done, n, again, len(begun), err)
	}
}
