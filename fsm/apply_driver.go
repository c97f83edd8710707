package fsm

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func applySubmitDriver(t *txn, c *fsmpb.SubmitDriver) *fsmpb.Result {
	if r := t.acceptsDrivers(); r != nil {
		return r
	}
	if why := invalidSubmission(c); why != "" {
		return refuse(CodeMalformed, "%s", why)
	}
	id, seq := c.DriverId, t.s.nextSeq
	if id == "" {
		id, seq = t.newDriverID(c.IdPrefix)
	} else if _, taken := t.t.drivers.Get(id); taken {
		return refuse(CodeConflict, "driver %s exists already", id)
	}
	submitted := c.SubmittedMs
	if submitted == 0 {
		submitted = t.timeMs
	}
	d := &Driver{
		ID: id, Seq: seq, State: DriverQueued,
		Name: c.Name, MainClass: c.MainClass, Queue: c.Queue, Priority: c.Priority,
		Cores: c.Cores, MemMiB: c.MemMib, Supervise: c.Supervise, MaxRetries: c.MaxRetries,
		Spec: c.Spec, User: c.User, SubmittedMs: submitted, ChangedMs: t.timeMs,
	}
	t.s.nextSeq = seq + 1
	t.enter(d)
	t.changed(d, "submit", "", "")
	return &fsmpb.Result{DriverId: id}
}

// acceptsDrivers is nil, or why no driver is taken in at the moment.
func (t *txn) acceptsDrivers() *fsmpb.Result {
	switch fw := t.s.framework; fw.State {
	case FrameworkRemoved, FrameworkTornDown:
		return refuse(CodeNotReady, "Scheduler is not ready to take requests: the framework is %s; "+
			"an operator can go on with 'ha-dispatcher cluster reset-framework'", fw.State)
	case FrameworkNew:
		return refuse(CodeNotReady, "Scheduler is not ready to take requests")
	}
	p := t.s.policy
	n := t.t.waiting.Len()
	if p.MaxDriversCountsLaunched {
		n = t.t.active.Len()
	}
	if n >= int(p.MaxDrivers) {
		return refuse(CodeQueueFull, "Already reached maximum submission size")
	}
	return nil
}

// newDriverID appends the replicated counter, so that ids are unique whatever
// clock and time zone stamped the prefix. Numbers that a migrated driver has
// taken are passed over for good, so that no id is given twice.
func (t *txn) newDriverID(prefix string) (id string, seq uint64) {
	for n := t.s.nextSeq; ; n++ {
		id := fmt.Sprintf("%s%04d", prefix, n)
		if _, taken := t.t.drivers.Get(id); !taken {
			return id, n
		}
	}
}

func applyKillDriver(t *txn, c *fsmpb.KillDriver) *fsmpb.Result {
	d, found := t.t.drivers.Get(c.DriverId)
	if !found {
		r := refuse(CodeNotFound, "Cannot find driver")
		r.DriverId = c.DriverId
		return r
	}
	if d.State.Terminal() {
		r := refuse(CodeTerminated, "Driver already terminated")
		r.DriverId = d.ID
		return r
	}
	was := d.State
	next := *d
	if was != DriverKilling { // the first kill is the one that ended it
		next.Reason = clip(c.Reason)
	}
	if r := t.move(d, &next, EventKill, ""); r != nil {
		return r
	}
	r := &fsmpb.Result{DriverId: d.ID, Code: uint32(CodeKillingRunning), Message: "Killing running driver"}
	switch was {
	case DriverQueued:
		r.Code, r.Message = uint32(CodeKilledQueued), "Removed driver while it's still pending"
	case DriverRetrying:
		r.Code, r.Message = uint32(CodeKilledRetrying), "Removed driver while it's being retried"
	}
	return r
}

func applyLaunchDrivers(t *txn, c *fsmpb.LaunchDrivers) *fsmpb.Result {
	r := ok()
	for _, l := range c.Launches {
		lr := &fsmpb.LaunchResult{}
		if refused := t.launch(l); refused != nil {
			lr.Code, lr.Message = refused.Code, refused.Message
		}
		r.Launches = append(r.Launches, lr)
	}
	return r
}

func (t *txn) launch(l *fsmpb.Launch) *fsmpb.Result {
	d, found := t.t.drivers.Get(l.DriverId)
	fw := t.s.framework.State
	switch {
	case fw != FrameworkSubscribed && fw != FrameworkDisconnected:
		return refuse(CodeNotReady, "no driver can be launched: the framework is %s", fw)
	case !found:
		return refuse(CodeNotFound, "no driver %s", l.DriverId)
	case l.Attempt != d.NextAttempt:
		return refuse(CodeConflict, "driver %s is at attempt %d, not %d", d.ID, d.NextAttempt, l.Attempt)
	case l.TaskId != TaskID(d.ID, l.Attempt):
		return refuse(CodeMalformed, "task id %s does not name attempt %d of %s", l.TaskId, l.Attempt, d.ID)
	case len(l.AgentId)+len(l.AgentHost)+len(l.FrameworkId) > maxText:
		return refuse(CodeMalformed, "names in the launch of %s are longer than %d bytes", d.ID, maxText)
	}
	next := *d
	next.Attempts = append(d.Attempts[:len(d.Attempts):len(d.Attempts)], &Attempt{
		Number: l.Attempt, TaskID: l.TaskId, AgentID: l.AgentId, AgentHost: l.AgentHost,
		FrameworkID: l.FrameworkId, LaunchedMs: t.timeMs,
	})
	if n := len(next.Attempts); n > maxAttempts {
		next.Attempts = append([]*Attempt{next.Attempts[0]}, next.Attempts[2:]...)
		next.AttemptsForgotten++
	}
	next.NextAttempt++
	next.NotBeforeMs = 0
	next.Reason = ""
	return t.move(d, &next, EventLaunch, l.TaskId)
}

func applyRejectDriver(t *txn, c *fsmpb.RejectDriver) *fsmpb.Result {
	d, found := t.t.drivers.Get(c.DriverId)
	if !found {
		return refuse(CodeNotFound, "no driver %s", c.DriverId)
	}
	next := *d
	next.Reason = clip(c.Reason)
	if r := t.move(d, &next, EventReject, ""); r != nil {
		return r
	}
	return &fsmpb.Result{DriverId: d.ID}
}

// move makes the transition of event from d to next, which differs from d in
// whatever the event brings; nil, or the refusal of an illegal one.
func (t *txn) move(d, next *Driver, event, taskID string) *fsmpb.Result {
	state, err := t.driverFSM.Next(string(d.State), event)
	if err != nil {
		return refuse(CodeIllegal, "driver %s: %v", d.ID, err)
	}
	next.State = DriverState(state)
	if next.State != d.State {
		next.ChangedMs = t.timeMs
	}
	if next.State.Terminal() {
		t.trim()
		next.FinishedMs = t.timeMs
		next.FinishSeq = t.s.nextFinish
		next.NotBeforeMs = 0
		t.s.nextFinish++
	}
	t.replace(d, next)
	if d.State != next.State {
		t.changed(next, event, d.State, taskID)
	}
	return nil
}

// replace exchanges a record in every index that holds it.
func (t *txn) replace(old, next *Driver) {
	t.leave(old, next.State)
	t.enter(next)
}

func (t *txn) enter(d *Driver) {
	t.t.drivers.Set(d.ID, d)
	t.t.bySeq.Set(d.Seq, d)
	switch {
	case d.State == DriverQueued:
		t.t.waiting.Set(d)
	case d.State == DriverRetrying:
		t.t.retrying.Set(d)
	case d.State.Active():
		t.t.active.Set(d.ID, d)
	default:
		t.t.finished.Set(d.FinishSeq, d)
	}
}

// leave takes d out of the index of its state, unless the record that follows
// it will overwrite it there.
func (t *txn) leave(d *Driver, next DriverState) {
	switch {
	case d.State == DriverQueued:
		t.t.waiting.Delete(d)
	case d.State == DriverRetrying:
		t.t.retrying.Delete(d)
	case d.State.Active() && !next.Active():
		t.t.active.Delete(d.ID)
	}
}

// forgetAtOnce bounds how many records one entry drops: Apply must not stop for
// the time that 100,000 of them take.
const forgetAtOnce = 1000

// trim makes room for one more finished driver. As upstream does, it drops a
// tenth of the limit at once, the oldest first: with 20 to retain, 25 finished
// drivers leave 19. Of a large limit it is less than a tenth.
func (t *txn) trim() {
	if limit := int(t.s.policy.RetainedDrivers); t.t.finished.Len() >= limit {
		t.forgetFinished(min(max(limit/10, 1), forgetAtOnce))
	}
}

// forgetExcess drops what a lower limit has left to be dropped: every entry some.
func (t *txn) forgetExcess() {
	if excess := t.t.finished.Len() - max(int(t.s.policy.RetainedDrivers), 1); excess > 0 {
		t.forgetFinished(min(excess, forgetAtOnce))
	}
}

// forgetFinished drops the n drivers that finished first, or all there are.
func (t *txn) forgetFinished(n int) {
	for ; n > 0 && t.t.finished.Len() > 0; n-- {
		_, old, _ := t.t.finished.PopMin()
		t.t.drivers.Delete(old.ID)
		t.t.bySeq.Delete(old.Seq)
	}
}

func (t *txn) changed(d *Driver, event string, from DriverState, taskID string) {
	t.emit(Change{
		Kind: ChangeDriver, ID: d.ID, Event: event, From: string(from), To: string(d.State),
		TaskID: taskID, Reason: d.Reason, Driver: d,
	})
}

func (t *txn) emit(c Change) {
	c.Number, c.Index, c.TimeMs = t.s.nextChange, t.index, t.timeMs
	t.s.nextChange++
	t.changes = append(t.changes, c)
}
