package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// runnerEnv makes this test program an executor with that Runner.
const runnerEnv = "HA_DISPATCHER_TEST_RUNNER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(runnerEnv); kind != "" {
		os.Exit(runExecutor(kind))
	}
	goleak.VerifyTestMain(m)
}

func runExecutor(kind string) int {
	cfg, err := mesosutil.ExecutorConfigFromEnv(os.Getenv)
	if err == nil {
		runners := map[string]executor.Runner{"commands": executor.Commands{Dir: cfg.Sandbox}, "words": words{}}
		cfg.CallTimeout = 5 * time.Second
		err = executor.Run(context.Background(), executor.Config{
			Mesos: cfg, MaxTasks: 3, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}, runners[kind])
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, mesosutil.ErrAgentLost):
		return 5
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// words is a Runner whose tasks' data is a word that says what to do.
type words struct{}

func (words) Run(ctx context.Context, t *executor.Task) executor.Result {
	switch string(t.Info.Data) {
	case "panic":
		panic("on purpose")
	case "report":
		t.Report([]byte("half"))
		return executor.Result{State: mesos.TASK_FINISHED, Data: []byte("all")}
	case "large":
		t.Running()
		return executor.Result{State: mesos.TASK_FINISHED, Data: make([]byte, mesosutil.MaxStatusBytes+1)}
	case "send":
		t.Running()
		if err := t.Send(ctx, []byte("hello from "+t.ID())); err != nil {
			return executor.Result{State: mesos.TASK_FAILED, Message: err.Error()}
		}
		return executor.Result{State: mesos.TASK_FINISHED}
	case "wait":
		t.Running()
		<-ctx.Done()
		return executor.Result{State: mesos.TASK_FINISHED, Message: "asked to end"}
	case "deaf":
		t.Running()
		<-t.Overdue()
		return executor.Result{State: mesos.TASK_FINISHED, Message: "made to end"}
	}
	return executor.Result{State: mesos.TASK_FAILED, Message: "what is " + string(t.Info.Data)}
}

const patience = 30 * time.Second // never waited for when all is well

// scheduler is a framework over mesosutil.Driver.
type scheduler struct {
	t      *testing.T
	driver *mesosutil.Driver
	info   *mesos.ExecutorInfo
	offers []mesos.Offer
	agent  string
}

func startMesos(t *testing.T, o localmesos.Options) *localmesos.Mesos {
	t.Helper()
	m, err := localmesos.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// schedule subscribes a framework whose tasks go to an executor with a Runner.
func schedule(t *testing.T, addr, runner string) *scheduler {
	t.Helper()
	timeout, yes, no, program := 3600.0, true, false, os.Args[0]
	framework := &mesos.FrameworkInfo{User: "root", Name: t.Name(), FailoverTimeout: &timeout, Checkpoint: &yes, Roles: []string{"*"}}
	for _, c := range []mesos.FrameworkInfo_Capability_Type{mesos.FrameworkInfo_Capability_MULTI_ROLE,
		mesos.FrameworkInfo_Capability_PARTITION_AWARE, mesos.FrameworkInfo_Capability_TASK_KILLING_STATE} {
		framework.Capabilities = append(framework.Capabilities, mesos.FrameworkInfo_Capability{Type: c})
	}
	driver, err := mesosutil.NewDriver(mesosutil.DriverConfig{Master: addr, Framework: framework, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- driver.Run(ctx) }()
	s := &scheduler{t: t, driver: driver, info: &mesos.ExecutorInfo{
		Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: "e"}, Resources: resources(0.1, 32),
		Command: &mesos.CommandInfo{Shell: &no, Value: &program, Arguments: []string{program}, Environment: &mesos.Environment{
			Variables: []mesos.Environment_Variable{{Name: runnerEnv, Value: &runner}}}},
	}}
	t.Cleanup(func() {
		cancel()
		for range driver.Events() {
		}
		<-done
	})
	return s
}

func resources(cpus, mem float64) []mesos.Resource {
	scalar := func(name string, v float64) mesos.Resource {
		return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: v}}
	}
	return []mesos.Resource{scalar("cpus", cpus), scalar("mem", mem)}
}

// next acknowledges updates on the way to an event of a type.
func next[T mesosutil.Event](s *scheduler) T {
	s.t.Helper()
	late := time.After(patience)
	for {
		select {
		case ev, open := <-s.driver.Events():
			if !open {
				s.t.Fatal("the driver has ended")
			}
			switch ev := ev.(type) {
			case mesosutil.EventUpdate:
				if id := ev.Status.AgentID; id != nil && ev.Status.UUID != nil {
					if err := s.driver.Acknowledge(context.Background(), id.Value, ev.Status.TaskID.Value, ev.Status.UUID); err != nil {
						s.t.Error(err)
					}
				}
			case mesosutil.EventOffers:
				s.offers = append(s.offers, ev.Offers...)
			case mesosutil.EventRescind:
				s.offers = nil
			}
			if got, ok := ev.(T); ok {
				return got
			}
		case <-late:
			var want T
			s.t.Fatalf("no %T", want)
		}
	}
}

// launch runs a task with this data on the executor.
func (s *scheduler) launch(id string, data any, change ...func(*mesos.TaskInfo)) {
	s.t.Helper()
	raw, ok := data.(string)
	if !ok {
		b, err := json.Marshal(data)
		if err != nil {
			s.t.Fatal(err)
		}
		raw = string(b)
	}
	for len(s.offers) == 0 {
		next[mesosutil.EventOffers](s)
	}
	o := s.offers[0]
	s.offers, s.agent = s.offers[1:], o.AgentID.Value
	task := mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: o.AgentID, Executor: s.info, Resources: resources(0.1, 32), Data: []byte(raw)}
	for _, f := range change {
		f(&task)
	}
	if err := s.driver.Accept(context.Background(), []string{o.ID.Value}, []mesos.TaskInfo{task}, 0); err != nil {
		s.t.Fatal(err)
	}
}

// states waits until a task was in all these states, in that order, and returns
// its last status.
func (s *scheduler) states(id string, want ...mesos.TaskState) mesos.TaskStatus {
	s.t.Helper()
	for i := 0; ; {
		st := next[mesosutil.EventUpdate](s).Status
		if st.TaskID.Value != id {
			continue
		}
		if st.GetState() != want[i] {
			s.t.Fatalf("task %s: %v (%s), want %v", id, st.GetState(), st.GetMessage(), want[i])
		}
		if i++; i == len(want) {
			return st
		}
	}
}

func (s *scheduler) kill(id string, grace time.Duration) {
	s.t.Helper()
	if err := s.driver.Kill(context.Background(), id, s.agent, &grace); err != nil {
		s.t.Fatal(err)
	}
}

func wantText(t *testing.T, st mesos.TaskStatus, text string) {
	t.Helper()
	if !strings.Contains(st.GetMessage(), text) {
		t.Errorf("message %q, want %q", st.GetMessage(), text)
	}
}
