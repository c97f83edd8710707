package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const (
	starting = mesos.TASK_STARTING
	running  = mesos.TASK_RUNNING
	killing  = mesos.TASK_KILLING
	finished = mesos.TASK_FINISHED
	failed   = mesos.TASK_FAILED
	killed   = mesos.TASK_KILLED
)

func TestCommands(t *testing.T) {
	m := startMesos(t, localmesos.Options{})
	s := schedule(t, m.Addr(), "commands")
	s.launch("ok", executor.Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; pwd; echo $WHO; env"}, Env: map[string]string{"WHO": "me"}})
	wantText(t, s.states("ok", starting, running, finished), "Command exited with status 0")
	sandbox := m.Executors()[0].Sandbox
	out, _ := os.ReadFile(filepath.Join(sandbox, "tasks", "ok", "stdout"))
	for _, want := range []string{"out\n", filepath.Join(sandbox, "tasks", "ok") + "\n", "\nme\n", "MESOS_TASK_ID=ok"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("stdout lacks %q: %s", want, out)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(sandbox, "tasks", "ok", "stderr")); string(text) != "err\n" {
		t.Errorf("stderr %q", text)
	}
	for id, c := range map[string]struct {
		data any
		text string
	}{
		"code":    {executor.Command{Shell: "exit 7"}, "Command exited with status 7"},
		"signal":  {executor.Command{Shell: "kill -9 $$"}, "Command terminated with signal Killed"},
		"timeout": {executor.Command{Shell: "sleep 1000", Timeout: "50ms"}, "timed out after 50ms: Command terminated with signal Terminated"},
	} {
		s.launch(id, c.data)
		wantText(t, s.states(id, starting, running, failed), c.text)
	}
	s.launch("nothing", executor.Command{Argv: []string{"/no/such/program"}})
	wantText(t, s.states("nothing", starting, failed), "no such file")
	s.launch("nonsense", "run this")
	wantText(t, s.states("nonsense", starting, failed), executor.ErrCommand.Error())
	if len(m.Executors()) != 1 {
		t.Errorf("%v", m.Executors())
	}
}

// A command is killed with all that it started: in good order if it ends within
// its grace period, and by force if not.
func TestCommandsAreKilled(t *testing.T) {
	m := startMesos(t, localmesos.Options{})
	s := schedule(t, m.Addr(), "commands")
	s.launch("soft", executor.Command{Shell: "trap 'echo bye; exit 0' TERM; sleep 1000 & wait"})
	s.states("soft", starting, running)
	sandbox := m.Executors()[0].Sandbox
	s.launch("hard", executor.Command{Shell: "trap '' TERM; (sleep 1000) & echo $! > child; wait; sleep 1000"})
	s.states("hard", starting, running)
	var child int
	for end := time.Now().Add(patience); child == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, _ := os.ReadFile(filepath.Join(sandbox, "tasks", "hard", "child"))
		_, _ = fmt.Sscan(string(b), &child)
	}
	s.kill("soft", patience)
	s.kill("hard", patience)
	wantText(t, s.reaches("soft", killed), "Command exited with status 0")
	s.kill("hard", 10*time.Millisecond) // a second KILL shortens the first one's grace
	wantText(t, s.reaches("hard", killed), "Command terminated with signal Killed")
	gone(t, child)
	s.launch("limited", executor.Command{Shell: "sleep 1000"}, func(i *mesos.TaskInfo) {
		i.MaxCompletionTime = &mesos.DurationInfo{Nanoseconds: int64(50 * time.Millisecond)}
	})
	if st := s.states("limited", starting, running, failed); st.GetReason() != mesos.REASON_MAX_COMPLETION_TIME_REACHED {
		t.Errorf("%v", st)
	}
}

func TestRunners(t *testing.T) {
	m := startMesos(t, localmesos.Options{})
	s := schedule(t, m.Addr(), "words")
	s.launch("panic", "panic")
	wantText(t, s.states("panic", starting, failed), "the runner panicked: on purpose")
	s.launch("report", "report")
	s.states("report", starting, running)
	if st := s.states("report", running); string(st.Data) != "half" {
		t.Errorf("data %q", st.Data)
	}
	if st := s.states("report", finished); string(st.Data) != "all" {
		t.Errorf("data %q", st.Data)
	}
	s.launch("large", "large")
	wantText(t, s.states("large", starting, running, failed), "task status too large")
	s.launch("send", "send")
	if got := next[mesosutil.EventMessage](s); string(got.Data) != "hello from send" {
		t.Errorf("%q", got.Data)
	}
	for _, id := range []string{"1", "2", "3"} {
		s.launch(id, "wait")
		s.states(id, starting, running)
	}
	s.launch("4", "wait")
	wantText(t, s.states("4", failed), "the executor runs 3 tasks, its limit")
	s.kill("2", time.Minute)
	wantText(t, s.reaches("2", killed), "asked to end") // TASK_KILLING may come too late
}

// SHUTDOWN ends all tasks; the agent has their last updates when the executor
// ends with 0.
func TestShutdown(t *testing.T) {
	m := startMesos(t, localmesos.Options{})
	s := schedule(t, m.Addr(), "words")
	s.info.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: int64(patience)}
	s.launch("a", "wait")
	s.states("a", starting, running)
	s.launch("b", "deaf", func(i *mesos.TaskInfo) {
		i.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: int64(100 * time.Millisecond)}}
	})
	s.states("b", starting, running)
	if err := s.driver.Shutdown(context.Background(), "e", s.agent); err != nil {
		t.Fatal(err)
	}
	wantText(t, s.states("a", killed), "asked to end")
	wantText(t, s.states("b", killed), "made to end")
	if f := next[mesosutil.EventFailure](s); f.ExecutorID != "e" || f.Status == nil || *f.Status != 0 {
		t.Errorf("%+v", f)
	}
}

// The agent is restarted again and again while calls are refused, answers are
// lost and acknowledgements do not come: every task comes to its end, and every
// update to the scheduler.
func TestNothingIsLostWhenTheAgentRestarts(t *testing.T) {
	m := startMesos(t, localmesos.Options{UpdateRetry: 50 * time.Millisecond, ExecutorReregistrationTimeout: 10 * time.Second})
	s := schedule(t, m.Addr(), "commands")
	s.launch("first", executor.Command{Shell: "sleep 1000"})
	s.states("first", starting, running)
	agent, gate := s.agent, filepath.Join(t.TempDir(), "gate")
	n := 0 // under the lock of Mesos
	m.SetFaults(localmesos.Faults{
		ExecutorCall: func(c *execproto.Call) localmesos.Action {
			n++
			switch {
			case c.Type != execproto.Call_UPDATE:
				return localmesos.Pass
			case n%3 == 0:
				return localmesos.LoseAnswer
			case n%5 == 0:
				return localmesos.Refuse
			}
			return localmesos.Pass
		},
		ExecutorEvent: func(_ string, e *execproto.Event) localmesos.Action {
			if n++; e.Type == execproto.Event_ACKNOWLEDGED && n%2 == 0 {
				return localmesos.Drop
			}
			return localmesos.Pass
		},
	})
	for round := range 3 {
		id := fmt.Sprint("task-", round)
		s.launch(id, executor.Command{Shell: "while ! test -e " + gate + id + "; do sleep 0.01; done; exit " + fmt.Sprint(round)})
		s.states(id, starting, running)
		if err := m.StopAgent(agent); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(gate+id, nil, 0o600); err != nil { // it ends while the agent is away
			t.Fatal(err)
		}
		s.offers = nil
		if err := m.StartAgent(agent); err != nil {
			t.Fatal(err)
		}
		want := finished
		if round > 0 {
			want = failed
		}
		wantText(t, s.reaches(id, want), fmt.Sprintf("Command exited with status %d", round))
	}
	m.SetFaults(localmesos.Faults{})
	s.kill("first", time.Second)
	s.reaches("first", killed)
}

// reaches waits for a state, over repetitions of what the scheduler knows.
func (s *scheduler) reaches(id string, want mesos.TaskState) mesos.TaskStatus {
	s.t.Helper()
	for {
		st := next[mesosutil.EventUpdate](s).Status
		if st.TaskID.Value == id && st.GetState() == want {
			return st
		}
		if st.TaskID.Value == id && st.GetState() != starting && st.GetState() != running && st.GetState() != killing {
			s.t.Fatalf("task %s: %v", id, st)
		}
	}
}

// An agent that does not come back takes the executor's tasks with it.
func TestAgentThatStaysAway(t *testing.T) {
	m := startMesos(t, localmesos.Options{RecoveryTimeout: 200 * time.Millisecond, ExecutorReregistrationTimeout: 50 * time.Millisecond})
	s := schedule(t, m.Addr(), "commands")
	s.launch("a", executor.Command{Shell: "echo $$ > pid; exec sleep 1000"})
	s.states("a", starting, running)
	if err := m.StopAgent(s.agent); err != nil {
		t.Fatal(err)
	}
	gone(t, m.Executors()[0].PID)
	var task int
	b, _ := os.ReadFile(filepath.Join(m.Executors()[0].Sandbox, "tasks", "a", "pid"))
	_, _ = fmt.Sscan(string(b), &task)
	gone(t, task)
	if err := m.StartAgent(s.agent); err != nil {
		t.Fatal(err)
	}
	s.reaches("a", failed)
}

// gone waits until a process is no more, or a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		switch {
		case err != nil, strings.Contains(string(stat), ") Z "):
			return
		case time.Now().After(end):
			t.Fatalf("%d is still there: %s", pid, stat)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := mesosutil.ExecutorConfig{FrameworkID: "f", ExecutorID: "e", AgentEndpoint: "127.0.0.1:1"}
	for name, c := range map[string]struct {
		cfg  executor.Config
		want error
	}{
		"no ids":         {executor.Config{}, mesosutil.ErrExecutorConfig},
		"no endpoint":    {executor.Config{Mesos: mesosutil.ExecutorConfig{FrameworkID: "f", ExecutorID: "e"}}, mesosutil.ErrExecutorConfig},
		"negative grace": {executor.Config{Mesos: good, KillGrace: -1}, executor.ErrConfig},
		"too many tasks": {executor.Config{Mesos: good, MaxTasks: 5001}, executor.ErrConfig},
		"agent is away":  {executor.Config{Mesos: good}, mesosutil.ErrAgentLost},
	} {
		if err := executor.Run(t.Context(), c.cfg, words{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
