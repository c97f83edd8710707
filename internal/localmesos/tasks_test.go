package localmesos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func TestEndsOfCommands(t *testing.T) {
	m := start(t, localmesos.Options{})
	command := func(value string, args ...string) *mesos.CommandInfo {
		no := false
		return &mesos.CommandInfo{Shell: &no, Value: &value, Arguments: args}
	}
	for _, media := range bothMedia {
		f := subscribe(t, m.Addr(), media, aware())
		for i, c := range []struct {
			command *mesos.CommandInfo
			state   mesos.TaskState
			message string
		}{
			{command("/bin/sh", "sh", "-c", "exit 0"), mesos.TASK_FINISHED, "Command exited with status 0"},
			{command("sh", "sh", "-c", "exit 1"), mesos.TASK_FAILED, "Command exited with status 1"},
			{command("sh", "sh", "-c", "exit 255"), mesos.TASK_FAILED, "Command exited with status 255"},
			{command("sh", "sh", "-c", "kill -9 $$"), mesos.TASK_FAILED, "Command terminated with signal Killed"},
			{command("sh", "sh", "-c", "kill -TERM $$"), mesos.TASK_FAILED, "Command terminated with signal Terminated"},
			{command("true"), mesos.TASK_FINISHED, "Command exited with status 0"},
		} {
			id := fmt.Sprint("t", i)
			task := shell(id, "")
			task.Command = c.command
			f.launch(task)
			s := f.until(id, mesos.TASK_STARTING, mesos.TASK_RUNNING, c.state)
			if s.GetMessage() != c.message || s.GetSource() != mesos.SOURCE_EXECUTOR || s.Reason != nil ||
				s.ExecutorID.Value != id || s.ContainerStatus.GetExecutorPID() == 0 || len(s.UUID) != 16 {
				t.Errorf("%v: %v, want %q", c.command, s, c.message)
			}
		}
		f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	}
}

func TestCommandsThatCannotStart(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	no, name := false, "no-such-program"
	task := shell("t", "")
	task.Command = &mesos.CommandInfo{Shell: &no, Value: &name}
	f.launch(task)
	if s := f.until("t", mesos.TASK_STARTING, mesos.TASK_FAILED); !strings.Contains(s.GetMessage(), `"no-such-program" was not found in PATH`) {
		t.Errorf("message: %s", s.GetMessage())
	}
	task.Command, task.TaskID.Value = &mesos.CommandInfo{}, "empty"
	f.launch(task)
	if s := f.until("empty", mesos.TASK_STARTING, mesos.TASK_FAILED); !strings.Contains(s.GetMessage(), "shell command has no value") {
		t.Errorf("message: %s", s.GetMessage())
	}
	image, uri := "spark:3.5", "/does/not/exist"
	for text, change := range map[string]func(*mesos.TaskInfo){
		"not Docker": func(t *mesos.TaskInfo) {
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_DOCKER.Enum(), Docker: &mesos.ContainerInfo_DockerInfo{Image: image}}
		},
		"container images are not supported": func(t *mesos.TaskInfo) {
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum(), Mesos: &mesos.ContainerInfo_MesosInfo{
				Image: &mesos.Image{Type: mesos.Image_DOCKER.Enum(), Docker: &mesos.Image_Docker{Name: image}}}}
		},
		"Failed to fetch all URIs": func(t *mesos.TaskInfo) { t.Command.URIs = []mesos.CommandInfo_URI{{Value: uri}} },
	} {
		task := shell("no", "true")
		change(&task)
		f.launch(task)
		s := f.until("no", mesos.TASK_FAILED)
		if s.GetReason() != mesos.REASON_CONTAINER_LAUNCH_FAILED || s.GetSource() != mesos.SOURCE_AGENT || !strings.Contains(s.GetMessage(), text) {
			t.Errorf("%v, want %q", s, text)
		}
	}
	mesosType := shell("plain", "true")
	mesosType.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum()}
	f.launch(mesosType)
	f.until("plain", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
}

func TestTaskEnvironment(t *testing.T) {
	t.Setenv("LOCALMESOS_PRIVATE", "must not be seen")
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	value, path := "a b\n$c'", "/own/path"
	task := shell("env", "env -0 > env; echo out; echo err >&2; pwd")
	task.Command.Environment = &mesos.Environment{Variables: []mesos.Environment_Variable{
		{Name: "MINE", Value: &value},
		{Name: "SECRET", Type: mesos.Environment_Variable_SECRET.Enum(),
			Secret: &mesos.Secret{Type: mesos.Secret_VALUE, Value: &mesos.Secret_Value{Data: []byte("s3cret")}}},
		{Name: "HOME", Value: &path},
	}}
	o := f.launch(task)
	f.until("env", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	v := viewOf(t, m, "env")
	vars := strings.Split(readSandbox(t, m, "env", "env"), "\x00")
	for _, want := range []string{"MINE=" + value, "SECRET=s3cret", "HOME=" + path, "MESOS_SANDBOX=" + v.Sandbox, "MESOS_DIRECTORY=" + v.Sandbox,
		"MESOS_TASK_ID=env", "MESOS_EXECUTOR_ID=env", "MESOS_FRAMEWORK_ID=" + f.id, "MESOS_AGENT_ID=" + o.AgentID.Value,
		"MESOS_SLAVE_ID=" + o.AgentID.Value, "MESOS_ALLOCATION_ROLE=*", "PATH=" + os.Getenv("PATH")} {
		if !slices.Contains(vars, want) {
			t.Errorf("no %q in %q", want, vars)
		}
	}
	if slices.ContainsFunc(vars, func(s string) bool { return strings.HasPrefix(s, "LOCALMESOS_PRIVATE") }) {
		t.Error("this process's environment leaked")
	}
	if out := readSandbox(t, m, "env", "stdout"); out != "out\n"+v.Sandbox+"\n" {
		t.Errorf("stdout %q", out)
	}
	if out := readSandbox(t, m, "env", "stderr"); out != "err\n" {
		t.Errorf("stderr %q", out)
	}
	want := filepath.Join(m.WorkDir(), "slaves", o.AgentID.Value, "frameworks", f.id, "executors", "env", "runs")
	if filepath.Dir(v.Sandbox) != want {
		t.Errorf("sandbox %s is not in %s", v.Sandbox, want)
	}
	if latest, err := filepath.EvalSymlinks(filepath.Join(want, "latest")); err != nil || latest != v.Sandbox {
		t.Errorf("latest is %s, %v", latest, err)
	}
}

func TestKill(t *testing.T) {
	m := start(t, localmesos.Options{})
	for _, c := range []struct {
		name, command string
		grace         time.Duration
		message       string
	}{
		{"obeys", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done", time.Hour, "Command exited with status 7"},
		{"dies of the signal", "echo ready; exec sleep 1000", time.Hour, "Command terminated with signal Terminated"},
		{"is stubborn", "trap '' TERM; echo ready; while :; do sleep 0.01; done", 50 * time.Millisecond, "Command terminated with signal Killed"},
		{"has no time", "trap '' TERM; echo ready; while :; do sleep 0.01; done", 0, "Command terminated with signal Killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
			f.launch(shell("t", c.command))
			f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
			eventually(t, "trap is set", func() bool { return strings.Contains(readSandbox(t, m, "t", "stdout"), "ready") })
			f.kill("t", c.grace)
			if s := f.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED); s.GetMessage() != c.message {
				t.Errorf("message %q, want %q", s.GetMessage(), c.message)
			}
			f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
		})
	}
}

func TestSecondKillShortensTheGracePeriod(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, plainInfo())
	f.launch(shell("t", "trap '' TERM; echo ready; while :; do sleep 0.01; done"))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	eventually(t, "trap is set", func() bool { return strings.Contains(readSandbox(t, m, "t", "stdout"), "ready") })
	f.kill("t", time.Hour)
	f.kill("t", 2*time.Hour)
	f.kill("t", 10*time.Millisecond)
	f.until("t", mesos.TASK_KILLED) // no TASK_KILLING: it did not ask for it
}

func TestKillWhileFetching(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	url := serveSlowly(t, asked, release)
	defer close(release)
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	task := shell("t", "true")
	task.Command.URIs = []mesos.CommandInfo_URI{{Value: url}}
	f.launch(task)
	<-asked
	f.kill("t", time.Hour)
	if s := f.until("t", mesos.TASK_KILLED); s.GetReason() != mesos.REASON_TASK_KILLED_DURING_LAUNCH {
		t.Errorf("%v", s)
	}
}

func TestMaxCompletionTime(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	task := shell("t", "sleep 1000")
	task.MaxCompletionTime = &mesos.DurationInfo{Nanoseconds: int64(20 * time.Millisecond)}
	f.launch(task)
	if s := f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FAILED); s.GetReason() != mesos.REASON_MAX_COMPLETION_TIME_REACHED {
		t.Errorf("%v", s)
	}
}

// A task's descendants go with it: those of its group, those in groups of
// their own, and those that only remain after the leader's end.
func TestDescendantsDieWithTheTask(t *testing.T) {
	m := start(t, localmesos.Options{})
	const command = `set -m; sleep 1000 & echo $! >> pids; set +m; (trap '' TERM; sleep 1000 & echo $! >> pids; wait) & echo $! >> pids; `
	for name, c := range map[string]struct {
		command string
		end     func(*framework)
	}{
		"killed": {command + "wait", func(f *framework) {
			f.kill("t", 20*time.Millisecond)
			f.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED)
		}},
		"ended": {command + "while ! test -f go; do sleep 0.01; done", func(f *framework) {
			os.WriteFile(filepath.Join(viewOf(f.t, m, "t").Sandbox, "go"), nil, 0o644)
			f.until("t", mesos.TASK_FINISHED)
		}},
		"torn down": {command + "wait", func(f *framework) { f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN}) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
			f.launch(shell("t", c.command))
			f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
			v := viewOf(t, m, "t")
			var pids []int
			eventually(t, "descendants", func() bool {
				b, _ := os.ReadFile(v.Sandbox + "/pids")
				pids = []int{v.PID}
				for _, s := range strings.Fields(string(b)) {
					pid, _ := strconv.Atoi(s)
					pids = append(pids, pid)
				}
				return len(pids) == 4
			})
			c.end(f)
			for _, pid := range pids {
				eventually(t, fmt.Sprintf("end of %d of %v", pid, pids), func() bool { return !alive(pid) })
			}
			if name != "torn down" {
				f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
			}
		})
	}
}

func TestCloseKillsEverything(t *testing.T) {
	m, err := localmesos.Start(t.Context(), localmesos.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", "trap '' TERM; while :; do sleep 1; done"))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	pid := viewOf(t, m, "t").PID
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if alive(pid) {
		t.Error("task outlived Close")
	}
	if _, err := os.Stat(m.WorkDir()); !os.IsNotExist(err) {
		t.Errorf("temporary work dir is still there: %v", err)
	}
	f.ended()
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestManyTasksAtOnce(t *testing.T) {
	m := start(t, localmesos.Options{Resources: "cpus:100;mem:100000"})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	o := f.offer()
	var tasks []mesos.TaskInfo
	const n = 100
	for i := range n {
		task := shell(fmt.Sprint("t", i), "sleep 0.1")
		task.AgentID = o.AgentID
		tasks = append(tasks, task)
	}
	f.accept(noFilter, []mesos.OfferID{o.ID}, tasks...)
	for finished := 0; finished < n; {
		s := f.next(scheduler.Event_UPDATE).Update.Status
		f.ack(&s)
		switch s.GetState() {
		case mesos.TASK_FINISHED:
			finished++
		case mesos.TASK_STARTING, mesos.TASK_RUNNING:
		default:
			t.Fatalf("%v", s)
		}
	}
	for { // all resources have come back
		o := f.offer()
		if cpusOf(o) == 100 {
			break
		}
		f.decline(o, noFilter)
	}
}
