package fsm

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func importOf(id string, state DriverState, attempt uint32) *fsmpb.ImportDriver {
	c := &fsmpb.ImportDriver{
		FrameworkId: "fw", State: string(state),
		Driver: &fsmpb.SubmitDriver{DriverId: id, Name: "job", Cores: 1, MemMib: 1024, Supervise: true, SubmittedMs: startMs - 9000},
	}
	if state != DriverQueued {
		c.Attempt, c.TaskId, c.AgentId, c.AppId, c.LaunchedMs = attempt, TaskID(id, attempt), "agent-1", "fw-"+TaskID(id, attempt), startMs-8000
	}
	return c
}

func TestAnImportedDriverGoesOnWhereItStood(t *testing.T) {
	n := newNode(t)
	n.policy(func(p *Policy) { p.MaxDrivers = 1 })
	for _, id := range []string{"q-1", "q-2", "q-3"} { // upstream's queue has no limit
		n.ok(NumberImportDriver, importOf(id, DriverQueued, 0))
	}
	n.ok(NumberImportDriver, importOf("run", DriverRunning, 0))
	n.ok(NumberImportDriver, importOf("rerun", DriverRunning, 5))
	retry := importOf("retry", DriverRetrying, 1)
	retry.Retries, retry.WaitS, retry.NotBeforeMs = 2, 2, startMs+5000
	retry.Last = &Status{State: int32(TaskFailed), Message: "exit 1"}
	n.ok(NumberImportDriver, retry)
	if fw := n.s.Framework(); fw.State != FrameworkNew || fw.ID != "fw" {
		t.Fatalf("%+v", fw)
	}
	wantCode(t, n.framework(FrameworkSubscribe, "other").Code, CodeFrameworkID)
	wantCode(t, n.framework(FrameworkSubscribe, "fw").Code, CodeOK)
	checkInvariants(t, n.s)

	var queue []string
	n.s.View().Waiting(func(d *Driver) bool { queue = append(queue, d.ID); return true })
	if strings.Join(queue, " ") != "q-1 q-2 q-3" || n.driver("q-1").SubmittedMs != startMs-9000 {
		t.Errorf("queue is %v", queue)
	}
	if task := n.launch("q-1"); task != "q-1" {
		t.Errorf("task %s", task)
	}
	if d := n.driver("retry"); d.State != DriverRetrying || d.Retries != 2 || d.WaitSeconds != 2 || d.NotBeforeMs != startMs+5000 || d.LastStatus().Message != "exit 1" {
		t.Errorf("%+v", d)
	}
	if task := n.launch("retry"); task != "retry-retry-2" {
		t.Errorf("next task of a driver with two failures is %s", task)
	}
	n.status("rerun-retry-5", TaskRunning)
	n.status("rerun-retry-5", TaskFinished)
	if d := n.driver("rerun"); d.State != DriverFinished || d.AttemptsForgotten != 4 {
		t.Errorf("%+v", d)
	}
	checkInvariants(t, n.s)
}

func TestAnImportedTaskThatMesosDoesNotKnowMayHaveRun(t *testing.T) {
	n := newNode(t)
	n.ok(NumberImportDriver, importOf("again", DriverRunning, 0))
	once := importOf("once", DriverRunning, 0)
	once.Driver.Supervise = false
	n.ok(NumberImportDriver, once)
	n.framework(FrameworkSubscribe, "fw")
	for id, want := range map[string]DriverState{"again": DriverRetrying, "once": DriverLost} {
		n.status(id, TaskLost, reason(ReasonReconciliation))
		if d := n.driver(id); d.State != want {
			t.Errorf("%s is %s, want %s", id, d.State, want)
		}
	}
}

func TestAnImportMayBeRepeatedAndEndsWithTheFirstSubscription(t *testing.T) {
	n := newNode(t)
	n.ok(NumberImportDriver, importOf("a", DriverQueued, 0))
	want := describe(n.s)
	wantCode(t, n.do(NumberImportDriver, importOf("a", DriverRunning, 0)).Code, CodeUnchanged)
	if got := n.driver("a"); got.State != DriverQueued {
		t.Errorf("a repeat made it %s; before:\n%s", got.State, want)
	}
	foreign := importOf("b", DriverQueued, 0)
	foreign.FrameworkId = "other"
	wantCode(t, n.do(NumberImportDriver, foreign).Code, CodeFrameworkID)

	n.framework(FrameworkSubscribe, "fw")
	wantCode(t, n.do(NumberImportDriver, importOf("a", DriverQueued, 0)).Code, CodeUnchanged)
	r := n.do(NumberImportDriver, importOf("b", DriverQueued, 0))
	wantCode(t, r.Code, CodeConflict)
	if !strings.Contains(r.Message, "first subscription") {
		t.Error(r.Message)
	}
	n.framework(FrameworkDisconnect, "fw")
	wantCode(t, n.do(NumberImportDriver, importOf("b", DriverQueued, 0)).Code, CodeConflict)
}

func TestAClusterThatHadDriversImportsNone(t *testing.T) {
	n := subscribed(t)
	n.kill(n.submit(nil))
	n.framework(FrameworkRemove, "fw")
	n.framework(FrameworkReset, "")
	wantCode(t, n.do(NumberImportDriver, importOf("a", DriverQueued, 0)).Code, CodeConflict)
	if fw := n.s.Framework(); fw.ID != "" {
		t.Errorf("%+v", fw)
	}
}

func TestAnImportThatMakesNoSenseIsRefused(t *testing.T) {
	n := newNode(t)
	for what, damage := range map[string]func(*fsmpb.ImportDriver){
		"no framework":         func(c *fsmpb.ImportDriver) { c.FrameworkId = "" },
		"no driver":            func(c *fsmpb.ImportDriver) { c.Driver = nil },
		"no id":                func(c *fsmpb.ImportDriver) { c.Driver.DriverId = "" },
		"id with a slash":      func(c *fsmpb.ImportDriver) { c.Driver.DriverId = "a/b" },
		"terminal state":       func(c *fsmpb.ImportDriver) { c.State = string(DriverFinished) },
		"no state":             func(c *fsmpb.ImportDriver) { c.State = "" },
		"task of another":      func(c *fsmpb.ImportDriver) { c.TaskId = "x" },
		"attempt out of range": func(c *fsmpb.ImportDriver) { c.Attempt, c.TaskId = 1<<21, TaskID("d", 1<<21) },
		"negative retries":     func(c *fsmpb.ImportDriver) { c.Retries = -1 },
		"negative wait":        func(c *fsmpb.ImportDriver) { c.WaitS = -1 },
		"negative time":        func(c *fsmpb.ImportDriver) { c.LaunchedMs = -1 },
		"long names":           func(c *fsmpb.ImportDriver) { c.AgentHost = strings.Repeat("h", maxText+1) },
		"unknown status":       func(c *fsmpb.ImportDriver) { c.Last = &Status{State: 99} },
		"long status":          func(c *fsmpb.ImportDriver) { c.Last = &Status{Uuid: make([]byte, maxText+1)} },
	} {
		c := proto.Clone(importOf("d", DriverRunning, 1)).(*fsmpb.ImportDriver)
		damage(c)
		if r := n.do(NumberImportDriver, c); Code(r.Code) != CodeMalformed {
			t.Errorf("%s: %s %s", what, Code(r.Code), r.Message)
		}
	}
	if n.s.View().Len() != 0 || n.s.Framework().ID != "" {
		t.Error("a refused import changed the state")
	}
}

func TestDriversOfOneImportAreTakenOverInOrderWhateverBecomesOfOne(t *testing.T) {
	n := newNode(t)
	bad := importOf("bad", DriverFinished, 0)
	batch := &fsmpb.ImportDrivers{Drivers: []*fsmpb.ImportDriver{
		importOf("b", DriverQueued, 0), bad, importOf("a", DriverQueued, 0), importOf("b", DriverQueued, 0),
	}}
	for round, want := range [][]Code{{CodeOK, CodeMalformed, CodeOK, CodeUnchanged}, {CodeUnchanged, CodeMalformed, CodeUnchanged, CodeUnchanged}} {
		r := n.ok(NumberImportDrivers, batch)
		if len(r.Imports) != len(want) {
			t.Fatalf("%d results", len(r.Imports))
		}
		for i, w := range want {
			if Code(r.Imports[i].Code) != w {
				t.Errorf("round %d, driver %d: %s, want %s", round, i, Code(r.Imports[i].Code), w)
			}
		}
	}
	var queue []string
	n.s.View().Waiting(func(d *Driver) bool { queue = append(queue, d.ID); return true })
	if strings.Join(queue, " ") != "b a" {
		t.Errorf("queue is %v", queue)
	}
	if n.ok(NumberImportDrivers, &fsmpb.ImportDrivers{}).Imports != nil || n.s.Framework().ID != "fw" {
		t.Error("an import of nothing did something")
	}
	checkInvariants(t, n.s)
}
