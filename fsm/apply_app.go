package fsm

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func applyRegisterApp(t *txn, c *fsmpb.RegisterApp) *fsmpb.Result {
	if why := invalidApp(c); why != "" {
		return refuse(CodeMalformed, "%s", why)
	}
	old, found := t.t.apps.Get(c.AppId)
	switch {
	case !found:
		return t.newApp(c)
	case old.Stopped:
		return refuse(CodeTerminated, "application %s is stopped; register another one", c.AppId)
	case c.FrameworkId != "" && old.Framework.ID != "" && c.FrameworkId != old.Framework.ID:
		return refuse(CodeFrameworkID, "application %s runs as framework %s; %s is another one", c.AppId, old.Framework.ID, c.FrameworkId)
	}
	next := *old
	next.Name, next.Spec, next.User = c.Name, c.Spec, c.User
	next.MaxAgentFailures, next.ExcludeMs = c.MaxAgentFailures, c.ExcludeMs
	if old.Framework.State == FrameworkNew && c.FrameworkId != "" {
		next.Framework.ID = c.FrameworkId
	}
	if proto.Equal(appToPB(old), appToPB(&next)) {
		return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: c.AppId}
	}
	t.setApp(&next, "update", "")
	return &fsmpb.Result{AppId: c.AppId}
}

func (t *txn) newApp(c *fsmpb.RegisterApp) *fsmpb.Result {
	if t.t.apps.Len() >= maxApps && !t.forgetApp() {
		return refuse(CodeQueueFull, "%d applications are registered already; stop one", maxApps)
	}
	a := t.appOf(c)
	t.addApp(a)
	return &fsmpb.Result{AppId: a.ID}
}

func (t *txn) appOf(c *fsmpb.RegisterApp) *App {
	return &App{
		ID: c.AppId, Seq: t.s.nextAppSeq, Name: c.Name, Spec: c.Spec, User: c.User,
		Framework: Framework{State: FrameworkNew, ID: c.FrameworkId},
		Totals:    sortedTotals(c.Totals), TotalsMs: t.timeMs,
		MaxAgentFailures: c.MaxAgentFailures, ExcludeMs: c.ExcludeMs,
		NextEnd: 1, RegisteredMs: t.timeMs,
	}
}

func (t *txn) addApp(a *App) {
	t.s.nextAppSeq++
	t.setApp(a, "register", "")
}

// forgetApp drops the application that is over and was registered first.
func (t *txn) forgetApp() bool {
	var oldest *App
	t.t.apps.Scan(func(_ string, a *App) bool {
		if a.Over() && (oldest == nil || a.Seq < oldest.Seq) {
			oldest = a
		}
		return true
	})
	if oldest == nil {
		return false
	}
	t.dropApp(oldest)
	return true
}

func (t *txn) dropApp(a *App) {
	var numbers []uint64
	t.t.executorsOf(a.ID, func(e *Executor) bool {
		numbers = append(numbers, e.Number)
		return true
	})
	for _, n := range numbers {
		t.dropExecutor(a.ID, n)
	}
	t.t.apps.Delete(a.ID)
}

func (t *txn) setApp(a *App, event, reason string) {
	t.t.apps.Set(a.ID, a)
	t.emit(Change{Kind: ChangeApp, ID: a.ID, Event: event, Reason: reason, App: a})
}

// knownApp is the application, or a refusal.
func (t *txn) knownApp(id string) (*App, *fsmpb.Result) {
	if a, found := t.t.apps.Get(id); found {
		return a, nil
	}
	return nil, refuse(CodeNotFound, "no application %s", clip(id))
}

// goingOn is the application if it is not stopped, or a refusal.
func (t *txn) goingOn(id string) (*App, *fsmpb.Result) {
	a, r := t.knownApp(id)
	if r == nil && a.Stopped {
		return nil, refuse(CodeTerminated, "application %s is stopped", a.ID)
	}
	return a, r
}

func applyAppFrameworkEvent(t *txn, c *fsmpb.AppFrameworkEvent) *fsmpb.Result {
	a, r := t.knownApp(c.AppId)
	if r != nil {
		return r
	}
	e, fw := c.Event, a.Framework
	switch {
	case e == nil || len(e.FrameworkId)+len(e.Master) > maxText:
		return refuse(CodeMalformed, "framework event of %s without an event, or too long", a.ID)
	case e.FrameworkId != "" && fw.ID != "" && e.FrameworkId != fw.ID:
		return refuse(CodeFrameworkID, "framework %s is committed for %s; %s is another one", fw.ID, a.ID, e.FrameworkId)
	case e.Event == FrameworkSubscribe && e.FrameworkId == "":
		return refuse(CodeMalformed, "a subscription without a framework id")
	}
	state, err := t.fwFSM.Next(string(fw.State), e.Event)
	if err != nil {
		return refuse(CodeIllegal, "application %s: %v", a.ID, err)
	}
	was := fw
	fw.State, fw.Message = FrameworkState(state), clip(e.Message)
	fw.ID, fw.Master = cmp.Or(e.FrameworkId, fw.ID), cmp.Or(e.Master, fw.Master)
	switch e.Event {
	case FrameworkRemove:
		t.endAll(a, EventLost, "framework "+fw.ID+" was removed from Mesos")
	case FrameworkTearDown:
		t.endAll(a, EventEnded, "framework "+fw.ID+" was torn down")
	case FrameworkReset:
		fw = Framework{State: fw.State}
	}
	if fw.State != was.State || fw.Master != was.Master {
		fw.SinceMs = t.timeMs
	} else if fw == was {
		return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: a.ID}
	}
	a, _ = t.t.apps.Get(a.ID) // the ends of its executors are counted in it
	next := *a
	if next.Framework = fw; e.Event == FrameworkRemove || e.Event == FrameworkTearDown {
		next.AgentExecutors = nil
	}
	t.t.apps.Set(next.ID, &next)
	t.emit(Change{Kind: ChangeApp, ID: a.ID, Event: e.Event, From: string(was.State), To: state, Reason: fw.Message, App: &next})
	return &fsmpb.Result{AppId: a.ID}
}

func applySetTotals(t *txn, c *fsmpb.SetTotals) *fsmpb.Result {
	if why := invalidTotals(c.Totals, c.Hosts); why != "" {
		return refuse(CodeMalformed, "%s", why)
	}
	a, r := t.goingOn(c.AppId)
	if r != nil {
		return r
	}
	if a.FineGrained {
		return refuse(CodeIllegal, "application %s runs tasks, and has no executors of its own to scale", a.ID)
	}
	next := *a
	next.Totals, next.TotalsMs = sortedTotals(c.Totals), t.timeMs
	next.Hosts = slices.Compact(slices.Sorted(slices.Values(c.Hosts)))
	t.setApp(&next, "totals", "")
	return &fsmpb.Result{AppId: a.ID}
}

func sortedTotals(totals []*ProfileTotal) []*ProfileTotal {
	out := slices.Clone(totals)
	slices.SortFunc(out, func(a, b *ProfileTotal) int { return cmp.Compare(a.Profile, b.Profile) })
	return out
}

func applyExcludeHost(t *txn, c *fsmpb.ExcludeHost) *fsmpb.Result {
	switch {
	case (c.Host == "") == (c.AgentId == ""):
		return refuse(CodeMalformed, "an exclusion names either a host or an agent")
	case len(c.Host)+len(c.AgentId) > maxName:
		return refuse(CodeMalformed, "host or agent is longer than %d bytes", maxName)
	case !validTime(c.UntilMs):
		return refuse(CodeMalformed, "end of the exclusion out of range")
	}
	a, r := t.goingOn(c.AppId)
	if r != nil {
		return r
	}
	i, found := findExclusion(a.Exclusions, c.AgentId, c.Host)
	if c.Lift {
		if !found {
			return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: a.ID}
		}
		next := *a
		next.Exclusions = slices.Delete(slices.Clone(a.Exclusions), i, i+1)
		t.setApp(&next, "admit", c.Reason)
		return &fsmpb.Result{AppId: a.ID}
	}
	x := &Exclusion{AgentId: c.AgentId, Host: c.Host, Excluded: true, UntilMs: c.UntilMs, Reason: clip(c.Reason)}
	next := *a
	if next.Exclusions = t.withExclusion(a.Exclusions, x); len(next.Exclusions) > maxExclusions {
		return refuse(CodeQueueFull, "application %s has %d exclusions already; lift some", a.ID, maxExclusions)
	}
	t.setApp(&next, "exclude", x.Reason)
	return &fsmpb.Result{AppId: a.ID}
}

// findExclusion is the place of an agent or, without one, of a host.
func findExclusion(list []*Exclusion, agentID, host string) (int, bool) {
	return slices.BinarySearchFunc(list, [2]string{agentID, host}, func(x *Exclusion, key [2]string) int {
		if c := cmp.Compare(x.AgentId, key[0]); c != 0 || x.AgentId != "" {
			return c
		}
		return cmp.Compare(x.Host, key[1])
	})
}

// withExclusion is the list with x in it, and without what has expired.
func (t *txn) withExclusion(list []*Exclusion, x *Exclusion) []*Exclusion {
	next := slices.DeleteFunc(slices.Clone(list), func(o *Exclusion) bool { return expired(o, t.timeMs) })
	i, found := findExclusion(next, x.AgentId, x.Host)
	if found {
		next[i] = x
		return next
	}
	return slices.Insert(next, i, x)
}

func applyStopApp(t *txn, c *fsmpb.StopApp) *fsmpb.Result {
	a, r := t.knownApp(c.AppId)
	if r != nil {
		return r
	}
	if a.Stopped {
		return &fsmpb.Result{Code: uint32(CodeUnchanged), AppId: a.ID}
	}
	t.stopApp(a, c.Reason)
	return &fsmpb.Result{AppId: a.ID}
}

// stopApp drains the executors of an application that goes on so far.
func (t *txn) stopApp(a *App, reason string) {
	next := *a
	next.Stopped, next.StopReason, next.StoppedMs = true, clip(reason), t.timeMs
	t.setApp(&next, "stop", next.StopReason)
	for _, e := range t.liveOf(a.ID) {
		after := *e
		if after.Reason == "" {
			after.Reason = "the application was stopped"
		}
		t.moveExecutor(e, &after, EventKill)
	}
}
