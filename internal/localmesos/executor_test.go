package localmesos_test

import (
	"context"
	"fmt"
	"maps"
	"math"
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

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
)

// mesosUnderTest is one whose first agent can be stopped and started.
type mesosUnderTest struct {
	addr        string
	stop, start func(t *testing.T)
	local       *localmesos.Mesos // nil for the real one
}

// onEachMesos tells a story to this Mesos and to the real one, which is the
// reference for it.
func onEachMesos(t *testing.T, story func(*testing.T, mesosUnderTest)) {
	t.Run("local", func(t *testing.T) {
		m := start(t, localmesos.Options{ExecutorReregistrationTimeout: 2 * time.Second})
		agent := m.Agents()[0].ID
		story(t, mesosUnderTest{m.Addr(), func(t *testing.T) { must(t, m.StopAgent(agent)) }, func(t *testing.T) { must(t, m.StartAgent(agent)) }, m})
	})
	t.Run("real", func(t *testing.T) {
		realmesos.Require(t)
		m, err := realmesos.Start(context.Background(), realmesos.Options{Separate: true, Env: []string{"MESOS_ALLOCATION_INTERVAL=50ms"}})
		fixture.Require(t, realmesos.Name, err)
		t.Cleanup(func() { must(t, m.Close()) })
		story(t, mesosUnderTest{m.Addr(), func(t *testing.T) { must(t, m.KillAgent(0)) },
			func(t *testing.T) { must(t, m.RestartAgent(context.Background(), 0)) }, nil})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func checkpointing() *mesos.FrameworkInfo {
	info, yes := aware(), true
	info.Checkpoint, info.User = &yes, "root"
	return info
}

func rooted() *mesos.FrameworkInfo {
	info := aware()
	info.User = "root"
	return info
}

func executorInfo(id, mode string) *mesos.ExecutorInfo {
	program, no := os.Args[0], false
	variable := mesos.Environment_Variable{Name: executorEnv, Value: &mode}
	return &mesos.ExecutorInfo{
		Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: id}, Resources: resourcesOf(0.1, 32),
		Command: &mesos.CommandInfo{Shell: &no, Value: &program, Arguments: []string{program},
			Environment: &mesos.Environment{Variables: []mesos.Environment_Variable{variable}}},
	}
}

func onExecutor(e *mesos.ExecutorInfo, id, data string) mesos.TaskInfo {
	return mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, Resources: resourcesOf(0.1, 32), Executor: e, Data: []byte(data)}
}

func (f *framework) tell(agent mesos.AgentID, executor, message string) {
	f.t.Helper()
	f.call(&scheduler.Call{Type: scheduler.Call_MESSAGE, Message: &scheduler.Call_Message{
		AgentID: agent, ExecutorID: mesos.ExecutorID{Value: executor}, Data: []byte(message)}})
}

// expect checks what a status says beside its state; an empty message is not looked at.
func expect(t *testing.T, s *mesos.TaskStatus, reason mesos.TaskStatus_Reason, source mesos.TaskStatus_Source, message string) {
	t.Helper()
	if s.GetReason() != reason || s.GetSource() != source || message != "" && s.GetMessage() != message {
		t.Errorf("task %s %s: %s from %s: %q; want %s from %s: %q", s.TaskID.Value, s.GetState(), s.GetReason(), s.GetSource(), s.GetMessage(), reason, source, message)
	}
}

// reaches acknowledges updates of a task until that state. An agent that is
// killed may not have noted an acknowledgement, and repeat the update.
func (f *framework) reaches(task string, state mesos.TaskState) *mesos.TaskStatus {
	f.t.Helper()
	for {
		s := f.update(task)
		f.ack(s)
		if s.GetState() == state {
			return s
		}
		if s.GetState() != mesos.TASK_RUNNING {
			f.t.Fatalf("task %s: %s, want %s: %v", task, s.GetState(), state, s)
		}
	}
}

// failure waits until the framework hears of the executor's end.
func (f *framework) failure(executor string, status int32) {
	f.t.Helper()
	got := f.next(scheduler.Event_FAILURE).Failure
	if got.GetExecutorID().GetValue() != executor || got.GetAgentID().GetValue() == "" || got.Status == nil || *got.Status != status {
		f.t.Errorf("FAILURE %v, want executor %s and status %d", got, executor, status)
	}
}

func TestOneExecutorRunsManyTasks(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, rooted())
		o := f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
		if text := string(f.next(scheduler.Event_MESSAGE).Message.Data); text != "subscribed to "+o.AgentID.Value+" as e" {
			t.Errorf("message %q", text)
		}
		s := f.until("a", mesos.TASK_RUNNING)
		if s.GetSource() != mesos.SOURCE_EXECUTOR || s.ContainerStatus.GetContainerID().GetValue() == "" {
			t.Errorf("%v", s)
		}
		o = f.launch(onExecutor(executorInfo("e", "plain"), "b", "finish"))
		if len(o.ExecutorIDs) != 1 || o.ExecutorIDs[0].Value != "e" {
			t.Errorf("offer names executors %v", o.ExecutorIDs)
		}
		f.until("b", mesos.TASK_RUNNING, mesos.TASK_FINISHED)
		// Task a and the executor itself are all that is in use.
		for cpus := 0.0; math.Abs(cpus-3.8) > 1e-6; {
			o := f.offer()
			cpus = cpusOf(o)
			f.decline(o, noFilter)
		}
		f.tell(o.AgentID, "e", "echo how are you")
		if text := string(f.next(scheduler.Event_MESSAGE).Message.Data); text != "how are you" {
			t.Errorf("message %q", text)
		}
		f.kill("a", time.Second)
		f.until("a", mesos.TASK_KILLED)
		f.call(&scheduler.Call{Type: scheduler.Call_SHUTDOWN, Shutdown: &scheduler.Call_Shutdown{
			AgentID: o.AgentID, ExecutorID: mesos.ExecutorID{Value: "e"}}})
		f.failure("e", 0)
	})
}

func TestExecutorThatEnds(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, rooted())
		e := executorInfo("e", "plain")
		o := f.launch(onExecutor(e, "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		f.tell(o.AgentID, "e", "exit 7")
		f.failure("e", 7<<8)
		expect(t, f.until("a", mesos.TASK_FAILED), mesos.REASON_EXECUTOR_TERMINATED, mesos.SOURCE_AGENT, "Executor terminated")
		// All is acknowledged: the id is free for another executor.
		f.launch(onExecutor(e, "b", "finish"))
		f.until("b", mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	})
}

// As long as updates of its tasks are not acknowledged, an executor that has
// ended is in the way of its successor.
func TestExecutorThatEndedBlocksItsID(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, rooted())
		e := executorInfo("e", "plain")
		o := f.launch(onExecutor(e, "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		f.tell(o.AgentID, "e", "exit 1")
		f.failure("e", 1<<8)
		failed := f.update("a")
		f.launch(onExecutor(e, "b", "finish"))
		f.failure("e", -1)
		expect(t, f.until("b", mesos.TASK_DROPPED), mesos.REASON_EXECUTOR_TERMINATED, mesos.SOURCE_AGENT,
			"Master wants to launch executor, but one already exists")
		f.ack(failed)
		f.launch(onExecutor(e, "c", "finish"))
		f.until("c", mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	})
}

func TestExecutorThatDoesNotEnd(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, rooted())
		e := executorInfo("e", "deaf")
		e.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: int64(50 * time.Millisecond)}
		o := f.launch(onExecutor(e, "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		f.call(&scheduler.Call{Type: scheduler.Call_SHUTDOWN, Shutdown: &scheduler.Call_Shutdown{
			AgentID: o.AgentID, ExecutorID: e.ExecutorID}})
		f.failure("e", 9)
		expect(t, f.until("a", mesos.TASK_FAILED), mesos.REASON_EXECUTOR_TERMINATED, mesos.SOURCE_AGENT, "Executor terminated")
	})
}

func TestExecutorIsRefused(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, rooted())
		f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		for text, change := range map[string]func(*mesos.ExecutorInfo){
			"'ExecutorInfo.command' must not be set for 'DEFAULT' executor": func(e *mesos.ExecutorInfo) { e.Type = mesos.ExecutorInfo_DEFAULT },
			"'ExecutorInfo.type' must be 'CUSTOM'": func(e *mesos.ExecutorInfo) {
				e.Type, e.Command, e.ExecutorID.Value = mesos.ExecutorInfo_DEFAULT, nil, "default"
			},
			"'ExecutorInfo.command' must be set for 'CUSTOM' executor": func(e *mesos.ExecutorInfo) { e.Command = nil },
			"ID must not be empty": func(e *mesos.ExecutorInfo) { e.ExecutorID.Value = "" },
			"ExecutorInfo's 'shutdown_grace_period' must be non-negative": func(e *mesos.ExecutorInfo) {
				e.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: -1}
			},
			"ExecutorInfo has an invalid FrameworkID (Actual: other vs Expected: " + f.id + ")": func(e *mesos.ExecutorInfo) {
				e.FrameworkID = &mesos.FrameworkID{Value: "other"}
			},
			"ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n": func(e *mesos.ExecutorInfo) {
				e.Data = []byte("other")
			},
			"required by task and its executor is more than available": func(e *mesos.ExecutorInfo) {
				e.ExecutorID.Value, e.Resources = "big", resourcesOf(100, 32)
			},
		} {
			e := executorInfo("e", "plain")
			change(e)
			f.launch(onExecutor(e, "no", "hold"))
			s := f.until("no", mesos.TASK_ERROR)
			if s.GetReason() != mesos.REASON_TASK_INVALID || !strings.Contains(s.GetMessage(), text) {
				t.Errorf("%s %q, want %q", s.GetReason(), s.GetMessage(), text)
			}
		}
	})
}

func TestAgentRestartWithCheckpoints(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, checkpointing())
		e := executorInfo("e", "plain")
		o := f.launch(onExecutor(e, "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		f.launch(onExecutor(e, "lost", "mute"))
		f.tell(o.AgentID, "e", "echo ready") // behind the LAUNCH
		f.next(scheduler.Event_MESSAGE)
		f.launch(onExecutor(e, "b", "hold"))
		f.until("b", mesos.TASK_RUNNING)
		m.stop(t)
		m.start(t)
		expect(t, f.reaches("lost", mesos.TASK_DROPPED), mesos.REASON_AGENT_RESTARTED, mesos.SOURCE_AGENT, "Task launched during agent restart")
		f.tell(o.AgentID, "e", "finish a")
		f.reaches("a", mesos.TASK_FINISHED)
		f.kill("b", time.Second)
		f.reaches("b", mesos.TASK_KILLED)
		f.tell(o.AgentID, "e", "exit 0")
		f.failure("e", 0)
	})
}

func TestAgentRestartWithoutCheckpoints(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, rooted())
		f.launch(onExecutor(executorInfo("e", "plain"), "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		m.stop(t)
		expect(t, f.reaches("a", mesos.TASK_LOST), mesos.REASON_AGENT_DISCONNECTED, mesos.SOURCE_MASTER, "Agent 127.0.0.1 disconnected")
		m.start(t)
		f.offers = nil
		f.launch(onExecutor(executorInfo("e", "plain"), "b", "finish"))
		f.until("b", mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	})
}

func TestExecutorDoesNotComeBackToItsAgent(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, checkpointing())
		e := executorInfo("e", "plain")
		o := f.launch(onExecutor(e, "a", "hold"))
		f.until("a", mesos.TASK_RUNNING)
		f.tell(o.AgentID, "e", "pid")
		var pid int
		for pid == 0 { // behind the greeting
			pid, _ = strconv.Atoi(string(f.next(scheduler.Event_MESSAGE).Message.Data))
		}
		f.tell(o.AgentID, "e", "freeze")
		eventually(t, "the executor stops", func() bool {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return strings.Contains(string(stat), ") T ")
		})
		m.stop(t)
		m.start(t)
		expect(t, f.reaches("a", mesos.TASK_GONE), mesos.REASON_EXECUTOR_REREGISTRATION_TIMEOUT, mesos.SOURCE_AGENT,
			"Executor did not reregister within 2secs")
		eventually(t, "the executor is killed", func() bool { return !alive(pid) })
	})
}

func TestFrameworkTeardownShutsExecutorsDown(t *testing.T) {
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, checkpointing())
		var pids []int
		for _, mode := range []string{"plain", "deaf"} {
			e := executorInfo(mode, mode)
			e.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: int64(100 * time.Millisecond)}
			f.launch(onExecutor(e, "on-"+mode, "hold"))
			pids = append(pids, int(f.until("on-"+mode, mesos.TASK_RUNNING).ContainerStatus.GetExecutorPID()))
		}
		f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
		f.ended()
		for _, pid := range pids {
			eventually(t, "the executor ends", func() bool { return !alive(pid) })
		}
	})
}

// Both say the same things to an executor; each says them in its own words.
func TestExecutorEnvironment(t *testing.T) {
	var seen []map[string]string
	onEachMesos(t, func(t *testing.T, m mesosUnderTest) {
		file := filepath.Join(t.TempDir(), "env")
		f := subscribe(t, m.addr, codecs.MediaTypeProtobuf, checkpointing())
		e := executorInfo("e", "plain")
		value := "env > " + file + "; exit 0"
		e.Command = &mesos.CommandInfo{Value: &value}
		f.launch(onExecutor(e, "a", "hold"))
		expect(t, f.until("a", mesos.TASK_FAILED), mesos.REASON_EXECUTOR_TERMINATED, mesos.SOURCE_AGENT, "Executor terminated")
		b, err := os.ReadFile(file)
		must(t, err)
		env := map[string]string{}
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "="); strings.HasPrefix(name, "MESOS_") {
				env[name] = value
			}
		}
		if env["MESOS_FRAMEWORK_ID"] != f.id || env["MESOS_SANDBOX"] != env["MESOS_DIRECTORY"] {
			t.Errorf("environment %v", env)
		}
		seen = append(seen, env)
	})
	if len(seen) < 2 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(seen[1])) {
		local, there := seen[0][name]
		same := slices.Contains([]string{"MESOS_EXECUTOR_ID", "MESOS_CHECKPOINT", "MESOS_HTTP_COMMAND_EXECUTOR",
			"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "MESOS_SUBSCRIPTION_BACKOFF_MAX"}, name)
		if !there || same && local != seen[1][name] {
			t.Errorf("%s is %q here and %q there", name, local, seen[1][name])
		}
		delete(seen[0], name)
	}
	if len(seen[0]) > 0 {
		t.Errorf("the real one has no %v", seen[0])
	}
}
