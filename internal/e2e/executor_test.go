package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// executorStory is a scheduler whose tasks go to `ha-dispatcher executor`.
type executorStory struct {
	t        *testing.T
	driver   *mesosutil.Driver
	executor *mesos.ExecutorInfo
	offers   []mesos.Offer
	agent    string
	dir      string // files by which tasks are told to go on, or say something
	last     map[string]mesos.TaskStatus
	failures []mesosutil.EventFailure
}

// Tasks that succeed, fail and are killed; an agent that dies in the middle of
// them; an executor that is killed. On the embedded Mesos and on the real one.
func TestExecutorAsAProcess(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		m, err := localmesos.Start(t.Context(), localmesos.Options{ExecutorReregistrationTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { check(t, m.Close()) })
		agent := m.Agents()[0].ID
		tellExecutorStory(t, m.Addr(), func() { check(t, m.StopAgent(agent)) }, func() { check(t, m.StartAgent(agent)) })
	})
	t.Run("real", func(t *testing.T) {
		realmesos.Require(t)
		m, err := realmesos.Start(context.Background(), realmesos.Options{Separate: true,
			Env: []string{"MESOS_ALLOCATION_INTERVAL=50ms", "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=10secs"}})
		fixture.Require(t, realmesos.Name, err)
		t.Cleanup(func() { check(t, m.Close()) })
		tellExecutorStory(t, m.Addr(), func() { check(t, m.KillAgent(0)) },
			func() { check(t, m.RestartAgent(context.Background(), 0)) })
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tellExecutorStory(t *testing.T, master string, stopAgent, startAgent func()) {
	s := startExecutorStory(t, master)

	s.launch("good", executor.Command{Argv: []string{"sh", "-c", "echo done > " + s.file("good")}})
	s.until("good", mesos.TASK_FINISHED)
	if b, _ := os.ReadFile(s.file("good")); string(b) != "done\n" {
		t.Errorf("the task wrote %q", b)
	}
	s.launch("bad", executor.Command{Shell: "exit 3"})
	if st := s.until("bad", mesos.TASK_FAILED); st.GetMessage() != "Command exited with status 3" {
		t.Errorf("%q", st.GetMessage())
	}
	s.launch("endless", executor.Command{Shell: "echo $$ $PPID > " + s.file("pids") + "; exec sleep 10000"})
	s.until("endless", mesos.TASK_RUNNING)
	s.launch("victim", executor.Command{Shell: "exec sleep 10000"})
	s.until("victim", mesos.TASK_RUNNING)
	grace := time.Second
	check(t, s.driver.Kill(context.Background(), "victim", s.agent, &grace))
	s.until("victim", mesos.TASK_KILLED)

	// One task ends while the agent is away, one after it has come back.
	for _, id := range []string{"during", "after"} {
		s.launch(id, executor.Command{Shell: "while ! test -e " + s.file(id) + "; do sleep 0.05; done; touch " + s.file(id+"-ended")})
		s.until(id, mesos.TASK_RUNNING)
	}
	stopAgent()
	check(t, os.WriteFile(s.file("during"), nil, 0o600))
	eventually(t, "the task to end", func() string {
		if _, err := os.Stat(s.file("during-ended")); err != nil {
			return err.Error()
		}
		return ""
	})
	startAgent()
	s.until("during", mesos.TASK_FINISHED)
	check(t, os.WriteFile(s.file("after"), nil, 0o600))
	s.until("after", mesos.TASK_FINISHED)

	var task, process int
	eventually(t, "the pids", func() string {
		b, _ := os.ReadFile(s.file("pids"))
		fields := strings.Fields(string(b))
		if len(fields) != 2 {
			return string(b)
		}
		task, _ = strconv.Atoi(fields[0])
		process, _ = strconv.Atoi(fields[1])
		return ""
	})
	check(t, syscall.Kill(process, syscall.SIGKILL))
	if st := s.until("endless", mesos.TASK_FAILED); st.GetReason() != mesos.REASON_EXECUTOR_TERMINATED {
		t.Errorf("%v", st)
	}
	for len(s.failures) == 0 {
		s.next()
	}
	if f := s.failures[0]; f.ExecutorID != "commands" || f.AgentID != s.agent {
		t.Errorf("%+v", f)
	}
	eventually(t, "the task of the dead executor to end", func() string {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", task)); err == nil && !strings.Contains(string(stat), ") Z ") {
			return string(stat)
		}
		return ""
	})

	// The next task starts a new executor, which ends in good order.
	s.launch("last", executor.Command{Argv: []string{"true"}})
	s.until("last", mesos.TASK_FINISHED)
	check(t, s.driver.Shutdown(context.Background(), "commands", s.agent))
	for len(s.failures) == 1 {
		s.next()
	}
	if f := s.failures[1]; f.Status == nil || *f.Status != 0 {
		t.Errorf("%+v", f)
	}
	check(t, s.driver.Teardown(context.Background()))
}

func startExecutorStory(t *testing.T, master string) *executorStory {
	t.Helper()
	program, no := binary(t), false
	info, err := mesosutil.DriverFramework{User: "root", Name: t.Name(), FailoverTimeout: time.Minute, Checkpoint: true}.Info()
	check(t, err)
	driver, err := mesosutil.NewDriver(mesosutil.DriverConfig{Master: master, Framework: info, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = driver.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range driver.Events() {
		}
		<-done
	})
	return &executorStory{t: t, driver: driver, dir: t.TempDir(), last: map[string]mesos.TaskStatus{}, executor: &mesos.ExecutorInfo{
		Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: "commands"}, Resources: amounts(0.1, 32),
		Command: &mesos.CommandInfo{Shell: &no, Value: &program, Arguments: []string{program, "executor"}},
	}}
}

func amounts(cpus, mem float64) []mesos.Resource {
	scalar := func(name string, v float64) mesos.Resource {
		return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: v}}
	}
	return []mesos.Resource{scalar("cpus", cpus), scalar("mem", mem)}
}

func (s *executorStory) file(name string) string { return filepath.Join(s.dir, name) }

func (s *executorStory) launch(id string, c executor.Command) {
	s.t.Helper()
	data, err := json.Marshal(c)
	check(s.t, err)
	for len(s.offers) == 0 {
		s.next()
	}
	o := s.offers[0]
	s.offers, s.agent = s.offers[1:], o.AgentID.Value
	task := mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: o.AgentID, Executor: s.executor, Resources: amounts(0.1, 32), Data: data}
	check(s.t, s.driver.Accept(context.Background(), []string{o.ID.Value}, []mesos.TaskInfo{task}, 0))
}

// next handles one event.
func (s *executorStory) next() {
	s.t.Helper()
	select {
	case ev, open := <-s.driver.Events():
		if !open {
			s.t.Fatal("the driver has ended")
		}
		switch ev := ev.(type) {
		case mesosutil.EventOffers:
			s.offers = append(s.offers, ev.Offers...)
		case mesosutil.EventRescind:
			s.offers = nil
		case mesosutil.EventFailure:
			s.failures = append(s.failures, ev)
		case mesosutil.EventUpdate:
			st := ev.Status
			s.last[st.TaskID.Value] = st
			if st.UUID != nil {
				check(s.t, s.driver.Acknowledge(context.Background(), st.AgentID.GetValue(), st.TaskID.Value, st.UUID))
			}
		}
	case <-time.After(patience):
		s.t.Fatalf("no event; the tasks were last seen as %v", s.last)
	}
}

// until waits for a state that must come before any other last one.
func (s *executorStory) until(id string, want mesos.TaskState) mesos.TaskStatus {
	s.t.Helper()
	for {
		st, ok := s.last[id]
		switch {
		case ok && st.GetState() == want:
			return st
		case ok && st.GetState() != mesos.TASK_STARTING && st.GetState() != mesos.TASK_RUNNING && st.GetState() != mesos.TASK_KILLING:
			s.t.Fatalf("task %s is %v: %s, want %v", id, st.GetState(), st.GetMessage(), want)
		}
		s.next()
	}
}

// Who starts it by hand is told what it is.
func TestExecutorWithoutAnAgent(t *testing.T) {
	cmd := exec.Command(binary(t), "executor")
	cmd.Env = []string{"MESOS_CHECKPOINT=1"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "MESOS_RECOVERY_TIMEOUT is not set") {
		t.Errorf("%v: %s", err, out)
	}
}
