package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

const executorTable = `
            dropped  starting  running   finished  failed  lost    ended   kill
LAUNCHING   LOST     STARTING  RUNNING   FINISHED  FAILED  LOST    KILLED  DRAINING
STARTING    -        STARTING  RUNNING   FINISHED  FAILED  LOST    KILLED  DRAINING
RUNNING     -        RUNNING   RUNNING   FINISHED  FAILED  LOST    KILLED  DRAINING
DRAINING    KILLED   DRAINING  DRAINING  FINISHED  KILLED  KILLED  KILLED  DRAINING
FINISHED    -        -         -         -         -       -       -       -
FAILED      -        -         -         -         -       -       -       -
KILLED      -        -         -         -         -       -       -       -
LOST        -        -         -         -         -       -       -       -
`

// app registers an application whose framework is subscribed.
func (n *node) app(id string, total int64) string {
	n.t.Helper()
	n.ok(NumberRegisterApp, &fsmpb.RegisterApp{
		AppId: id, Name: "pi", Spec: []byte{1, 2}, User: "u", MaxAgentFailures: 2, ExcludeMs: 60_000,
		Totals: []*ProfileTotal{{Total: total}},
	})
	n.appEvent(id, FrameworkSubscribe, "fw-"+id)
	return id
}

func (n *node) appEvent(id, event, framework string) *fsmpb.Result {
	n.t.Helper()
	return n.do(NumberAppFrameworkEvent, &fsmpb.AppFrameworkEvent{
		AppId: id, Event: &fsmpb.FrameworkEvent{Event: event, FrameworkId: framework, Master: "m:5050", Message: "why"},
	})
}

func (n *node) totals(id string, total int64) *fsmpb.Result {
	n.t.Helper()
	return n.do(NumberSetTotals, &fsmpb.SetTotals{AppId: id, Totals: []*ProfileTotal{{Total: total}}})
}

// executor commits the intent of the next executor and returns its task id.
func (n *node) executor(app, agent string) string {
	n.t.Helper()
	a, _ := n.s.App(app)
	r := n.ok(NumberLaunchExecutors, &fsmpb.LaunchExecutors{AppId: app, Launches: []*fsmpb.ExecutorLaunch{{
		Number: a.NextNumber, AgentId: agent, Host: "host-" + agent, Cores: 2, MemMib: 1408, Gpus: 1,
	}}})
	if c := Code(r.Launches[0].Code); c != CodeOK {
		n.t.Fatalf("launch: %s %s", c, r.Launches[0].Message)
	}
	return fmt.Sprint(a.NextNumber)
}

func (n *node) execStatus(app, task string, state TaskState, change ...func(*Status)) *fsmpb.StatusResult {
	n.t.Helper()
	st := &Status{TaskId: task, State: int32(state)}
	for _, c := range change {
		c(st)
	}
	return n.ok(NumberRecordExecutorStatuses, &fsmpb.RecordExecutorStatuses{AppId: app, Statuses: []*Status{st}}).Statuses[0]
}

func (n *node) killExec(app string, tasks ...string) *fsmpb.Result {
	n.t.Helper()
	return n.do(NumberKillExecutors, &fsmpb.KillExecutors{AppId: app, TaskIds: tasks, Reason: "asked"})
}

func (n *node) wantExecutor(app, task string, want ExecutorState) *Executor {
	n.t.Helper()
	e, found := n.s.Executor(app, task)
	if !found || e.State != want {
		n.t.Fatalf("executor %s is %+v, want %s", task, e, want)
	}
	return e
}

// smallApps has an executor in every state, and something of all else.
func smallApps(n *node) {
	n.app("app", 20)
	n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: "idle", Name: "idle", FrameworkId: "preset", Totals: []*ProfileTotal{{Profile: 3, Cores: 2, HeapMib: 512, MemMib: 896, Gpus: 1}, {Total: 4}}})
	n.ok(NumberSetTotals, &fsmpb.SetTotals{AppId: "app", Totals: []*ProfileTotal{{Total: 9}, {Profile: 1, Total: 1}}, Hosts: []string{"h2", "h1", "h2"}})
	at := make(map[string]string)
	for _, s := range []string{"launching", "starting", "running", "draining", "finished", "failed", "killed", "lost", "dropped"} {
		n.now += 5
		at[s] = n.executor("app", "a"+s[:1])
	}
	for _, c := range []struct {
		name  string
		state TaskState
	}{{"starting", TaskStarting}, {"running", TaskRunning}, {"finished", TaskFinished}, {"failed", TaskFailed}, {"killed", TaskKilled}, {"lost", TaskLost}, {"dropped", TaskDropped}} {
		n.execStatus("app", at[c.name], c.state, full13)
	}
	n.killExec("app", at["draining"])
	n.ok(NumberExcludeHost, &fsmpb.ExcludeHost{AppId: "app", Host: "bad", UntilMs: n.now + 1000, Reason: "asked"})
	n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: "over", Name: "over"})
	n.ok(NumberStopApp, &fsmpb.StopApp{AppId: "over", Reason: "done"})
	smallHosted(n)
}

// checkExecutors looks at the executors of one state.
func checkExecutors(t interface {
	Helper()
	Fatalf(string, ...any)
}, v *View) {
	t.Helper()
	if v.t.live.Len()+v.t.ended.Len() != v.t.executors.Len() {
		t.Fatalf("%d executors, %d live and %d ended", v.t.executors.Len(), v.t.live.Len(), v.t.ended.Len())
	}
	v.Apps(func(a *App) bool {
		if a.Hosted() != (a.Heard > 0) || a.Hosted() != (a.HeardMs > 0) {
			t.Fatalf("signs of life of %+v", a)
		}
		ended := 0
		v.Executors(a.ID, func(e *Executor) bool {
			_, live := v.t.live.Get(executorKey(a.ID, e.Number))
			if x := a.OnAgent(e.AgentID); live && a.FineGrained && (x == nil || x.First != e.First) {
				t.Fatalf("task %+v of %+v has no executor", e, a)
			}
			if e.Number >= a.NextNumber || live == e.State.Terminal() || e.State.Terminal() != (e.EndedMs != 0) || e.State.Terminal() != (e.EndSeq != 0) {
				t.Fatalf("executor %+v of %+v; live: %v", e, a, live)
			}
			if e.State.Terminal() {
				ended++
			}
			if !e.State.Terminal() && a.Over() {
				t.Fatalf("application %s is over, executor %d is %s", a.ID, e.Number, e.State)
			}
			return true
		})
		if why := invalidAgentExecutors(a); why != "" {
			t.Fatalf("application %s: %s", a.ID, why)
		}
		if uint64(ended) > a.retained() {
			t.Fatalf("%d ended executors are kept", ended)
		}
		return true
	})
}

func TestEveryStateOfAnExecutorAgreesWithTheTable(t *testing.T) {
	states, events, next := goldenTable(executorTable)
	for _, s := range states {
		leaves := false
		for _, e := range events {
			leaves = leaves || next[[2]string{s, e}] != ""
		}
		if ExecutorState(s).Terminal() == leaves {
			t.Errorf("%s: Terminal() is %v, but events lead out: %v", s, !leaves, leaves)
		}
	}
}

func TestStatusesMoveAnExecutor(t *testing.T) {
	const never = TaskState(-1)
	for _, c := range []struct {
		name           string
		before, status TaskState
		change         func(*Status)
		kill           bool
		want           ExecutorState
		failures       uint32
	}{
		{"staging", never, TaskStaging, nil, false, ExecutorLaunching, 0},
		{"starting", never, TaskStarting, nil, false, ExecutorStarting, 0},
		{"running", TaskStarting, TaskRunning, nil, false, ExecutorRunning, 0},
		{"no way back", TaskRunning, TaskStarting, nil, false, ExecutorRunning, 0},
		{"killing by mesos", TaskRunning, TaskKilling, nil, false, ExecutorRunning, 0},
		{"finished", TaskRunning, TaskFinished, nil, false, ExecutorFinished, 0},
		{"failed", TaskRunning, TaskFailed, nil, false, ExecutorFailed, 1},
		{"failed at once", never, TaskFailed, nil, false, ExecutorFailed, 1},
		{"killed", TaskRunning, TaskKilled, nil, false, ExecutorKilled, 0},
		{"lost", TaskRunning, TaskLost, nil, false, ExecutorLost, 1},
		{"error", never, TaskError, nil, false, ExecutorLost, 1},
		{"unreachable", TaskRunning, TaskUnreachable, nil, false, ExecutorLost, 1},
		{"gone", TaskRunning, TaskGone, nil, false, ExecutorFailed, 1},
		{"gone by operator", TaskRunning, TaskGoneByOperator, nil, false, ExecutorFailed, 1},
		{"dropped", never, TaskDropped, nil, false, ExecutorLost, 0},
		{"never arrived", never, TaskLost, reason(ReasonReconciliation), false, ExecutorLost, 0},
		{"gone after it ran", TaskRunning, TaskLost, reason(ReasonReconciliation), false, ExecutorLost, 1},
		{"draining, running", TaskStarting, TaskRunning, nil, true, ExecutorDraining, 0},
		{"draining, killed", TaskRunning, TaskKilled, nil, true, ExecutorKilled, 0},
		{"draining, failed", TaskRunning, TaskFailed, nil, true, ExecutorKilled, 0},
		{"draining, lost", TaskRunning, TaskLost, nil, true, ExecutorKilled, 0},
		{"draining, finished", TaskRunning, TaskFinished, nil, true, ExecutorFinished, 0},
		{"draining, dropped", never, TaskDropped, nil, true, ExecutorKilled, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			app := n.app("app", 1)
			task := n.executor(app, "a1")
			if c.before != never {
				n.execStatus(app, task, c.before)
			}
			if c.kill {
				wantCode(t, n.killExec(app, task).Code, CodeOK)
			}
			r := n.execStatus(app, task, c.status, func(st *Status) {
				if c.change != nil {
					c.change(st)
				}
			})
			wantCode(t, r.Code, CodeOK)
			n.wantExecutor(app, task, c.want)
			a, _ := n.s.App(app)
			got := uint32(0)
			if len(a.Exclusions) > 0 {
				got = a.Exclusions[0].Failures
			}
			if got != c.failures {
				t.Errorf("%d failures are held against the agent, want %d", got, c.failures)
			}
			checkInvariants(t, n.s)
		})
	}
}

func TestAStatusOfAnExecutorThatIsOverCountsForNothing(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 3)
	task := n.executor(app, "a1")
	uuid := func(st *Status) { st.Uuid = []byte{1} }
	n.execStatus(app, task, TaskFailed, uuid)
	wantCode(t, n.execStatus(app, task, TaskFailed, uuid).Code, CodeDuplicate)
	wantCode(t, n.execStatus(app, task, TaskFailed).Code, CodeStale)
	if r := n.execStatus(app, task, TaskRunning); Code(r.Code) != CodeStale || !r.Kill {
		t.Errorf("a task that came back is not killed: %v", r)
	}
	if a, _ := n.s.App(app); a.Exclusions[0].Failures != 1 || a.Exclusions[0].Excluded {
		t.Errorf("%v", a.Exclusions)
	}
	if r := n.execStatus(app, "77", TaskRunning); Code(r.Code) != CodeUnknownTask || !r.Kill {
		t.Errorf("%v", r)
	}
	if r := n.execStatus(app, "00", TaskRunning); Code(r.Code) != CodeUnknownTask {
		t.Errorf("another spelling of a number is taken for it: %v", r)
	}
	wantCode(t, n.execStatus(app, task, TaskState(99)).Code, CodeMalformed)
	wantCode(t, n.do(NumberRecordExecutorStatuses, &fsmpb.RecordExecutorStatuses{AppId: "x"}).Code, CodeNotFound)
}

func TestAnAgentIsExcludedAfterTwoFailuresUntilThatExpires(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 10)
	fail := func(agent string) {
		n.execStatus(app, n.executor(app, agent), TaskFailed)
	}
	excluded := func(agent string) bool {
		a, _ := n.s.App(app)
		return a.Excluded(agent, "host-"+agent, n.now) != nil
	}
	fail("a1")
	fail("a2")
	if excluded("a1") || excluded("a2") {
		t.Fatal("excluded after one failure")
	}
	fail("a1")
	if !excluded("a1") || excluded("a2") {
		t.Fatal("not excluded after two failures")
	}
	n.now += 60_000
	if excluded("a1") {
		t.Fatal("the exclusion does not expire")
	}
	fail("a1")
	if excluded("a1") {
		t.Fatal("failures from before the exclusion count again")
	}
	t.Run("for good", func(t *testing.T) {
		n := newNode(t)
		app := n.app("app", 10)
		n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: app, Name: "pi", MaxAgentFailures: 1})
		n.execStatus(app, n.executor(app, "a1"), TaskLost)
		n.now += 1 << 40
		if a, _ := n.s.App(app); a.Excluded("a1", "", n.now) == nil {
			t.Error("it expired")
		}
		n.ok(NumberExcludeHost, &fsmpb.ExcludeHost{AppId: app, AgentId: "a1", Lift: true})
		if a, _ := n.s.App(app); a.Excluded("a1", "", n.now) != nil {
			t.Error("it was not lifted")
		}
	})
}

func TestExcludeHost(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 1)
	exclude := func(c *fsmpb.ExcludeHost) Code {
		c.AppId = app
		return Code(n.do(NumberExcludeHost, c).Code)
	}
	for _, c := range []struct {
		body *fsmpb.ExcludeHost
		want Code
	}{
		{&fsmpb.ExcludeHost{Host: "h"}, CodeOK},
		{&fsmpb.ExcludeHost{AgentId: "a", UntilMs: n.now + 5}, CodeOK},
		{&fsmpb.ExcludeHost{}, CodeMalformed},
		{&fsmpb.ExcludeHost{Host: "h", AgentId: "a"}, CodeMalformed},
		{&fsmpb.ExcludeHost{Host: strings.Repeat("h", 300)}, CodeMalformed},
		{&fsmpb.ExcludeHost{Host: "h", UntilMs: -1}, CodeMalformed},
		{&fsmpb.ExcludeHost{Host: "nobody", Lift: true}, CodeUnchanged},
	} {
		if got := exclude(c.body); got != c.want {
			t.Errorf("%v: %s, want %s", c.body, got, c.want)
		}
	}
	a, _ := n.s.App(app)
	if a.Excluded("x", "h", n.now) == nil || a.Excluded("a", "x", n.now) == nil || a.Excluded("a", "x", n.now+5) != nil || a.Excluded("x", "x", n.now) != nil {
		t.Errorf("%v", a.Exclusions)
	}
	checkInvariants(t, n.s)
}

func TestNoExecutorIsLaunchedThatIsNotWanted(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 1)
	try := func(l *fsmpb.ExecutorLaunch) Code {
		r := n.do(NumberLaunchExecutors, &fsmpb.LaunchExecutors{AppId: app, Launches: []*fsmpb.ExecutorLaunch{l}})
		if len(r.Launches) == 0 {
			return Code(r.Code)
		}
		return Code(r.Launches[0].Code)
	}
	for _, c := range []struct {
		name   string
		launch *fsmpb.ExecutorLaunch
		want   Code
	}{
		{"number to come", &fsmpb.ExecutorLaunch{Number: 1}, CodeConflict},
		{"other profile", &fsmpb.ExecutorLaunch{Profile: 1}, CodeConflict},
		{"negative cores", &fsmpb.ExecutorLaunch{Cores: -1}, CodeMalformed},
		{"long host", &fsmpb.ExecutorLaunch{Host: strings.Repeat("h", maxText+1)}, CodeMalformed},
		{"the first", &fsmpb.ExecutorLaunch{}, CodeOK},
		{"number used", &fsmpb.ExecutorLaunch{}, CodeConflict},
		{"beyond the total", &fsmpb.ExecutorLaunch{Number: 1}, CodeConflict},
	} {
		if got := try(c.launch); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	n.killExec(app, "0")
	if got := try(&fsmpb.ExecutorLaunch{Number: 1}); got != CodeConflict {
		t.Errorf("a draining executor does not count: %s", got)
	}
	n.execStatus(app, "0", TaskKilled)
	if got := try(&fsmpb.ExecutorLaunch{Number: 1}); got != CodeOK {
		t.Errorf("its replacement: %s", got)
	}
	t.Run("nor without a framework", func(t *testing.T) {
		n := newNode(t)
		n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: "new", Totals: []*ProfileTotal{{Total: 1}}})
		launch := func(app string) Code {
			return Code(n.do(NumberLaunchExecutors, &fsmpb.LaunchExecutors{AppId: app, Launches: []*fsmpb.ExecutorLaunch{{}}}).Code)
		}
		wantCode(t, uint32(launch("new")), CodeNotReady)
		wantCode(t, uint32(launch("nobody")), CodeNotFound)
		n.ok(NumberStopApp, &fsmpb.StopApp{AppId: "new"})
		wantCode(t, uint32(launch("new")), CodeTerminated)
	})
}

func TestKillExecutorsIsAllOrNothing(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 2)
	a, b := n.executor(app, "a1"), n.executor(app, "a2")
	wantCode(t, n.do(NumberKillExecutors, &fsmpb.KillExecutors{AppId: "nobody", TaskIds: []string{a}}).Code, CodeNotFound)
	for _, unknown := range []string{"2", "x", "", "-1", "00", "0 "} {
		wantCode(t, n.killExec(app, a, unknown).Code, CodeNotFound)
		n.wantExecutor(app, a, ExecutorLaunching)
	}
	wantCode(t, n.killExec(app, a, a, b).Code, CodeOK)
	if e := n.wantExecutor(app, a, ExecutorDraining); e.Reason != "asked" {
		t.Errorf("reason %q", e.Reason)
	}
	n.wantExecutor(app, b, ExecutorDraining)
	n.execStatus(app, a, TaskKilled)
	wantCode(t, n.killExec(app, a).Code, CodeUnchanged)
	wantCode(t, n.killExec(app).Code, CodeUnchanged)
	checkInvariants(t, n.s)
}

func TestStopDrainsAndTearDownEnds(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 3)
	a, b := n.executor(app, "a1"), n.executor(app, "a2")
	n.execStatus(app, a, TaskRunning)
	wantCode(t, n.do(NumberStopApp, &fsmpb.StopApp{AppId: app, Reason: "done"}).Code, CodeOK)
	wantCode(t, n.do(NumberStopApp, &fsmpb.StopApp{AppId: app}).Code, CodeUnchanged)
	n.wantExecutor(app, a, ExecutorDraining)
	n.wantExecutor(app, b, ExecutorDraining)
	for _, r := range []*fsmpb.Result{n.totals(app, 5), n.do(NumberRegisterApp, &fsmpb.RegisterApp{AppId: app}), n.do(NumberExcludeHost, &fsmpb.ExcludeHost{AppId: app, Host: "h"})} {
		wantCode(t, r.Code, CodeTerminated)
	}
	n.execStatus(app, a, TaskKilled)
	if s, _ := n.s.App(app); s.Over() {
		t.Error("over before its framework is")
	}
	wantCode(t, n.appEvent(app, FrameworkTearDown, "").Code, CodeOK)
	n.wantExecutor(app, b, ExecutorKilled)
	if s, _ := n.s.App(app); !s.Over() || s.StopReason != "done" {
		t.Errorf("%+v", s)
	}
	checkInvariants(t, n.s)
}

func TestTheFrameworkOfAnApplication(t *testing.T) {
	n := newNode(t)
	app := n.app("app", 2)
	task := n.executor(app, "a1")
	wantCode(t, n.appEvent(app, FrameworkSubscribe, "other").Code, CodeFrameworkID)
	wantCode(t, n.appEvent(app, FrameworkSubscribe, "").Code, CodeMalformed)
	wantCode(t, n.appEvent("nobody", FrameworkSubscribe, "x").Code, CodeNotFound)
	wantCode(t, n.do(NumberAppFrameworkEvent, &fsmpb.AppFrameworkEvent{AppId: app}).Code, CodeMalformed)
	wantCode(t, n.appEvent(app, FrameworkSubscribe, "fw-app").Code, CodeUnchanged)
	wantCode(t, n.appEvent(app, FrameworkDisconnect, "").Code, CodeOK)
	wantCode(t, n.appEvent(app, FrameworkReset, "").Code, CodeIllegal)
	wantCode(t, n.appEvent(app, FrameworkRemove, "").Code, CodeOK)
	if e := n.wantExecutor(app, task, ExecutorLost); !strings.Contains(e.Reason, "removed") {
		t.Errorf("reason %q", e.Reason)
	}
	if a, _ := n.s.App(app); len(a.Exclusions) != 0 {
		t.Error("its end is held against the agent")
	}
	wantCode(t, n.appEvent(app, FrameworkReset, "").Code, CodeOK)
	if a, _ := n.s.App(app); a.Framework.ID != "" || a.Framework.State != FrameworkNew || a.NextNumber != 1 {
		t.Errorf("%+v", a)
	}
	checkInvariants(t, n.s)
}
