package fsm

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// tasksApp registers a fine-grained application whose framework is subscribed.
func (n *node) tasksApp(id string) string {
	n.t.Helper()
	n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: id, Name: "pi", User: "u"})
	n.appEvent(id, FrameworkSubscribe, "fw-"+id)
	return id
}

// tryTask commits the intent of a task, with an executor if the agent has none.
func (n *node) tryTask(app, agent string, number uint64) Code {
	n.t.Helper()
	a, _ := n.s.App(app)
	l := &fsmpb.ExecutorLaunch{Number: number, AgentId: agent, Host: "host-" + agent, Cpus: 0.5, Name: "task", Executor: number}
	body := &fsmpb.LaunchTasks{AppId: app, Launches: []*fsmpb.ExecutorLaunch{l}}
	if x := a.OnAgent(agent); x != nil {
		l.Executor = x.First
	} else {
		body.Executors = []*AgentExecutor{{AgentId: agent, First: number, Cpus: 1.5, MemMib: 896, Resources: [][]byte{{1}, {2, 3}}, Fingerprint: 7}}
	}
	r := n.do(NumberLaunchTasks, body)
	if len(r.Launches) == 0 {
		return Code(r.Code)
	}
	return Code(r.Launches[0].Code)
}

func (n *node) task(app, agent string, number uint64) string {
	n.t.Helper()
	wantCode(n.t, uint32(n.tryTask(app, agent, number)), CodeOK)
	return fmt.Sprint(number)
}

func (n *node) endExecutor(app, agent string, first uint64) Code {
	n.t.Helper()
	return Code(n.do(NumberEndAgentExecutor, &fsmpb.EndAgentExecutor{AppId: app, AgentId: agent, First: first, Reason: "exit status 9"}).Code)
}

// everyTask makes a fine-grained application with a task in every state.
func (n *node) everyTask() {
	app := n.tasksApp("fine")
	for i, s := range []TaskState{TaskStaging, TaskStarting, TaskRunning, TaskFinished, TaskFailed, TaskKilled, TaskLost, TaskDropped} {
		n.now += 5
		n.execStatus(app, n.task(app, fmt.Sprintf("a%d", i%3), uint64(3*i)), s, full13)
	}
	n.killExec(app, "3", "6")
	n.task(app, "gone", 100)
	n.task(app, "gone", 101)
	n.killExec(app, "101")
	wantCode(n.t, uint32(n.endExecutor(app, "gone", 100)), CodeOK)
	n.tasksApp("done")
	n.task("done", "a0", 5)
	n.ok(NumberStopApp, &fsmpb.StopApp{AppId: "done", Reason: "done"})
	n.appEvent("done", FrameworkTearDown, "")
}

func TestATaskIDIsNeverUsedTwice(t *testing.T) {
	n := newNode(t)
	app := n.tasksApp("app")
	for _, c := range []struct {
		number uint64
		want   Code
	}{{7, CodeOK}, {7, CodeConflict}, {6, CodeConflict}, {0, CodeConflict}, {8, CodeOK}, {20, CodeOK}, {9, CodeConflict}, {math.MaxInt64, CodeMalformed}, {math.MaxUint64, CodeMalformed}, {math.MaxInt64 - 1, CodeOK}} {
		if got := n.tryTask(app, "a1", c.number); got != c.want {
			t.Errorf("task %d: %s, want %s", c.number, got, c.want)
		}
	}
	if a, _ := n.s.App(app); a.NextNumber != math.MaxInt64 || !a.FineGrained || len(a.AgentExecutors) != 1 {
		t.Errorf("%+v", a)
	}
	checkInvariants(t, n.s)
}

func TestTheFirstTaskOnAnAgentStartsItsExecutor(t *testing.T) {
	n := newNode(t)
	app := n.tasksApp("app")
	launch := func(l *fsmpb.ExecutorLaunch, x ...*AgentExecutor) Code {
		r := n.do(NumberLaunchTasks, &fsmpb.LaunchTasks{AppId: app, Launches: []*fsmpb.ExecutorLaunch{l}, Executors: x})
		return Code(r.Launches[0].Code)
	}
	for _, c := range []struct {
		name      string
		number    uint64
		executor  uint64
		executors []*AgentExecutor
		want      Code
	}{
		{"without an executor", 1, 1, nil, CodeConflict},
		{"with that of another agent", 1, 1, []*AgentExecutor{{AgentId: "a2", First: 1}}, CodeConflict},
		{"with one that another task starts", 1, 1, []*AgentExecutor{{AgentId: "a1", First: 2}}, CodeConflict},
		{"on an executor that is gone", 1, 0, []*AgentExecutor{{AgentId: "a1", First: 1}}, CodeConflict},
		{"with negative cpus", 1, 1, []*AgentExecutor{{AgentId: "a1", First: 1, Cpus: -1}}, CodeMalformed},
		{"with cpus that are no number", 1, 1, []*AgentExecutor{{AgentId: "a1", First: 1, Cpus: math.NaN()}}, CodeMalformed},
		{"with negative memory", 1, 1, []*AgentExecutor{{AgentId: "a1", First: 1, MemMib: -1}}, CodeMalformed},
		{"with too many resources", 1, 1, []*AgentExecutor{{AgentId: "a1", First: 1, Resources: [][]byte{make([]byte, maxResources)}}}, CodeMalformed},
		{"with its executor", 1, 1, []*AgentExecutor{{AgentId: "a1", First: 1, Cpus: 1}}, CodeOK},
		{"on that", 2, 1, nil, CodeOK},
		{"on that, with another one", 3, 3, []*AgentExecutor{{AgentId: "a1", First: 3}}, CodeConflict},
	} {
		if got := launch(&fsmpb.ExecutorLaunch{Number: c.number, AgentId: "a1", Host: "h", Cpus: 1, Executor: c.executor}, c.executors...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	a, _ := n.s.App(app)
	x := a.OnAgent("a1")
	if x == nil || x.First != 1 || x.SinceMs != n.now || x.FrameworkId != "fw-app" || x.Host != "h" || a.OnAgent("a2") != nil || a.NextNumber != 3 {
		t.Errorf("%+v of %+v", x, a)
	}
	checkInvariants(t, n.s)
}

func TestNoTaskIsLaunchedThatCannotBe(t *testing.T) {
	n := newNode(t)
	app := n.tasksApp("app")
	for _, l := range []*fsmpb.ExecutorLaunch{
		{AgentId: ""}, {AgentId: strings.Repeat("a", 300)}, {AgentId: "a", Host: strings.Repeat("h", maxText+1)},
		{AgentId: "a", Name: strings.Repeat("h", maxText+1)}, {AgentId: "a", Cpus: -1}, {AgentId: "a", Cpus: math.Inf(1)}, {AgentId: "a", Cpus: 1e9},
	} {
		r := n.do(NumberLaunchTasks, &fsmpb.LaunchTasks{AppId: app, Launches: []*fsmpb.ExecutorLaunch{l}, Executors: []*AgentExecutor{{AgentId: l.AgentId}}})
		wantCode(t, r.Launches[0].Code, CodeMalformed)
	}
	n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: "new"})
	wantCode(t, uint32(n.tryTask("new", "a", 1)), CodeNotReady)
	coarse := n.app("coarse", 1)
	wantCode(t, uint32(n.tryTask(coarse, "a", 1)), CodeIllegal)
	n.executor(coarse, "a")
	n.ok(NumberSetTotals, &fsmpb.SetTotals{AppId: coarse})
	wantCode(t, uint32(n.tryTask(coarse, "a", 1)), CodeIllegal)
	n.ok(NumberStopApp, &fsmpb.StopApp{AppId: "new"})
	wantCode(t, uint32(n.tryTask("new", "a", 1)), CodeTerminated)
	wantCode(t, n.do(NumberLaunchTasks, &fsmpb.LaunchTasks{AppId: "nobody"}).Code, CodeNotFound)
	n.task(app, "a", 1)
	wantCode(t, n.totals(app, 1).Code, CodeIllegal)
	checkInvariants(t, n.s)
}

func TestTheEndOfAnExecutorEndsItsTasks(t *testing.T) {
	n := newNode(t)
	app := n.tasksApp("app")
	running, killed, done, other := n.task(app, "a1", 1), n.task(app, "a1", 2), n.task(app, "a1", 3), n.task(app, "a2", 4)
	n.execStatus(app, running, TaskRunning)
	n.execStatus(app, done, TaskFinished)
	n.killExec(app, killed)
	for _, c := range []struct {
		app, agent string
		first      uint64
		want       Code
	}{{app, "a1", 2, CodeUnchanged}, {app, "a3", 1, CodeUnchanged}, {"nobody", "a1", 1, CodeNotFound}, {app, "a1", 1, CodeOK}, {app, "a1", 1, CodeUnchanged}} {
		if got := n.endExecutor(c.app, c.agent, c.first); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if e := n.wantExecutor(app, running, ExecutorLost); e.Reason != "exit status 9" {
		t.Errorf("%+v", e)
	}
	n.wantExecutor(app, killed, ExecutorKilled)
	n.wantExecutor(app, done, ExecutorFinished)
	n.wantExecutor(app, other, ExecutorLaunching)
	a, _ := n.s.App(app)
	if a.OnAgent("a1") != nil || a.OnAgent("a2") == nil || a.NotBeforeMs("a1") != n.now+dropWaitMs || a.NotBeforeMs("a2") != 0 {
		t.Errorf("%+v", a)
	}
	n.execStatus(app, n.task(app, "a1", 8), TaskRunning)
	if a, _ := n.s.App(app); len(a.Exclusions) != 0 {
		t.Errorf("an executor that runs tasks does not end the wait: %v", a.Exclusions)
	}
	wantCode(t, uint32(n.endExecutor(app, "a1", 8)), CodeOK)
	n.task(app, "a1", 9)
	if a, _ := n.s.App(app); a.OnAgent("a1").First != 9 {
		t.Errorf("%+v", a.AgentExecutors)
	}
	if r := n.execStatus(app, running, TaskRunning); Code(r.Code) != CodeStale || !r.Kill {
		t.Errorf("a task of it that came back is not killed: %v", r)
	}
	checkInvariants(t, n.s)
	wantCode(t, n.appEvent(app, FrameworkRemove, "").Code, CodeOK)
	if a, _ := n.s.App(app); len(a.AgentExecutors) != 0 {
		t.Errorf("executors of a framework that is no more: %v", a.AgentExecutors)
	}
	checkInvariants(t, n.s)
}

func TestTasksDroppedTogetherHoldTheAgentBackOnce(t *testing.T) {
	n := newNode(t)
	app := n.tasksApp("app")
	body := &fsmpb.RecordExecutorStatuses{AppId: app}
	for i := range uint64(50) {
		body.Statuses = append(body.Statuses, &Status{TaskId: n.task(app, "a1", i), State: int32(TaskDropped)})
	}
	n.ok(NumberRecordExecutorStatuses, body)
	a, _ := n.s.App(app)
	if wait := a.NotBeforeMs("a1") - n.now; wait != dropWaitMs {
		t.Errorf("the agent is held back for %d ms", wait)
	}
}

func TestMoreEndedTasksThanExecutorsAreKept(t *testing.T) {
	n := newNode(t)
	app := n.tasksApp("app")
	for i := range uint64(retainedTasks + 10) {
		n.execStatus(app, n.task(app, "a1", i), TaskFinished)
	}
	kept := 0
	n.s.View().Executors(app, func(*Executor) bool { kept++; return true })
	if kept != retainedTasks {
		t.Errorf("%d are kept", kept)
	}
	checkInvariants(t, n.s)
}
