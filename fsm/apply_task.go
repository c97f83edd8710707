package fsm

import (
	"cmp"
	"math"
	"slices"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// The limits of fine-grained applications, part of the log's contract.
const (
	maxAgentExecutors = 10_000
	maxResources      = 32 << 10 // bytes, of one executor
	maxCPUs           = 1e6
)

func applyLaunchTasks(t *txn, c *fsmpb.LaunchTasks) *fsmpb.Result {
	a, r := t.goingOn(c.AppId)
	switch {
	case r != nil:
		return r
	case len(a.Totals) > 0 || !a.FineGrained && a.NextNumber > 0:
		return refuse(CodeIllegal, "application %s wants executors, and runs no tasks of its own", a.ID)
	case a.Framework.State != FrameworkSubscribed && a.Framework.State != FrameworkDisconnected:
		return refuse(CodeNotReady, "no task of %s can be launched: its framework is %s", a.ID, a.Framework.State)
	}
	r = &fsmpb.Result{AppId: a.ID}
	for _, l := range c.Launches {
		lr := &fsmpb.LaunchResult{}
		if refused := t.launchTask(c, l); refused != nil {
			lr.Code, lr.Message = refused.Code, refused.Message
		}
		r.Launches = append(r.Launches, lr)
	}
	return r
}

func (t *txn) launchTask(c *fsmpb.LaunchTasks, l *fsmpb.ExecutorLaunch) *fsmpb.Result {
	a, _ := t.t.apps.Get(c.AppId)
	switch {
	case l.Number < a.NextNumber:
		return refuse(CodeConflict, "application %s is at task %d; %d cannot be used any more", a.ID, a.NextNumber, l.Number)
	case l.Number >= math.MaxInt64:
		return refuse(CodeMalformed, "task ids end below %d", uint64(math.MaxInt64))
	case l.AgentId == "" || len(l.AgentId) > maxName || len(l.Host)+len(l.Name) > maxText:
		return refuse(CodeMalformed, "names in the launch of %d are missing, or longer than %d bytes", l.Number, maxText)
	case !finite(l.Cpus) || l.Cpus < 0 || l.Cpus > maxCPUs:
		return refuse(CodeMalformed, "cpus of task %d are out of range", l.Number)
	}
	next := *a
	next.NextNumber, next.FineGrained = l.Number+1, true
	started, refused := t.executorFor(a, c, l)
	if refused != nil {
		return refused
	}
	if started != nil {
		i, _ := findAgentExecutor(a.AgentExecutors, l.AgentId)
		next.AgentExecutors = slices.Insert(slices.Clone(a.AgentExecutors), i, started)
	}
	t.t.apps.Set(next.ID, &next)
	if started != nil {
		t.emit(Change{Kind: ChangeApp, ID: a.ID, Event: EventExecutorAdded, TaskID: l.AgentId, App: &next})
	}
	e := &Executor{
		AppID: a.ID, Number: l.Number, State: ExecutorLaunching, AgentID: l.AgentId, Host: l.Host,
		FrameworkID: a.Framework.ID, LaunchedMs: t.timeMs, CPUs: l.Cpus, Name: l.Name, First: l.Executor,
	}
	t.enterExecutor(e)
	t.executorChanged(e, EventLaunch, "")
	return nil
}

// The events of changes that are about an application's executor on an agent. The
// agent id is in the change's TaskID.
const (
	EventExecutorAdded = "executor added"
	EventExecutorEnded = "executor ended"
)

// executorFor is the executor that a launch starts, nil where it runs on one that
// is there, or a refusal where neither holds.
func (t *txn) executorFor(a *App, c *fsmpb.LaunchTasks, l *fsmpb.ExecutorLaunch) (*AgentExecutor, *fsmpb.Result) {
	if x := a.OnAgent(l.AgentId); x != nil {
		if x.First != l.Executor {
			return nil, refuse(CodeConflict, "the executor on agent %s is another one by now", l.AgentId)
		}
		return nil, nil
	}
	i := slices.IndexFunc(c.Executors, func(x *AgentExecutor) bool {
		return x.AgentId == l.AgentId && x.First == l.Number && x.First == l.Executor
	})
	if i < 0 {
		return nil, refuse(CodeConflict, "there is no executor on agent %s, and task %d does not start one", l.AgentId, l.Number)
	}
	x, size := c.Executors[i], 0
	for _, r := range x.Resources {
		size += len(r) + 1
	}
	switch {
	case !finite(x.Cpus) || x.Cpus < 0 || x.Cpus > maxCPUs || x.MemMib < 0 || size > maxResources:
		return nil, refuse(CodeMalformed, "resources of the executor on agent %s are out of range", l.AgentId)
	case len(a.AgentExecutors) >= maxAgentExecutors:
		return nil, refuse(CodeQueueFull, "application %s has %d executors already", a.ID, maxAgentExecutors)
	}
	return &AgentExecutor{
		AgentId: l.AgentId, Host: l.Host, First: l.Number, Cpus: x.Cpus, MemMib: x.MemMib,
		SinceMs: t.timeMs, FrameworkId: a.Framework.ID, Resources: x.Resources, Fingerprint: x.Fingerprint,
	}, nil
}

func findAgentExecutor(list []*AgentExecutor, agentID string) (int, bool) {
	return slices.BinarySearchFunc(list, agentID, func(x *AgentExecutor, id string) int { return cmp.Compare(x.AgentId, id) })
}

func applyEndAgentExecutor(t *txn, c *fsmpb.EndAgentExecutor) *fsmpb.Result {
	a, r := t.knownApp(c.AppId)
	if r != nil {
		return r
	}
	i, found := findAgentExecutor(a.AgentExecutors, c.AgentId)
	if !found || a.AgentExecutors[i].First != c.First {
		return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: a.ID}
	}
	next := *a
	next.AgentExecutors = slices.Delete(slices.Clone(a.AgentExecutors), i, i+1)
	t.t.apps.Set(next.ID, &next)
	why := clip(c.Reason)
	t.emit(Change{Kind: ChangeApp, ID: a.ID, Event: EventExecutorEnded, TaskID: c.AgentId, Reason: why, App: &next})
	for _, e := range t.liveOf(a.ID) {
		if e.AgentID != c.AgentId {
			continue
		}
		after := *e
		after.Reason = cmp.Or(e.Reason, why)
		t.moveExecutor(e, &after, EventLost)
	}
	// One that cannot start is not to be started in a tight loop; the first task that
	// runs on its successor ends the wait.
	t.countDrop(&Executor{AppID: a.ID, AgentID: c.AgentId, Host: a.AgentExecutors[i].Host, Reason: why})
	return &fsmpb.Result{AppId: a.ID}
}

// invalidAgentExecutors is empty, or what is wrong with those of a snapshot.
func invalidAgentExecutors(a *App) string {
	for i, x := range a.AgentExecutors {
		switch at, found := findAgentExecutor(a.AgentExecutors, x.AgentId); {
		case !found || at != i:
			return "its executors are out of order"
		case x.First >= a.NextNumber || !finite(x.Cpus):
			return "an executor of it has a first task that is still to come, or cpus that are no number"
		}
	}
	return ""
}
