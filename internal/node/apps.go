package node

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// applications is the host as the REST server wants it.
type applications struct{ n *Node }

var _ rest.Applications = (*applications)(nil)

func (a *applications) Register(ctx context.Context, app api.Application, r dispatcher.Request) (api.AppStatus, bool, error) {
	if app.FailoverTimeoutMs < 0 || app.FailoverTimeoutMs > host.MaxFailoverTimeout.Milliseconds() {
		return api.AppStatus{}, false, &rest.AppInvalidError{Field: "failoverTimeoutMs", Reason: "must lie between 0 and " + host.MaxFailoverTimeout.String()}
	}
	receipt, err := a.n.host.Register(ctx, host.Application{
		ID: app.ID, Name: app.Name, DriverURL: app.DriverURL, SparkVersion: app.SparkVersion, SparkHome: app.SparkHome,
		User: app.User, WebUIURL: app.WebUIURL, Properties: app.Properties,
		FailoverTimeout: time.Duration(app.FailoverTimeoutMs) * time.Millisecond,
	}, host.Request(r))
	if err != nil {
		return api.AppStatus{}, false, restError(err)
	}
	st, err := a.Application(ctx, receipt.ID, dispatcher.Linearizable)
	if err != nil {
		// It is registered all the same; what there is to say of it, a later read tells.
		st = api.AppStatus{ID: receipt.ID, Name: app.Name, State: api.AppStarting, FailoverTimeoutMs: app.FailoverTimeoutMs}
	}
	return st, receipt.Known, nil
}

func (a *applications) Application(ctx context.Context, id string, c dispatcher.Consistency) (api.AppStatus, error) {
	v, err := a.view(ctx, c)
	if err != nil {
		return api.AppStatus{}, err
	}
	st, err := a.n.host.App(v, id)
	if err != nil {
		return api.AppStatus{}, restError(err)
	}
	return a.status(st), nil
}

func (a *applications) List(ctx context.Context, c dispatcher.Consistency) (api.AppList, error) {
	v, err := a.view(ctx, c)
	if err != nil {
		return api.AppList{}, err
	}
	var out api.AppList
	for _, st := range a.n.host.Apps(v) {
		out.Applications = append(out.Applications, a.status(st))
	}
	return out, nil
}

func (a *applications) Executors(ctx context.Context, id string, c dispatcher.Consistency) (api.AppExecutors, error) {
	v, err := a.view(ctx, c)
	if err != nil {
		return api.AppExecutors{}, err
	}
	if _, err := a.n.host.App(v, id); err != nil {
		return api.AppExecutors{}, restError(err)
	}
	out := api.AppExecutors{Change: v.NextChange() - 1}
	v.Executors(id, func(e *fsm.Executor) bool {
		out.Executors = append(out.Executors, executorOf(e))
		return true
	})
	return out, nil
}

func (a *applications) view(ctx context.Context, c dispatcher.Consistency) (*fsm.View, error) {
	if c == dispatcher.Linearizable {
		if err := a.n.host.Linearize(ctx); err != nil {
			return nil, err
		}
	}
	return a.n.state.View(), nil
}

func (a *applications) SetTotals(ctx context.Context, id string, t api.AppTotals, r dispatcher.Request) error {
	want := backend.Totals{Hosts: t.Hosts}
	seen := make(map[uint32]bool)
	for _, p := range t.Totals {
		switch {
		case seen[p.Profile]:
			return &rest.AppInvalidError{Field: "totals.profile", Reason: "must be given once each"}
		case min(p.Total, p.Cores, p.MemoryMiB, p.GPUs) < 0, max(p.Total, p.Cores, p.MemoryMiB, p.GPUs) > math.MaxInt32:
			return &rest.AppInvalidError{Field: "totals", Reason: "numbers must lie between 0 and 2147483647"}
		case p.Profile == 0 && (p.Cores != 0 || p.MemoryMiB != 0 || p.GPUs != 0):
			return &rest.AppInvalidError{Field: "totals.profile", Reason: "0 is the default one, whose amounts are those of the application's properties"}
		}
		seen[p.Profile] = true
		if p.Profile == 0 {
			want.Executors = int(p.Total)
			continue
		}
		want.Profiles = append(want.Profiles, backend.Profile{
			ID: p.Profile, Total: int(p.Total), Cores: int(p.Cores), HeapMiB: p.MemoryMiB, GPUs: int(p.GPUs),
		})
	}
	return restError(a.n.host.SetTotals(ctx, id, want, host.Request(r)))
}

func (a *applications) Kill(ctx context.Context, id string, executors []string, r dispatcher.Request) error {
	return restError(a.n.host.Kill(ctx, id, executors, host.Request(r)))
}

func (a *applications) Exclude(ctx context.Context, id string, e api.AppExclude, r dispatcher.Request) error {
	if e.DurationMs < 0 || e.DurationMs > math.MaxInt64/int64(time.Millisecond) {
		return &rest.AppInvalidError{Field: "durationMs", Reason: "is out of range"}
	}
	return restError(a.n.host.Exclude(ctx, id, e.Host, time.Duration(e.DurationMs)*time.Millisecond, e.Reason, host.Request(r)))
}

func (a *applications) Admit(ctx context.Context, id, name string, r dispatcher.Request) error {
	return restError(a.n.host.Admit(ctx, id, name, host.Request(r)))
}

func (a *applications) Stop(ctx context.Context, id, reason string, r dispatcher.Request) error {
	return restError(a.n.host.Stop(ctx, id, reason, host.Request(r)))
}

func (a *applications) Heard(ctx context.Context, id string) error {
	return restError(a.n.host.Heard(ctx, id))
}

func (a *applications) Event(id string, c *fsm.Change) (api.AppEvent, bool) {
	if c.ID != id {
		return api.AppEvent{}, false
	}
	out := api.AppEvent{Change: c.Number, At: timeOf(c.TimeMs), Event: c.Event, From: c.From, To: c.To, Reason: c.Reason}
	switch {
	case c.Executor != nil:
		out.Type = api.EventExecutor
		e := executorOf(c.Executor)
		out.Executor = &e
	case c.App != nil && c.App.Hosted():
		out.Type = api.EventApp
		st := a.status(a.n.host.Status(a.n.state.View(), c.App))
		out.App = &st
	default:
		return api.AppEvent{}, false
	}
	return out, true
}

// restError is an error of the host as the server tells it apart.
func restError(err error) error {
	var invalid *host.InvalidError
	switch {
	case errors.As(err, &invalid):
		return &rest.AppInvalidError{Field: invalid.Field, Reason: invalid.Reason}
	case errors.Is(err, host.ErrNotFound):
		return dispatcher.ErrNotFound
	}
	return err
}

func (a *applications) status(s host.Status) api.AppStatus {
	app := s.App
	out := api.AppStatus{
		ID: app.ID, ApplicationID: app.Framework.ID, Name: app.Name, State: string(s.State), User: app.User, Reason: app.StopReason,
		RegisteredAt: timeOf(app.RegisteredMs), StoppedAt: optionalTime(app.StoppedMs),
		HeardAt: timeOf(app.HeardMs), FailoverTimeoutMs: app.FailoverTimeoutMs,
		Totals: make([]api.ProfileTotal, 0, len(app.Totals)), Hosts: slices.Clone(app.Hosts),
		Live: s.Live, Running: s.Running, Draining: s.Draining, Cores: s.Cores, GPUs: s.GPUs,
	}
	for _, t := range app.Totals {
		out.Totals = append(out.Totals, api.ProfileTotal{Profile: t.Profile, Total: t.Total, Cores: t.Cores, MemoryMiB: t.HeapMib, GPUs: t.Gpus})
	}
	now := time.Now().UnixMilli()
	for _, x := range app.Exclusions {
		if x.Excluded && (x.UntilMs == 0 || x.UntilMs > now) {
			out.Exclusions = append(out.Exclusions, api.AppExclusion{Host: x.Host, AgentID: x.AgentId, Until: optionalTime(x.UntilMs), Reason: x.Reason})
		}
	}
	if out.Leader = a.n.service.Leader(); out.Leader != "" {
		if node, found := a.n.state.Node(out.Leader); found {
			out.LeaderURL = node.RestUrl
		}
	}
	if len(s.HeldBack) > 0 {
		out.HeldBack = make(map[string]uint64, len(s.HeldBack))
		for reason, n := range s.HeldBack {
			out.HeldBack[string(reason)] = n
		}
	}
	if s.Problem != nil {
		out.Problem = s.Problem.Error()
	}
	return out
}

func executorOf(e *fsm.Executor) api.AppExecutor {
	return api.AppExecutor{
		ID: e.TaskID(), State: string(e.State), Profile: e.Profile, AgentID: e.AgentID, Host: e.Host,
		Cores: e.Cores, MemMiB: e.MemMiB, GPUs: e.GPUs,
		LaunchedAt: timeOf(e.LaunchedMs), RunningAt: optionalTime(e.RunningMs), EndedAt: optionalTime(e.EndedMs),
		Reason: e.Reason, Status: rest.TaskStatus(e.Last),
	}
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func optionalTime(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := timeOf(ms)
	return &t
}
