package realmesos_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, options realmesos.Options) *realmesos.Mesos {
	t.Helper()
	realmesos.Require(t)
	m, err := realmesos.Start(t.Context(), options)
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

func TestTaskLifecycleInOneProcess(t *testing.T) {
	m := start(t, realmesos.Options{Agents: 2, Attributes: "rack:r1", WorkDir: t.TempDir()})
	s := subscribe(t, m.URL(), nil)

	if attributes := s.launch("hi", "echo hello; exit 0"); len(attributes) != 1 || attributes[0] != "rack" {
		t.Errorf("offered attributes %q", attributes)
	}
	s.until("hi", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
	if got := taskOutput(t, m, "hi"); got != "hello\n" {
		t.Errorf("stdout in the sandbox: %q", got)
	}

	s.launch("bad", "exit 3")
	s.until("bad", "TASK_STARTING", "TASK_RUNNING", "TASK_FAILED")

	s.launch("stubborn", "trap '' TERM; echo up; while :; do sleep 0.1; done")
	s.until("stubborn", "TASK_STARTING", "TASK_RUNNING")
	s.kill("stubborn", 100*time.Millisecond)
	s.until("stubborn", "TASK_KILLING", "TASK_KILLED")

	if err := m.KillAgent(0); !errors.Is(err, realmesos.ErrNotSeparate) {
		t.Errorf("KillAgent: %v", err)
	}
}

func TestMasterAndAgentFailover(t *testing.T) {
	m := start(t, realmesos.Options{Agents: 2, Separate: true,
		PerAgent: []realmesos.AgentOptions{{Attributes: "rack:r1"}, {Attributes: "rack:r2"}}})
	s := subscribe(t, m.URL(), nil)
	s.launch("long", "echo $$; exec sleep 600")
	s.until("long", "TASK_STARTING", "TASK_RUNNING")
	pid := taskOutput(t, m, "long")

	takeover := subscribe(t, m.URL(), s.framework)
	s.ended()
	takeover.running("long")

	m.KillMaster()
	takeover.ended()
	if err := m.RestartMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = subscribe(t, m.URL(), takeover.framework)
	s.running("long")

	for i := range 2 {
		if err := m.KillAgent(i); err != nil {
			t.Fatal(err)
		}
		if err := m.RestartAgent(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	s.running("long")
	if got := taskOutput(t, m, "long"); got != pid {
		t.Errorf("the task ran as pids %q and %q", pid, got)
	}
	s.kill("long", time.Second)
	s.until("long", "TASK_KILLING", "TASK_KILLED")
}

func TestCloseEndsExecutorsAndTasks(t *testing.T) {
	m := start(t, realmesos.Options{Separate: true})
	s := subscribe(t, m.URL(), nil)
	s.launch("long", "echo $$; sleep 600")
	s.until("long", "TASK_STARTING", "TASK_RUNNING")
	pid, err := strconv.Atoi(strings.TrimSpace(taskOutput(t, m, "long")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the task is not there: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the task outlived Close: %s", stat)
	}
	if _, err := os.Stat(m.WorkDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the work directory is still there: %v", err)
	}
}

func TestStandbyRedirectsToTheLeader(t *testing.T) {
	m := start(t, realmesos.Options{Separate: true, Standby: true})
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Post(m.StandbyURL()+"/api/v1/scheduler", "application/json",
		strings.NewReader(`{"type":"SUBSCRIBE"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	// Mesos leaves out the scheme, and looks the leader's host name up.
	to, err := response.Location()
	if err != nil || response.StatusCode != http.StatusTemporaryRedirect || "http://127.0.0.1:"+to.Port() != m.URL() {
		t.Errorf("%s to %v (%v), want 307 to %s", response.Status, to, err, m.URL())
	}
}

func TestStartShowsTheLogOfAMesosThatEnds(t *testing.T) {
	realmesos.Require(t)
	m, err := realmesos.Start(t.Context(), realmesos.Options{Resources: "nonsense"})
	if err == nil {
		_ = m.Close()
		t.Fatal("nonsense resources were taken")
	}
	if !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("the log is not in the error: %v", err)
	}
}

// taskOutput waits for a line in the task's stdout: the sandbox is written by
// other processes.
func taskOutput(t *testing.T, m *realmesos.Mesos, task string) string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		var found string
		err := filepath.WalkDir(m.WorkDir(), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a sandbox that was just collected
			}
			if err == nil && entry.Name() == "stdout" && strings.Contains(path, "/executors/"+task+"/") {
				found = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if found != "" {
			text, err := os.ReadFile(found)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 0 {
				return string(text)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no output of task %s", task)
	return ""
}
