package fsm

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// How many executors, or tasks, that ended are kept of an application. More tasks,
// because a leader that takes over looks there for those of which it gets to hear.
const (
	retainedExecutors = 200
	retainedTasks     = 2000
)

func (a *App) retained() uint64 {
	if a.FineGrained {
		return retainedTasks
	}
	return retainedExecutors
}

func applyLaunchExecutors(t *txn, c *fsmpb.LaunchExecutors) *fsmpb.Result {
	a, r := t.goingOn(c.AppId)
	if r != nil {
		return r
	}
	if fw := a.Framework.State; fw != FrameworkSubscribed && fw != FrameworkDisconnected {
		return refuse(CodeNotReady, "no executor of %s can be launched: its framework is %s", a.ID, fw)
	}
	live := make(map[uint32]int64)
	t.t.liveOf(a.ID, func(e *Executor) bool {
		live[e.Profile]++
		return true
	})
	r = &fsmpb.Result{AppId: a.ID}
	for _, l := range c.Launches {
		lr := &fsmpb.LaunchResult{}
		if refused := t.launchExecutor(c.AppId, l, live); refused != nil {
			lr.Code, lr.Message = refused.Code, refused.Message
		}
		r.Launches = append(r.Launches, lr)
	}
	return r
}

func (t *txn) launchExecutor(appID string, l *fsmpb.ExecutorLaunch, live map[uint32]int64) *fsmpb.Result {
	a, _ := t.t.apps.Get(appID)
	switch {
	case l.Number != a.NextNumber:
		return refuse(CodeConflict, "application %s is at executor %d, not %d", a.ID, a.NextNumber, l.Number)
	case live[l.Profile] >= a.Total(l.Profile):
		return refuse(CodeConflict, "application %s has %d executors of profile %d already, and wants no more", a.ID, live[l.Profile], l.Profile)
	case len(l.AgentId)+len(l.Host) > maxText:
		return refuse(CodeMalformed, "names in the launch of %d are longer than %d bytes", l.Number, maxText)
	case l.Cores < 0 || l.MemMib < 0 || l.Gpus < 0:
		return refuse(CodeMalformed, "negative resources of executor %d", l.Number)
	}
	live[l.Profile]++
	next := *a
	next.NextNumber++
	t.t.apps.Set(next.ID, &next)
	e := &Executor{
		AppID: a.ID, Number: l.Number, State: ExecutorLaunching, Profile: l.Profile,
		AgentID: l.AgentId, Host: l.Host, Cores: l.Cores, MemMiB: l.MemMib, GPUs: l.Gpus,
		FrameworkID: a.Framework.ID, LaunchedMs: t.timeMs,
	}
	t.enterExecutor(e)
	t.executorChanged(e, EventLaunch, "")
	return nil
}

func applyKillExecutors(t *txn, c *fsmpb.KillExecutors) *fsmpb.Result {
	a, r := t.knownApp(c.AppId)
	if r != nil {
		return r
	}
	var kill []*Executor
	for _, id := range c.TaskIds {
		n, valid := executorNumber(id)
		switch e, found := t.t.executors.Get(executorKey(a.ID, n)); {
		case !valid || !found && n >= a.NextNumber:
			return refuse(CodeNotFound, "application %s never had an executor %s; no executor is killed", a.ID, clip(id))
		case found && !e.State.Terminal():
			kill = append(kill, e)
		}
	}
	if len(kill) == 0 {
		return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: a.ID}
	}
	for _, e := range kill {
		e, _ = t.t.executors.Get(executorKey(a.ID, e.Number)) // one that is named twice
		next := *e
		if next.State != ExecutorDraining {
			next.Reason = clip(c.Reason)
		}
		t.moveExecutor(e, &next, EventKill)
	}
	return &fsmpb.Result{Code: uint32(CodeOK), AppId: a.ID}
}

func applyRecordExecutorStatuses(t *txn, c *fsmpb.RecordExecutorStatuses) *fsmpb.Result {
	a, r := t.knownApp(c.AppId)
	if r != nil {
		return r
	}
	r = &fsmpb.Result{AppId: a.ID}
	for _, st := range c.Statuses {
		r.Statuses = append(r.Statuses, t.recordExecutorStatus(a.ID, st))
	}
	return r
}

// recordExecutorStatus records one task status. A status of an executor that is
// over changes nothing, and counts for nothing (upstream counts a failure twice
// that is reported twice); where its process lives the caller is told to kill.
func (t *txn) recordExecutorStatus(appID string, st *Status) *fsmpb.StatusResult {
	state := TaskState(st.State)
	if !state.known() || len(st.TaskId)+len(st.AgentId)+len(st.ExecutorId)+len(st.Uuid) > maxText {
		return &fsmpb.StatusResult{Code: uint32(CodeMalformed)}
	}
	st.Message = clip(st.Message)
	a, _ := t.t.apps.Get(appID)
	n, valid := executorNumber(st.TaskId)
	e, found := t.t.executors.Get(executorKey(appID, n))
	switch {
	case !valid || !found && n >= a.NextNumber:
		return &fsmpb.StatusResult{Code: uint32(CodeUnknownTask), Kill: state.alive()}
	case !found:
		return &fsmpb.StatusResult{Code: uint32(CodeStale), Kill: state.alive()}
	case len(st.Uuid) > 0 && e.Last != nil && bytes.Equal(e.Last.Uuid, st.Uuid):
		return &fsmpb.StatusResult{Code: uint32(CodeDuplicate), Kill: e.State.Terminal() && state.alive()}
	case e.State.Terminal():
		return &fsmpb.StatusResult{Code: uint32(CodeStale), Kill: state.alive()}
	}
	next := *e
	next.Last = st
	if state.alive() && state != TaskStaging && next.StartedMs == 0 {
		next.StartedMs = t.timeMs
	}
	if state == TaskRunning && next.RunningMs == 0 {
		next.RunningMs = t.timeMs
	}
	event := executorEvent(e, st)
	if event == "" {
		t.enterExecutor(&next)
		return &fsmpb.StatusResult{}
	}
	next.Dropped = event == EventDropped
	if next.Reason == "" && !state.alive() {
		next.Reason = st.Message
	}
	if r := t.moveExecutor(e, &next, event); r != nil {
		return &fsmpb.StatusResult{Code: r.Code}
	}
	switch {
	case event == EventDropped:
		t.countDrop(&next)
	case event == EventRunning && e.RunningMs == 0:
		t.forgetDrops(&next)
	case e.State != ExecutorDraining && (event == EventFailed || event == EventLost):
		t.countFailure(&next)
	}
	return &fsmpb.StatusResult{}
}

// executorEvent is the event that a status means; empty for none. The classes
// are Spark's: GONE and GONE_BY_OPERATOR count as failed, the rest as lost.
func executorEvent(e *Executor, st *Status) string {
	switch state := TaskState(st.State); {
	case state == TaskStaging:
		return ""
	case state == TaskStarting:
		return EventStarting
	case state.alive():
		return EventRunning
	case state == TaskFinished:
		return EventFinished
	case state == TaskKilled:
		return EventEnded
	case e.StartedMs == 0 && neverStarted(st):
		return EventDropped
	case state == TaskFailed, state == TaskGone, state == TaskGoneByOperator:
		return EventFailed
	}
	return EventLost
}

// countFailure holds the failure of an executor against its agent, and excludes
// the agent when there are too many. What expired counts no more.
func (t *txn) countFailure(e *Executor) {
	a, _ := t.t.apps.Get(e.AppID)
	if a.MaxAgentFailures <= 0 || e.AgentID == "" {
		return
	}
	x := t.heldAgainst(a, e)
	if x == nil {
		return
	}
	event := "failure"
	if x.Failures++; !x.Excluded && x.Failures >= uint32(a.MaxAgentFailures) {
		event, x.Excluded = "exclude", true
		x.Reason = fmt.Sprintf("%d executors failed on it", x.Failures)
		if a.ExcludeMs > 0 {
			x.UntilMs = t.timeMs + a.ExcludeMs
		}
	}
	next := *a
	next.Exclusions = t.withExclusion(a.Exclusions, x)
	t.setApp(&next, event, x.Reason)
}

// heldAgainst is what is held against the agent of an executor, to be changed;
// nil when that is nothing and there is no room for more.
func (t *txn) heldAgainst(a *App, e *Executor) *Exclusion {
	x := &Exclusion{AgentId: e.AgentID, Host: e.Host}
	i, found := findExclusion(a.Exclusions, e.AgentID, "")
	switch {
	case found && !expired(a.Exclusions[i], t.timeMs):
		old := a.Exclusions[i]
		x.Failures, x.Excluded, x.UntilMs, x.Reason = old.Failures, old.Excluded, old.UntilMs, old.Reason
		x.Drops, x.NotBeforeMs = old.Drops, old.NotBeforeMs
	case !found && len(a.Exclusions) >= maxExclusions:
		return nil
	}
	return x
}

// countDrop keeps launches off an agent for a while that never reach it, so that
// they are not repeated in a tight loop. It is no failure of an executor.
func (t *txn) countDrop(e *Executor) {
	a, _ := t.t.apps.Get(e.AppID)
	x := t.heldAgainst(a, e)
	if x == nil || e.AgentID == "" || a.FineGrained && x.NotBeforeMs > t.timeMs {
		return // the tasks of one ACCEPT are dropped together
	}
	x.NotBeforeMs = t.timeMs + min(int64(dropWaitMs)<<min(x.Drops, 10), dropWaitMaxMs)
	x.Drops++
	next := *a
	next.Exclusions = t.withExclusion(a.Exclusions, x)
	t.setApp(&next, "drop", e.Reason)
}

// forgetDrops is for an executor that runs: launches reach its agent.
func (t *txn) forgetDrops(e *Executor) {
	a, _ := t.t.apps.Get(e.AppID)
	i, found := findExclusion(a.Exclusions, e.AgentID, "")
	if !found || a.Exclusions[i].Drops == 0 {
		return
	}
	x := t.heldAgainst(a, e)
	x.Drops, x.NotBeforeMs = 0, 0
	next := *a
	if next.Exclusions = t.withExclusion(a.Exclusions, x); x.Failures == 0 && !x.Excluded {
		next.Exclusions = slices.DeleteFunc(next.Exclusions, func(o *Exclusion) bool { return o == x })
	}
	t.t.apps.Set(next.ID, &next)
}

// endAll ends the live executors of an application whose framework is no more.
func (t *txn) endAll(a *App, event, why string) {
	for _, e := range t.liveOf(a.ID) {
		next := *e
		next.Reason = why
		t.moveExecutor(e, &next, event)
	}
}

func (t *txn) liveOf(appID string) (list []*Executor) {
	t.t.liveOf(appID, func(e *Executor) bool {
		list = append(list, e)
		return true
	})
	return list
}

// moveExecutor makes the transition of event from e to next; nil, or the refusal
// of an illegal one.
func (t *txn) moveExecutor(e, next *Executor, event string) *fsmpb.Result {
	state, err := t.executorFSM.Next(string(e.State), event)
	if err != nil {
		return refuse(CodeIllegal, "executor %d of %s: %v", e.Number, e.AppID, err)
	}
	next.State = ExecutorState(state)
	if next.State.Terminal() {
		a, _ := t.t.apps.Get(e.AppID)
		app := *a
		next.EndedMs, next.EndSeq = t.timeMs, app.NextEnd
		app.NextEnd++
		t.t.apps.Set(app.ID, &app)
	}
	t.enterExecutor(next)
	if next.State.Terminal() {
		t.trimExecutors(e.AppID)
	}
	if next.State != e.State {
		t.executorChanged(next, event, e.State)
	}
	return nil
}

func (t *txn) enterExecutor(e *Executor) {
	key := executorKey(e.AppID, e.Number)
	t.t.executors.Set(key, e)
	if e.State.Terminal() {
		t.t.live.Delete(key)
		t.t.ended.Set(executorKey(e.AppID, e.EndSeq), e)
	} else {
		t.t.live.Set(key, e)
	}
}

// trimExecutors forgets the executors of an application that ended first. The
// places in the order of ends have no gaps, so one look is enough.
func (t *txn) trimExecutors(appID string) {
	a, _ := t.t.apps.Get(appID)
	if a.NextEnd <= a.retained()+1 {
		return
	}
	if old, found := t.t.ended.Get(executorKey(appID, a.NextEnd-1-a.retained())); found {
		t.dropExecutor(appID, old.Number)
	}
}

func (t *txn) dropExecutor(appID string, number uint64) {
	key := executorKey(appID, number)
	if e, found := t.t.executors.Delete(key); found {
		t.t.live.Delete(key)
		t.t.ended.Delete(executorKey(appID, e.EndSeq))
	}
}

func (t *txn) executorChanged(e *Executor, event string, from ExecutorState) {
	t.emit(Change{
		Kind: ChangeExecutor, ID: e.AppID, Event: event, From: string(from), To: string(e.State),
		TaskID: e.TaskID(), Reason: e.Reason, Executor: e,
	})
}

// invalidApp is empty, or why an application cannot be registered.
func invalidApp(c *fsmpb.RegisterApp) string {
	switch {
	case invalidDriverID(c.AppId) != "":
		return "application: " + invalidDriverID(c.AppId)
	case len(c.Name)+len(c.User) > maxText, len(c.FrameworkId) > maxName:
		return "name, user or framework id of the application are too long"
	case c.MaxAgentFailures < 0:
		return "number of failures that exclude an agent is negative"
	case !validTime(c.ExcludeMs):
		return "time for which an agent is excluded is out of range"
	}
	return invalidTotals(c.Totals, nil)
}

// invalidTotals is empty, or what is wrong with what is wanted.
func invalidTotals(totals []*ProfileTotal, hosts []string) string {
	if len(totals) > maxProfiles || len(hosts) > maxHosts {
		return fmt.Sprintf("more than %d resource profiles or %d preferred hosts", maxProfiles, maxHosts)
	}
	var profiles []uint32
	for _, p := range totals {
		switch {
		case p.Total < 0 || p.Total > Unlimited:
			return fmt.Sprintf("total of profile %d is %d; it must lie between 0 and %d", p.Profile, p.Total, Unlimited)
		case p.Cores < 0, p.HeapMib < 0, p.MemMib < 0, p.Gpus < 0, p.Cores > Unlimited, p.HeapMib > Unlimited, p.MemMib > Unlimited, p.Gpus > Unlimited:
			return fmt.Sprintf("resources of profile %d are out of range", p.Profile)
		case slices.Contains(profiles, p.Profile):
			return fmt.Sprintf("profile %d comes twice", p.Profile)
		}
		profiles = append(profiles, p.Profile)
	}
	for _, h := range hosts {
		if h == "" || len(h) > maxName {
			return fmt.Sprintf("a preferred host is empty or longer than %d bytes", maxName)
		}
	}
	return ""
}

// The limits of applications, part of the log's contract as those in limits.go.
const (
	maxApps       = 10_000
	maxProfiles   = 1000
	maxHosts      = 10_000
	maxExclusions = 10_000
	maxName       = 255 // bytes of a host, an agent id, a framework id
)
