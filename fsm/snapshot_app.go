package fsm

import "github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"

func appToPB(a *App) *fsmpb.App {
	return &fsmpb.App{
		Id: a.ID, Seq: a.Seq, Name: a.Name, Spec: a.Spec, User: a.User,
		Framework: &fsmpb.Framework{
			State: string(a.Framework.State), Id: a.Framework.ID, Master: a.Framework.Master,
			Message: a.Framework.Message, SinceMs: a.Framework.SinceMs,
		},
		Totals: a.Totals, TotalsMs: a.TotalsMs, Hosts: a.Hosts,
		Exclusions: a.Exclusions, MaxAgentFailures: a.MaxAgentFailures, ExcludeMs: a.ExcludeMs,
		NextNumber: a.NextNumber, NextEnd: a.NextEnd,
		Stopped: a.Stopped, StopReason: a.StopReason, RegisteredMs: a.RegisteredMs, StoppedMs: a.StoppedMs,
		FailoverTimeoutMs: a.FailoverTimeoutMs, Heard: a.Heard, HeardMs: a.HeardMs,
		FineGrained: a.FineGrained, AgentExecutors: a.AgentExecutors,
	}
}

func appFromPB(p *fsmpb.App) *App {
	fw := p.Framework
	return &App{
		ID: p.Id, Seq: p.Seq, Name: p.Name, Spec: p.Spec, User: p.User,
		Framework: Framework{
			State: FrameworkState(fw.GetState()), ID: fw.GetId(), Master: fw.GetMaster(),
			Message: fw.GetMessage(), SinceMs: fw.GetSinceMs(),
		},
		Totals: p.Totals, TotalsMs: p.TotalsMs, Hosts: p.Hosts,
		Exclusions: p.Exclusions, MaxAgentFailures: p.MaxAgentFailures, ExcludeMs: p.ExcludeMs,
		NextNumber: p.NextNumber, NextEnd: p.NextEnd,
		Stopped: p.Stopped, StopReason: p.StopReason, RegisteredMs: p.RegisteredMs, StoppedMs: p.StoppedMs,
		FailoverTimeoutMs: p.FailoverTimeoutMs, Heard: p.Heard, HeardMs: p.HeardMs,
		FineGrained: p.FineGrained, AgentExecutors: p.AgentExecutors,
	}
}

func executorToPB(e *Executor) *fsmpb.Executor {
	return &fsmpb.Executor{
		AppId: e.AppID, Number: e.Number, State: string(e.State), Profile: e.Profile,
		AgentId: e.AgentID, Host: e.Host, Cores: e.Cores, MemMib: e.MemMiB, Gpus: e.GPUs, FrameworkId: e.FrameworkID,
		LaunchedMs: e.LaunchedMs, StartedMs: e.StartedMs, RunningMs: e.RunningMs, EndedMs: e.EndedMs, EndSeq: e.EndSeq,
		Last: e.Last, Dropped: e.Dropped, Reason: e.Reason,
		Cpus: e.CPUs, Name: e.Name, Executor: e.First,
	}
}

func executorFromPB(p *fsmpb.Executor) *Executor {
	return &Executor{
		AppID: p.AppId, Number: p.Number, State: ExecutorState(p.State), Profile: p.Profile,
		AgentID: p.AgentId, Host: p.Host, Cores: p.Cores, MemMiB: p.MemMib, GPUs: p.Gpus, FrameworkID: p.FrameworkId,
		LaunchedMs: p.LaunchedMs, StartedMs: p.StartedMs, RunningMs: p.RunningMs, EndedMs: p.EndedMs, EndSeq: p.EndSeq,
		Last: p.Last, Dropped: p.Dropped, Reason: p.Reason,
		CPUs: p.Cpus, Name: p.Name, First: p.Executor,
	}
}

// invalidAppRecord is empty, or why a record of a snapshot can be no application
// of a state with these counters.
func invalidAppRecord(a *App, s *scalars) string {
	switch a.Framework.State {
	case FrameworkNew, FrameworkSubscribed, FrameworkDisconnected, FrameworkTornDown, FrameworkRemoved:
	default:
		return "unknown state of its framework " + string(a.Framework.State)
	}
	switch {
	case invalidDriverID(a.ID) != "":
		return invalidDriverID(a.ID)
	case a.Seq == 0 || a.Seq >= s.nextAppSeq:
		return "place in the order is wrong"
	case a.NextEnd == 0 || a.MaxAgentFailures < 0 || !validTime(a.ExcludeMs):
		return "a counter is missing or wrong"
	case !validTime(a.FailoverTimeoutMs) || !validTime(a.HeardMs) || a.Hosted() != (a.Heard > 0):
		return "signs of life of its driver are missing or wrong"
	}
	for i, x := range a.Exclusions {
		if at, found := findExclusion(a.Exclusions, x.AgentId, x.Host); !found || at != i {
			return "exclusions are out of order"
		}
	}
	if why := invalidAgentExecutors(a); why != "" {
		return why
	}
	return invalidTotals(a.Totals, a.Hosts)
}

// invalidExecutor is empty, or why a record can be no executor beside the
// applications restored so far, which come first.
func (t *trees) invalidExecutor(e *Executor) string {
	a, found := t.apps.Get(e.AppID)
	switch {
	case !found:
		return "its application is missing"
	case e.Number >= a.NextNumber || !finite(e.CPUs):
		return "its number is still to be given, or its cpus are no number"
	case e.State.Terminal() && (e.EndSeq == 0 || e.EndSeq >= a.NextEnd):
		return "place among the ended ones is wrong"
	}
	if x := a.OnAgent(e.AgentID); a.FineGrained && !e.State.Terminal() && (x == nil || x.First != e.First) {
		return "the executor that it runs on is missing"
	}
	switch e.State {
	case ExecutorLaunching, ExecutorStarting, ExecutorRunning, ExecutorDraining:
	case ExecutorFinished, ExecutorFailed, ExecutorKilled, ExecutorLost:
	default:
		return "unknown state " + string(e.State)
	}
	return ""
}
