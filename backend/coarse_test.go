package backend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func TestAnAgentWithTwoFailuresGetsNoMoreExecutors(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	s := suiteWith(t, func(c *Config) { c.Clock = clock }, "spark.excludeOnFailure.timeout", "10m")
	for i := range 2 {
		o := offerOf("1", execMem, 4)
		o.ID.Value = fmt.Sprintf("try%d", i)
		s.offer(o)
		s.launched(o.ID.Value)
		s.update(fmt.Sprint(i), "s1", mesos.TASK_FAILED)
		s.in(fmt.Sprint(i), fsm.ExecutorFailed)
	}
	s.offer(offerOf("1", execMem, 4), offerOf("2", execMem, 4))
	s.launched("o2")
	wantEqual(t, "refusal", s.refused("o1"), unset)
	st := s.Status()
	wantEqual(t, "count", st.HeldBack[ReasonExcluded], 1)
	if len(st.Exclusions) != 1 || st.Exclusions[0].AgentId != "s1" || st.Exclusions[0].Failures != 2 {
		t.Errorf("%v", st.Exclusions)
	}
	if a, _ := s.app(); a.Excluded("s1", "", now.Add(10*time.Minute).UnixMilli()) != nil {
		t.Error("it does not expire")
	}
}

func TestADuplicateOfTheEndCountsOnce(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	for range 3 {
		s.update("0", "s1", mesos.TASK_FAILED)
	}
	eventually(t, "all to be acknowledged", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.acks) }) == 3 })
	if x := s.Status().Exclusions; len(x) != 1 || x[0].Failures != 1 || x[0].Excluded {
		t.Errorf("%v", x)
	}
}

func TestImpossibleRequestsAreRefused(t *testing.T) {
	s := newSuite(t, "spark.cores.max", "4")
	var wrong *InvalidError
	for _, want := range []Totals{
		{Executors: -1}, {Executors: math.MaxInt32 + 1}, {Profiles: []Profile{{ID: 0, Total: 1}}},
		{Profiles: []Profile{{ID: 1, Total: -1}}}, {Profiles: []Profile{{ID: 1, Total: 1, Cores: 5}}},
		{Profiles: []Profile{{ID: 1, Cores: -2}}}, {Profiles: []Profile{{ID: 1}, {ID: 1}}},
	} {
		if err := s.RequestTotalExecutors(t.Context(), want); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", want, err)
		}
	}
	for _, id := range []string{"0", "x", "", "-1"} {
		if err := s.KillExecutors(t.Context(), id); !errors.Is(err, ErrUnknownExecutor) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if err := s.ExecutorRegistered("0", -1); !errors.As(err, &wrong) {
		t.Errorf("%v", err)
	}
	if err := s.ExcludeHost(t.Context(), "h", -1, ""); !errors.As(err, &wrong) {
		t.Errorf("%v", err)
	}
}

func TestBeforeStart(t *testing.T) {
	state := fsm.New()
	c, err := New(Config{State: state, Log: &soloLog{state: state}, Master: "m:5050", Context: contextWith(), Logger: testLogger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.KillExecutors(t.Context(), "0"); !errors.Is(err, ErrNotStarted) {
		t.Errorf("%v", err)
	}
	if err := c.RequestTotalExecutors(t.Context(), Totals{}); !errors.Is(err, ErrNotStarted) {
		t.Errorf("%v", err)
	}
	if id := c.ApplicationID(); len(id) <= len("spark-application-") {
		t.Errorf("%s", id)
	}
	if !c.SufficientResourcesRegistered() {
		t.Error("without spark.cores.max anything is enough")
	}
	c.Close()
	for name, cfg := range map[string]Config{
		"no log": {State: state, Master: "m", Context: contextWith()}, "no master": {State: state, Log: &soloLog{}, Context: contextWith()},
		"bad master": {State: state, Log: &soloLog{}, Master: "http://", Context: contextWith()}, "no context": {State: state, Log: &soloLog{}, Master: "m"},
		"no driver": {State: state, Log: &soloLog{}, Master: "m", Context: Context{AppName: "a", SparkHome: "/s"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStopKillsAndTearsDown(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	done := make(chan error)
	go func() { done <- s.Stop(t.Context()) }()
	eventually(t, "KILL", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.kills) }) > 0 })
	s.offer(offerOf("2", execMem, 4))
	s.refused("o2")
	select {
	case <-s.mesos.torn:
		t.Fatal("torn down while an executor lives")
	default:
	}
	s.update("0", "s1", mesos.TASK_KILLED)
	s.do(<-done)
	<-s.mesos.torn
	s.do(s.Stop(t.Context())) // ignored
	if st := s.Status(); st.Framework != fsm.FrameworkTornDown || st.Live != 0 {
		t.Errorf("%+v", st)
	}
	if err := s.RequestTotalExecutors(t.Context(), Totals{Executors: 1}); !errors.Is(err, ErrStopped) {
		t.Errorf("%v", err)
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	s := newSuite(t, "spark.mesos.coarse.shutdownTimeout", "50ms")
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	s.do(s.Stop(t.Context()))
	s.in("0", fsm.ExecutorKilled)
}

func TestALaunchThatMesosDidNotTakeIsNotHeldAgainstTheAgent(t *testing.T) {
	s := newSuite(t)
	s.mesos.mu.Lock()
	s.mesos.acceptErr = &mesosutil.CallError{Call: "ACCEPT", Kind: mesosutil.ErrStaleOffer}
	s.mesos.mu.Unlock()
	s.offer(offerOf("1", execMem, 4))
	s.in("0", fsm.ExecutorLost)
	if e, _ := s.cfg.State.Executor("app", "0"); !e.Dropped {
		t.Errorf("%+v", e)
	}
	eventually(t, "the count of drops", func() bool {
		x := s.Status().Exclusions
		return len(x) == 1 && x[0].Drops == 1 && x[0].Failures == 0 && !x[0].Excluded
	})
	s.mesos.mu.Lock()
	s.mesos.acceptErr = nil
	s.mesos.mu.Unlock()
	s.offer(offerOf("2", execMem, 4))
	wantEqual(t, "number", s.launched("o2")[0].TaskID.Value, "1")
}

func TestALaunchWithoutAnAnswerIsFenced(t *testing.T) {
	s := newSuite(t)
	first := s.mesos
	first.mu.Lock()
	first.acceptErr = &mesosutil.CallError{Call: "ACCEPT", Kind: mesosutil.ErrCallOutcomeUnknown}
	first.mu.Unlock()
	s.offer(offerOf("1", execMem, 4))
	eventually(t, "another subscription", func() bool {
		st := s.Status()
		s.mu.Lock()
		defer s.mu.Unlock()
		return st.Subscribed && s.Coarse.mesos != Mesos(first)
	})
	s.in("0", fsm.ExecutorLaunching) // until Mesos says what became of it
}

func TestExtraCoresAreAdvertisedAndNotTaken(t *testing.T) {
	s := newSuite(t, "spark.executor.cores", "2", "spark.mesos.extra.cores", "3", "spark.cores.max", "4")
	s.offer(offerOf("1", 2*execMem, 4))
	tasks := s.launched("o1")
	if len(tasks) != 2 || sum(tasks[0], "cpus") != 2 {
		t.Fatalf("%v", tasks)
	}
	if line := commandOf(tasks[0]); !strings.Contains(line, "--cores 5 ") {
		t.Error(line)
	}
}

func TestProfilesHaveResourcesOfTheirOwn(t *testing.T) {
	s := newSuite(t)
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Profiles: []Profile{{ID: 2, Total: 1, Cores: 3, HeapMiB: 2048, GPUs: 1}}}))
	s.offer(offerOf("1", 8192, 8))
	s.refused("o1")
	wantEqual(t, "count", s.Status().HeldBack[ReasonGPUs], 1)
	s.offer(offerOf("2", 8192, 8, gpusOf(2)))
	tasks := s.launched("o2")
	if len(tasks) != 1 || sum(tasks[0], "cpus") != 3 || sum(tasks[0], "mem") != 2432 || sum(tasks[0], "gpus") != 1 {
		t.Errorf("%v", tasks)
	}
	if heap, _ := variable(tasks[0].Command, "SPARK_EXECUTOR_MEMORY"); heap != "2048m" || !strings.Contains(commandOf(tasks[0]), "--resourceProfileId 2") {
		t.Errorf("heap %s: %s", heap, commandOf(tasks[0]))
	}
}

func TestStatusSaysThatAnExecutorFitsNoAgent(t *testing.T) {
	s := newSuite(t, "spark.executor.cores", "16")
	s.offer(offerOf("1", execMem, 4))
	s.refused("o1")
	var large *OversizedError
	eventually(t, "the problem", func() bool { return errors.As(s.Status().Problem, &large) })
	if large.Cores != 16 || large.LargestCores != 4 || s.Status().HeldBack[ReasonCores] != 1 {
		t.Errorf("%v, %v", large, s.Status().HeldBack)
	}
	s.offer(offerOf("2", execMem, 16))
	s.launched("o2")
	eventually(t, "the problem to go away", func() bool { return s.Status().Problem == nil })
}

func TestARaisedTotalRevivesOffersAndAnIdleApplicationSuppressesThem(t *testing.T) {
	s := suiteWith(t, func(c *Config) { c.SuppressAfter = time.Millisecond }, "spark.dynamicAllocation.enabled", "true")
	s.offer(offerOf("1", execMem, 4))
	s.refused("o1")
	eventually(t, "SUPPRESS", func() bool { return s.calls(func(m *fakeMesos) int { return m.suppress }) == 1 })
	wantEqual(t, "revivals", s.calls(func(m *fakeMesos) int { return m.revived }), 0)
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Executors: 1}))
	eventually(t, "REVIVE", func() bool { return s.calls(func(m *fakeMesos) int { return m.revived }) == 1 })
}

func TestTheSchedulerIsToldOfExecutorsThatAreOver(t *testing.T) {
	told := make(chan string, 1)
	s := suiteWith(t, func(c *Config) { c.Scheduler = toldScheduler{told} })
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	s.update("0", "s1", mesos.TASK_LOST)
	if got := <-told; got != "0: Executor finished with state LOST" {
		t.Error(got)
	}
}

type toldScheduler struct{ told chan string }

func (s toldScheduler) Initialize(SchedulerBackend)    {}
func (s toldScheduler) ExecutorLost(id, reason string) { s.told <- id + ": " + reason }
func (s toldScheduler) Error(string)                   {}

func TestWatch(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan ExecutorEvent, 8)
	done := make(chan error)
	go func() {
		done <- s.Watch(ctx, func(e ExecutorEvent) error { events <- e; return nil })
	}()
	if e := <-events; e.Event != "" || e.Executor.TaskID() != "0" {
		t.Errorf("%+v", e)
	}
	s.update("0", "s1", mesos.TASK_RUNNING)
	if e := <-events; e.Event != fsm.EventRunning || e.From != fsm.ExecutorLaunching || e.Executor.State != fsm.ExecutorRunning {
		t.Errorf("%+v", e)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	enough := errors.New("enough")
	if err := s.Watch(t.Context(), func(ExecutorEvent) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestARemovedFrameworkEndsTheApplication(t *testing.T) {
	told := make(chan string, 1)
	removed := false
	s := suiteWith(t, func(c *Config) {
		c.Scheduler = errorScheduler{told}
		real := c.NewMesos
		c.NewMesos = func(f mesosutil.DriverFramework, gate func(context.Context) error) (Mesos, error) {
			m, err := real(f, gate)
			if removed {
				return removedMesos{m.(*fakeMesos)}, err
			}
			removed = true
			return endingMesos{m.(*fakeMesos)}, err
		}
	})
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	close(s.mesos.torn) // the driver ends
	if got := <-told; !strings.Contains(got, "removed") {
		t.Error(got)
	}
	s.in("0", fsm.ExecutorLost)
	eventually(t, "the reason", func() bool { return errors.Is(s.Status().Err, ErrFrameworkRemoved) })
}

type errorScheduler struct{ told chan string }

func (errorScheduler) Initialize(SchedulerBackend) {}
func (errorScheduler) ExecutorLost(_, _ string)    {}
func (s errorScheduler) Error(m string)            { s.told <- m }

// endingMesos ends as a driver does whose framework Mesos has removed.
type endingMesos struct{ *fakeMesos }

func (m endingMesos) Run(ctx context.Context) error {
	if err := m.fakeMesos.Run(ctx); err != nil {
		return err
	}
	return mesosutil.ErrFrameworkRemoved
}

type removedMesos struct{ *fakeMesos }

func (removedMesos) Run(context.Context) error { return mesosutil.ErrFrameworkRemoved }
