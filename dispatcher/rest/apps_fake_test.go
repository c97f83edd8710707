package rest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// host is an Applications over the real state of a node, without backends.
type host struct {
	*node
	mu     sync.Mutex
	err    error           // what writes and linearizable reads fail with
	beats  map[string]int  // calls of Heard
	deaf   error           // what Heard fails with
	behind map[string]bool // applications that stale reads do not know yet
}

func newHost() *host {
	return &host{node: newNode(), beats: map[string]int{}, behind: map[string]bool{}}
}

func hostConfig(h *host) Config {
	cfg := testConfig()
	cfg.Applications = h
	return cfg
}

func (h *host) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *host) heardOf(id string) (n int) {
	h.locked(func() { n = h.beats[id] })
	return n
}

func (h *host) do(key string, number fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	var err error
	h.locked(func() { err = h.err })
	if err != nil {
		return nil, err
	}
	r := h.apply(key, number, body)
	return r, fsm.ResultError(r)
}

func (h *host) Register(_ context.Context, a api.Application, r dispatcher.Request) (api.AppStatus, bool, error) {
	h.locked(func() { h.asked = append(h.asked, r) })
	spec, _ := json.Marshal(a)
	timeout := a.FailoverTimeoutMs
	if timeout == 0 {
		timeout = 120_000
	}
	res, err := h.do(r.Key, fsm.NumberHostApp, &fsmpb.HostApp{
		App: &fsmpb.RegisterApp{AppId: a.ID, Name: a.Name, User: r.User, Spec: spec}, IdPrefix: "app-", FailoverTimeoutMs: timeout,
	})
	if err != nil {
		return api.AppStatus{}, false, err
	}
	app, _ := h.state.App(res.AppId)
	return statusOf(app), res.RepeatedRequest || fsm.Code(res.Code) == fsm.CodeUnchanged, nil
}

func statusOf(a *fsm.App) api.AppStatus {
	st := api.AppStatus{
		ID: a.ID, ApplicationID: a.Framework.ID, Name: a.Name, Reason: a.StopReason, User: a.User,
		RegisteredAt: timeOf(a.RegisteredMs), StoppedAt: optionalTime(a.StoppedMs), HeardAt: timeOf(a.HeardMs),
		FailoverTimeoutMs: a.FailoverTimeoutMs, Hosts: a.Hosts,
	}
	switch {
	case a.Over():
		st.State = api.AppStopped
	case a.Stopped:
		st.State = api.AppStopping
	case a.Framework.State == fsm.FrameworkNew:
		st.State = api.AppStarting
	default:
		st.State = api.AppRunning
	}
	for _, p := range a.Totals {
		st.Totals = append(st.Totals, api.ProfileTotal{Profile: p.Profile, Total: p.Total})
	}
	for _, x := range a.Exclusions {
		st.Exclusions = append(st.Exclusions, api.AppExclusion{Host: x.Host, Until: optionalTime(x.UntilMs), Reason: x.Reason})
	}
	return st
}

func executorOf(e *fsm.Executor) *api.AppExecutor {
	return &api.AppExecutor{
		ID: e.TaskID(), State: string(e.State), Host: e.Host, AgentID: e.AgentID, Cores: e.Cores, MemMiB: e.MemMiB,
		LaunchedAt: timeOf(e.LaunchedMs), EndedAt: optionalTime(e.EndedMs), Reason: e.Reason, Status: taskStatus(e.Last),
	}
}

// look is what every read begins with.
func (h *host) look(id string, c dispatcher.Consistency) (*fsm.App, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c == dispatcher.Linearizable && h.err != nil {
		return nil, h.err
	}
	a, found := h.state.App(id)
	if !found || c == dispatcher.Stale && h.behind[id] {
		return nil, dispatcher.ErrNotFound
	}
	return a, nil
}

func (h *host) Application(_ context.Context, id string, c dispatcher.Consistency) (api.AppStatus, error) {
	a, err := h.look(id, c)
	if err != nil {
		return api.AppStatus{}, err
	}
	return statusOf(a), nil
}

func (h *host) List(_ context.Context, c dispatcher.Consistency) (out api.AppList, err error) {
	h.locked(func() { err = h.err })
	if err != nil && c == dispatcher.Linearizable {
		return out, err
	}
	h.state.View().Apps(func(a *fsm.App) bool {
		out.Applications = append(out.Applications, statusOf(a))
		return true
	})
	return out, nil
}

func (h *host) Executors(_ context.Context, id string, c dispatcher.Consistency) (out api.AppExecutors, err error) {
	if _, err := h.look(id, c); err != nil {
		return out, err
	}
	v := h.state.View()
	v.Executors(id, func(e *fsm.Executor) bool {
		out.Executors = append(out.Executors, *executorOf(e))
		return true
	})
	out.Change = v.NextChange() - 1
	return out, nil
}

func (h *host) SetTotals(_ context.Context, id string, t api.AppTotals, r dispatcher.Request) error {
	c := &fsmpb.SetTotals{AppId: id}
	for _, p := range t.Totals {
		c.Totals = append(c.Totals, &fsm.ProfileTotal{Profile: p.Profile, Total: p.Total})
	}
	for host := range t.Hosts {
		c.Hosts = append(c.Hosts, host)
	}
	slices.Sort(c.Hosts)
	_, err := h.do(r.Key, fsm.NumberSetTotals, c)
	return err
}

func (h *host) Kill(_ context.Context, id string, executors []string, r dispatcher.Request) error {
	_, err := h.do(r.Key, fsm.NumberKillExecutors, &fsmpb.KillExecutors{AppId: id, TaskIds: executors, Reason: "asked"})
	return err
}

func (h *host) Exclude(_ context.Context, id string, e api.AppExclude, r dispatcher.Request) error {
	_, err := h.do(r.Key, fsm.NumberExcludeHost, &fsmpb.ExcludeHost{AppId: id, Host: e.Host, Reason: e.Reason})
	return err
}

func (h *host) Admit(_ context.Context, id, name string, r dispatcher.Request) error {
	_, err := h.do(r.Key, fsm.NumberExcludeHost, &fsmpb.ExcludeHost{AppId: id, Host: name, Lift: true})
	return err
}

func (h *host) Stop(_ context.Context, id, reason string, r dispatcher.Request) error {
	_, err := h.do(r.Key, fsm.NumberStopApp, &fsmpb.StopApp{AppId: id, Reason: reason})
	return err
}

func (h *host) Heard(_ context.Context, id string) (err error) {
	h.locked(func() {
		h.beats[id]++
		err = h.deaf
	})
	if err != nil {
		return err
	}
	_, err = h.do("", fsm.NumberKeepApp, &fsmpb.KeepApp{AppId: id})
	return err
}

func (h *host) Event(id string, c *fsm.Change) (api.AppEvent, bool) {
	if c.ID != id {
		return api.AppEvent{}, false
	}
	e := api.AppEvent{Change: c.Number, At: timeOf(c.TimeMs), Event: c.Event, From: c.From, To: c.To, Reason: c.Reason}
	switch c.Kind {
	case fsm.ChangeApp:
		st := statusOf(c.App)
		e.Type, e.App = api.EventApp, &st
	case fsm.ChangeExecutor:
		e.Type, e.Executor = api.EventExecutor, executorOf(c.Executor)
	default:
		return e, false
	}
	return e, true
}

// app registers an application whose framework Mesos knows.
func (h *host) app(t testing.TB, id string, total int64) {
	t.Helper()
	_, _, err := h.Register(context.Background(), api.Application{ID: id, Name: id}, dispatcher.Request{})
	if err != nil {
		t.Fatal(err)
	}
	h.subscribe(id)
	h.apply("", fsm.NumberSetTotals, &fsmpb.SetTotals{AppId: id, Totals: []*fsm.ProfileTotal{{Total: total}}})
}

func (h *host) subscribe(id string) {
	h.apply("", fsm.NumberAppFrameworkEvent, &fsmpb.AppFrameworkEvent{AppId: id, Event: &fsmpb.FrameworkEvent{
		Event: fsm.FrameworkSubscribe, FrameworkId: "fw-" + id,
	}})
}

// launch launches the next executor of an application.
func (h *host) launch(id string) string {
	a, _ := h.state.App(id)
	h.apply("", fsm.NumberLaunchExecutors, &fsmpb.LaunchExecutors{AppId: id, Launches: []*fsmpb.ExecutorLaunch{
		{Number: a.NextNumber, AgentId: "agent-1", Host: "agent.example", Cores: 1, MemMib: 1408},
	}})
	return (&fsm.Executor{Number: a.NextNumber}).TaskID()
}

func (h *host) status(id, executor string, state fsm.TaskState, message string) {
	h.apply("", fsm.NumberRecordExecutorStatuses, &fsmpb.RecordExecutorStatuses{AppId: id, Statuses: []*fsm.Status{
		{TaskId: executor, State: int32(state), Message: message},
	}})
}

// end stops an application and tears its framework down.
func (h *host) end(id string) {
	h.apply("", fsm.NumberStopApp, &fsmpb.StopApp{AppId: id, Reason: "enough"})
	h.apply("", fsm.NumberAppFrameworkEvent, &fsmpb.AppFrameworkEvent{AppId: id, Event: &fsmpb.FrameworkEvent{Event: fsm.FrameworkTearDown}})
}
