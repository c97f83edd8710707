package fsm

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// EventImport is the change that takes over a driver of another dispatcher. It
// is no event of the lifecycle: it only ever makes a driver.
const EventImport = "import"

// maxImportedAttempt bounds the number that an imported driver's attempts begin
// at; at one a minute it takes two years to get there.
const maxImportedAttempt = 1 << 20

func applyImportDriver(t *txn, c *fsmpb.ImportDriver) *fsmpb.Result {
	code, message := t.importDriver(c)
	r := &fsmpb.Result{Code: uint32(code), Message: message}
	if !code.Refused() {
		r.DriverId = c.Driver.DriverId
	}
	return r
}

// applyImportDrivers takes over drivers, each on its own: one that is refused
// does not hold up those behind it.
func applyImportDrivers(t *txn, c *fsmpb.ImportDrivers) *fsmpb.Result {
	r := ok()
	for _, d := range c.Drivers {
		code, message := t.importDriver(d)
		r.Imports = append(r.Imports, &fsmpb.ImportResult{Code: uint32(code), Message: message})
	}
	return r
}

// importDriver takes over a driver. Imports end with the first subscription of
// the framework: from then on a driver that is not known here may have run to
// its end and been forgotten, and importing it would run it again.
func (t *txn) importDriver(c *fsmpb.ImportDriver) (Code, string) {
	if why := invalidImport(c); why != "" {
		return CodeMalformed, why
	}
	fw := t.s.framework
	if fw.ID != "" && fw.ID != c.FrameworkId {
		return CodeFrameworkID, fmt.Sprintf("framework %s is committed; %s is another one", fw.ID, c.FrameworkId)
	}
	if _, known := t.t.drivers.Get(c.Driver.DriverId); known {
		return CodeUnchanged, ""
	}
	if fw.State != FrameworkNew {
		return CodeConflict, fmt.Sprintf("driver %s is not known here and is not taken over: the framework is %s, "+
			"and since its first subscription the driver may have ended and been forgotten", c.Driver.DriverId, fw.State)
	}
	if fw.ID == "" {
		if t.t.drivers.Len() > 0 || t.s.nextFinish > 1 {
			return CodeConflict, "drivers are taken over by a new cluster only, and this one has had drivers of its own"
		}
		t.s.framework.ID, t.s.framework.SinceMs = c.FrameworkId, t.timeMs
		t.emit(Change{Kind: ChangeFramework, ID: c.FrameworkId, Event: EventImport, From: string(fw.State), To: string(fw.State)})
	}
	d := t.imported(c)
	t.s.nextSeq++
	t.enter(d)
	t.changed(d, EventImport, "", c.TaskId)
	return CodeOK, ""
}

// invalidImport is empty, or why a driver cannot be taken over.
func invalidImport(c *fsmpb.ImportDriver) string {
	switch {
	case c.FrameworkId == "" || len(c.FrameworkId) > maxText:
		return "import without a framework id, or with one that is too long"
	case c.Driver.GetDriverId() == "":
		return "import without a driver id"
	case invalidSubmission(c.Driver) != "":
		return invalidSubmission(c.Driver)
	}
	switch DriverState(c.State) {
	case DriverQueued:
		return ""
	case DriverRunning, DriverRetrying:
	default:
		return "a driver in state " + clip(c.State) + " cannot be taken over"
	}
	switch {
	case c.Attempt > maxImportedAttempt:
		return "number of the attempt is too large"
	case c.TaskId != TaskID(c.Driver.DriverId, c.Attempt):
		return "task id does not name the attempt"
	case len(c.AgentId)+len(c.AgentHost)+len(c.AppId) > maxText:
		return "names in the import are too long"
	case c.Retries < 0 || c.WaitS < 0:
		return "retries or wait is negative"
	case !validTime(c.LaunchedMs) || !validTime(c.NotBeforeMs):
		return "time of the attempt out of range"
	case c.Last != nil && !TaskState(c.Last.State).known():
		return "last status has an unknown state"
	case c.Last != nil && len(c.Last.AgentId)+len(c.Last.ExecutorId)+len(c.Last.Uuid) > maxText:
		return "last status is too long"
	}
	return ""
}

func (t *txn) imported(c *fsmpb.ImportDriver) *Driver {
	s := c.Driver
	d := &Driver{
		ID: s.DriverId, Seq: t.s.nextSeq, State: DriverState(c.State),
		Name: s.Name, MainClass: s.MainClass, Queue: s.Queue, Priority: s.Priority,
		Cores: s.Cores, MemMiB: s.MemMib, Supervise: s.Supervise, MaxRetries: s.MaxRetries,
		Spec: s.Spec, User: s.User, SubmittedMs: s.SubmittedMs, ChangedMs: t.timeMs,
	}
	if d.SubmittedMs == 0 {
		d.SubmittedMs = t.timeMs
	}
	if d.State == DriverQueued {
		return d
	}
	d.Retries, d.WaitSeconds = c.Retries, c.WaitS
	d.NextAttempt = c.Attempt + 1
	last := t.importedAttempt(c, d)
	d.Attempts = []*Attempt{last}
	if c.Attempt > 0 {
		// Of the attempts before nothing is known but that they were made.
		first := &Attempt{TaskID: TaskID(d.ID, 0), LaunchedMs: d.SubmittedMs, EndedMs: d.SubmittedMs}
		d.Attempts = []*Attempt{first, last}
		d.AttemptsForgotten = c.Attempt - 1
	}
	if d.State == DriverRetrying {
		d.NotBeforeMs = c.NotBeforeMs
	}
	return d
}

// importedAttempt is the latest attempt. One that was launched counts as
// started: if Mesos does not know its task any more, it may have run, and only
// supervision allows to run it again.
func (t *txn) importedAttempt(c *fsmpb.ImportDriver, d *Driver) *Attempt {
	a := &Attempt{
		Number: c.Attempt, TaskID: c.TaskId, AgentID: c.AgentId, AgentHost: c.AgentHost,
		FrameworkID: c.AppId, LaunchedMs: c.LaunchedMs, Last: c.Last,
	}
	if a.LaunchedMs == 0 {
		a.LaunchedMs = d.SubmittedMs
	}
	if a.Last != nil {
		a.Last.TaskId, a.Last.Message = a.TaskID, clip(a.Last.Message)
	}
	if d.State == DriverRetrying {
		a.EndedMs = t.timeMs
	} else {
		a.StartedMs = a.LaunchedMs
	}
	return a
}
