package localmesos_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// executorEnv makes this test program an executor. Its value is how it behaves:
// "plain", "silent" (never subscribes), "deaf" (does not end on SHUTDOWN).
const executorEnv = "LOCALMESOS_TEST_EXECUTOR"

// testExecutor is an executor made of nothing but HTTP. It has one goroutine.
type testExecutor struct {
	url     string
	tasks   map[string]mesos.TaskInfo // running
	unacked []execproto.Call_Update
}

func runTestExecutor() {
	if os.Getenv(executorEnv) == "silent" {
		time.Sleep(time.Hour)
	}
	x := &testExecutor{url: "http://" + os.Getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor", tasks: map[string]mesos.TaskInfo{}}
	for {
		if err := x.subscribe(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		if os.Getenv("MESOS_CHECKPOINT") != "1" {
			os.Exit(3)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (x *testExecutor) post(call *execproto.Call) (*http.Response, error) {
	call.FrameworkID.Value, call.ExecutorID.Value = os.Getenv("MESOS_FRAMEWORK_ID"), os.Getenv("MESOS_EXECUTOR_ID")
	body, err := proto.Marshal(call)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, x.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Accept", "application/x-protobuf")
	r.Header.Set("Authorization", "Bearer "+os.Getenv("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"))
	return do(r)
}

func (x *testExecutor) subscribe() error {
	call := &execproto.Call_Subscribe{UnacknowledgedUpdates: x.unacked}
	for _, t := range x.tasks {
		call.UnacknowledgedTasks = append(call.UnacknowledgedTasks, t)
	}
	resp, err := x.post(&execproto.Call{Type: execproto.Call_SUBSCRIBE, Subscribe: call})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("SUBSCRIBE: %s", resp.Status)
	}
	records := recordio.NewReader(resp.Body)
	for {
		b, err := records.ReadFrame()
		if err != nil {
			return err
		}
		var e execproto.Event
		if err := proto.Unmarshal(b, &e); err != nil {
			return err
		}
		x.handle(&e)
	}
}

func (x *testExecutor) handle(e *execproto.Event) {
	fmt.Println(e.Type)
	switch e.Type {
	case execproto.Event_SUBSCRIBED:
		x.tell("subscribed to " + e.Subscribed.AgentInfo.ID.Value + " as " + e.Subscribed.ExecutorInfo.ExecutorID.Value)
	case execproto.Event_LAUNCH:
		t := e.Launch.Task
		if string(t.Data) == "mute" {
			return
		}
		x.tasks[t.TaskID.Value] = t
		x.update(t.TaskID, mesos.TASK_RUNNING)
		if string(t.Data) == "spawn" { // in a group of its own, as a task's
			c := exec.Command("sleep", "1000")
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := c.Start(); err == nil {
				x.tell("child " + strconv.Itoa(c.Process.Pid))
			}
		}
		if string(t.Data) == "finish" {
			x.update(t.TaskID, mesos.TASK_FINISHED)
		}
	case execproto.Event_KILL:
		x.update(e.Kill.TaskID, mesos.TASK_KILLED)
	case execproto.Event_ACKNOWLEDGED:
		for i, u := range x.unacked {
			if bytes.Equal(u.Status.UUID, e.Acknowledged.UUID) {
				x.unacked = append(x.unacked[:i:i], x.unacked[i+1:]...)
				break
			}
		}
	case execproto.Event_MESSAGE:
		x.obey(string(e.Message.Data))
	case execproto.Event_SHUTDOWN:
		if os.Getenv(executorEnv) == "deaf" {
			return
		}
		for _, t := range x.tasks {
			x.update(t.TaskID, mesos.TASK_KILLED)
		}
		os.Exit(0)
	}
}

func (x *testExecutor) obey(message string) {
	verb, arg, _ := strings.Cut(message, " ")
	switch verb {
	case "echo":
		x.tell(arg)
	case "exit":
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	case "pid":
		x.tell(strconv.Itoa(os.Getpid()))
	case "freeze":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "finish":
		x.update(mesos.TaskID{Value: arg}, mesos.TASK_FINISHED)
	}
}

func (x *testExecutor) tell(text string) {
	if resp, err := x.post(&execproto.Call{Type: execproto.Call_MESSAGE, Message: &execproto.Call_Message{Data: []byte(text)}}); err == nil {
		resp.Body.Close()
	}
}

func (x *testExecutor) update(task mesos.TaskID, state mesos.TaskState) {
	id := uuid.New()
	u := execproto.Call_Update{Status: mesos.TaskStatus{TaskID: task, State: &state, UUID: id[:], Source: mesos.SOURCE_EXECUTOR.Enum()}}
	x.unacked = append(x.unacked, u)
	if state != mesos.TASK_RUNNING {
		delete(x.tasks, task.Value)
	}
	if resp, err := x.post(&execproto.Call{Type: execproto.Call_UPDATE, Update: &u}); err == nil {
		resp.Body.Close()
	}
}

// childPID is the process that an executor says it has started.
func (f *framework) childPID() int {
	for {
		if text, ok := strings.CutPrefix(string(f.next(scheduler.Event_MESSAGE).Message.Data), "child "); ok {
			pid, _ := strconv.Atoi(text)
			return pid
		}
	}
}

func readEnviron(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	must(t, err)
	return strings.ReplaceAll(string(b), "\x00", "\n")
}
