package localmesos_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func TestExecutorThatNeverSubscribes(t *testing.T) {
	m := start(t, localmesos.Options{ExecutorRegistrationTimeout: 100 * time.Millisecond})
	f := subscribe(t, m.Addr(), codecs.MediaTypeJSON, aware())
	f.launch(onExecutor(executorInfo("e", "silent"), "a", "hold"))
	f.failure("e", 9)
	expect(t, f.until("a", mesos.TASK_FAILED), mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT, mesos.SOURCE_AGENT, "Executor did not register within 100ms")
}

func TestTaskIsKilledBeforeItsExecutorSubscribes(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	e, door := executorInfo("e", "plain"), filepath.Join(t.TempDir(), "door")
	wait := "while ! test -e " + door + "; do sleep 0.01; done; exec " + e.Command.GetValue()
	e.Command.Shell, e.Command.Value, e.Command.Arguments = nil, &wait, nil
	f.launch(onExecutor(e, "a", "hold"))
	f.kill("a", 0)
	expect(t, f.until("a", mesos.TASK_KILLED), mesos.REASON_TASK_KILLED_DURING_LAUNCH, mesos.SOURCE_AGENT, "Killed before delivery to the executor")
	must(t, os.WriteFile(door, nil, 0o600))
	f.failure("e", 0) // there is nothing left for it to do
}

func TestExecutorThatCannotStart(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	for text, change := range map[string]func(*mesos.ExecutorInfo){
		"not Docker": func(e *mesos.ExecutorInfo) {
			e.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_DOCKER.Enum(), Docker: &mesos.ContainerInfo_DockerInfo{Image: "x"}}
		},
		"Failed to fetch all URIs": func(e *mesos.ExecutorInfo) {
			e.Command.URIs = []mesos.CommandInfo_URI{{Value: "/does/not/exist"}}
		},
	} {
		e := executorInfo("e", "plain")
		change(e)
		f.launch(onExecutor(e, "a", "hold"))
		f.failure("e", -1)
		if s := f.until("a", mesos.TASK_FAILED); s.GetReason() != mesos.REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(s.GetMessage(), text) {
			t.Errorf("%v, want %q", s, text)
		}
	}
	e := executorInfo("e", "plain")
	program := "no-such-program"
	e.Command.Value = &program
	f.launch(onExecutor(e, "a", "hold"))
	f.failure("e", 1<<8)
	f.until("a", mesos.TASK_FAILED)
	if text := readSandbox(t, m, "a", "stderr"); !strings.Contains(text, program) {
		t.Errorf("stderr %q", text)
	}
}

// A new master learns of executors from their agents: their resources stay
// in use, and they can be talked to.
func TestMasterFailoverWithExecutors(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	o := f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
	f.until("a", mesos.TASK_RUNNING)
	must(t, m.FailoverMaster(t.Context()))
	f.ended()
	f = subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, f.info)
	if o := f.offer(); len(o.ExecutorIDs) != 1 || cpusOf(o) > 3.81 {
		t.Errorf("offer %v", o)
	}
	f.tell(o.AgentID, "e", "echo still here")
	if text := string(f.next(scheduler.Event_MESSAGE).Message.Data); text != "still here" {
		t.Errorf("message %q", text)
	}
	f.kill("a", 0)
	f.until("a", mesos.TASK_KILLED)
}

func TestLostAgentKeepsItsExecutors(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	o := f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
	f.until("a", mesos.TASK_RUNNING)
	must(t, m.LoseAgent(o.AgentID.Value))
	f.until("a", mesos.TASK_UNREACHABLE)
	must(t, m.ReturnAgent(o.AgentID.Value))
	f.until("a", mesos.TASK_RUNNING)
	f.kill("a", 0)
	f.until("a", mesos.TASK_KILLED)
	f.tell(o.AgentID, "e", "exit 0")
	f.failure("e", 0)
}

// What an agent had not acknowledged comes again with the next subscription.
func TestExecutorThatReconnects(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, checkpointing())
	f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
	f.until("a", mesos.TASK_RUNNING)
	m.SetFaults(localmesos.Faults{
		ExecutorEvent: func(_ string, e *execproto.Event) localmesos.Action {
			if e.Type == execproto.Event_ACKNOWLEDGED {
				return localmesos.Drop
			}
			return localmesos.Pass
		},
		ExecutorCall: func(c *execproto.Call) localmesos.Action {
			if c.Type == execproto.Call_UPDATE {
				return localmesos.LoseAnswer
			}
			return localmesos.Pass
		},
	})
	f.launch(onExecutor(executorInfo("e", "plain"), "b", "finish"))
	f.until("b", mesos.TASK_RUNNING)
	m.SetFaults(localmesos.Faults{})
	m.CutExecutors("e")
	f.until("b", mesos.TASK_FINISHED)
	eventually(t, "the executor is back", func() bool { return m.Executors()[0].Connected })
}

func TestExecutorToken(t *testing.T) {
	m := start(t, localmesos.Options{AuthenticateExecutors: true, WorkDir: t.TempDir()})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	e := executorInfo("e", "plain")
	f.launch(onExecutor(e, "a", "finish"))
	f.until("a", mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	empty, name := "", "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
	e = executorInfo("without", "plain")
	e.Command.Environment.Variables = append(e.Command.Environment.Variables, mesos.Environment_Variable{Name: name, Value: &empty})
	f.launch(onExecutor(e, "b", "finish"))
	f.failure("without", 3<<8)
	f.until("b", mesos.TASK_FAILED)
	if text := readSandbox(t, m, "b", "stderr"); !strings.Contains(text, "401") {
		t.Errorf("stderr %q", text)
	}
}

func TestExecutorCallsAreChecked(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
	f.until("a", mesos.TASK_RUNNING)
	var endpoint string
	for line := range strings.Lines(readEnviron(t, m.Executors()[0].PID)) {
		if v, ok := strings.CutPrefix(line, "MESOS_AGENT_ENDPOINT="); ok {
			endpoint = strings.TrimSpace(v)
		}
	}
	update := func(status string) string {
		return `{"type":"UPDATE","executor_id":{"value":"e"},"framework_id":{"value":"` + f.id + `"},"update":{"status":` + status + `}}`
	}
	for name, c := range map[string]struct {
		body string
		want int
		text string
	}{
		"no call":           {`{`, 400, "Failed to parse body into JSON"},
		"no type":           {`{}`, 400, "Expecting 'type' to be present"},
		"unknown framework": {`{"type":"SUBSCRIBE","executor_id":{"value":"e"},"framework_id":{"value":"x"},"subscribe":{}}`, 400, "Framework cannot be found"},
		"unknown executor":  {`{"type":"SUBSCRIBE","executor_id":{"value":"x"},"framework_id":{"value":"` + f.id + `"},"subscribe":{}}`, 400, "Executor cannot be found"},
		"no uuid":           {update(`{"task_id":{"value":"a"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR"}`), 400, "Expecting 'uuid' to be present"},
		"no UUID":           {update(`{"task_id":{"value":"a"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","uuid":"AAAA"}`), 400, "Not a valid UUID"},
		"source":            {update(`{"task_id":{"value":"a"},"state":"TASK_RUNNING","uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}`), 400, "expecting 'SOURCE_EXECUTOR'"},
		"staging":           {update(`{"task_id":{"value":"a"},"state":"TASK_STAGING","source":"SOURCE_EXECUTOR","uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}`), 400, "TASK_STAGING"},
		"heartbeat":         {`{"type":"HEARTBEAT","executor_id":{"value":"e"},"framework_id":{"value":"x"}}`, 202, ""},
	} {
		r := newRequest(t, t.Context(), endpoint, codecs.MediaTypeJSON, []byte(c.body))
		r.URL.Path = "/api/v1/executor"
		resp, err := do(r)
		must(t, err)
		text := make([]byte, 1000)
		n, _ := resp.Body.Read(text)
		resp.Body.Close()
		if resp.StatusCode != c.want || !strings.Contains(string(text[:n]), c.text) {
			t.Errorf("%s: %d %q, want %d %q", name, resp.StatusCode, text[:n], c.want, c.text)
		}
	}
	r := newRequest(t, t.Context(), endpoint, codecs.MediaTypeJSON, nil)
	r.Method, r.URL.Path = http.MethodGet, "/slave(1)/api/v1/executor"
	resp, err := do(r)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
}

// kill -9 of an executor takes with it what it started.
func TestKilledExecutorLeavesNothing(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(onExecutor(executorInfo("e", "plain"), "a", "spawn"))
	f.until("a", mesos.TASK_RUNNING)
	child := f.childPID()
	must(t, syscall.Kill(m.Executors()[0].PID, syscall.SIGKILL))
	f.failure("e", 9)
	f.until("a", mesos.TASK_FAILED)
	eventually(t, "its child is killed", func() bool { return !alive(child) })
}
