package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// frame is one event of an application as it came.
type frame struct {
	api.AppEvent
	id string // empty: none
}

func (f frame) String() string {
	what := ""
	if f.Executor != nil {
		what = f.Executor.ID + ":" + f.Executor.State
	}
	if f.App != nil {
		what = f.App.State
	}
	return fmt.Sprintf("%s %s %s", f.Type, f.Event, what)
}

// appEvent is the next event; false: the stream ended.
func (r *reader) appEvent() (f frame, ok bool) {
	r.t.Helper()
	fields := map[string]string{}
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" && fields["data"] != "" {
			ok = true
			break
		}
		if line == "" {
			clear(fields)
		}
		if name, value, found := strings.Cut(line, ": "); found && name != "" {
			fields[name] = value
		}
	}
	if !ok {
		return f, false
	}
	d := json.NewDecoder(strings.NewReader(fields["data"]))
	d.DisallowUnknownFields()
	if err := d.Decode(&f.AppEvent); err != nil || f.Type != fields["event"] {
		r.t.Fatalf("%v in %v", err, fields)
	}
	f.id = fields["id"]
	return f, true
}

func (r *reader) want(frames ...string) (last frame) {
	r.t.Helper()
	for _, want := range frames {
		f, ok := r.appEvent()
		if !ok || f.String() != want {
			r.t.Fatalf("event %q (%t, %v), want %q", f, ok, r.lines.Err(), want)
		}
		last = f
	}
	return last
}

func (r *reader) wantEnd() {
	r.t.Helper()
	if f, ok := r.appEvent(); ok {
		r.t.Fatalf("event %q, and the stream is to end", f)
	}
}

func TestEventsOfAnApplicationBeginWithItsExecutorsAndEndWithIt(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	h.app(t, "b", 3)
	h.launch("a")
	h.status("a", h.launch("a"), fsm.TaskFailed, "exit 1")
	h.status("a", h.launch("a"), fsm.TaskRunning, "")
	addr := listen(t, newServer(t, hostConfig(h), h.node))
	r := followPath(t, addr, "/v1/apps/a/events")
	if f := r.want("executor snapshot 0:LAUNCHING", "executor snapshot 2:RUNNING"); f.id != "" {
		t.Errorf("an event in the middle of the snapshot has the id %s: its reader would miss the rest", f.id)
	}
	if f := r.want("app snapshot RUNNING"); f.id != fmt.Sprint(h.state.Feed().Next()-1) || f.App.Totals[0].Total != 3 {
		t.Errorf("%+v", f)
	}
	h.launch("b")
	h.submitNamed("driver", "")
	h.status("a", "0", fsm.TaskFailed, "exit 137")
	if f := r.want("executor failed 0:FAILED"); f.Reason != "exit 137" || f.From != "LAUNCHING" || f.To != "FAILED" || f.id != fmt.Sprint(f.Change) || f.Executor.Status.State != "TASK_FAILED" {
		t.Errorf("%+v", f)
	}
	h.end("a")
	r.want("app stop STOPPING", "executor kill 2:DRAINING", "executor ended 2:KILLED", "app tear_down STOPPED")
	r.wantEnd()
	late := followPath(t, addr, "/v1/apps/a/events")
	late.want("app snapshot STOPPED", "app snapshot STOPPED")
	late.wantEnd()
	behind := followPath(t, addr, "/v1/apps/a/events", "Last-Event-ID", fmt.Sprint(h.state.Feed().Next()-1))
	behind.want("app snapshot STOPPED")
	behind.wantEnd()
}

func TestAReaderGoesOnAtAnotherNode(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	h.launch("a")
	position := h.state.Feed().Next() - 1
	h.launch("a")
	h.err = raftstore.ErrNoLeader // while the cluster elects
	h.locked(func() { h.behind["new"] = true })
	addr := listen(t, newServer(t, hostConfig(h), h.node))
	for _, r := range []*reader{
		followPath(t, addr, "/v1/apps/a/events", "Last-Event-ID", fmt.Sprint(position)),
		followPath(t, addr, fmt.Sprintf("/v1/apps/a/events?since=%d", position)),
	} {
		r.want("executor launch 1:LAUNCHING")
	}
	h.locked(func() { h.err = nil })
	h.app(t, "new", 1)
	r := followPath(t, addr, fmt.Sprintf("/v1/apps/new/events?since=%d", position))
	r.want("app register STARTING") // the node lags behind, and does not take the application for unknown
}

func TestAReaderThatMissedChangesLearnsAlsoWhatEnded(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	h.launch("a")
	h.status("a", h.launch("a"), fsm.TaskLost, "agent gone")
	for i := range 8300 { // more than the feed keeps
		h.apply("", fsm.NumberUpsertNode, &fsmpb.UpsertNode{Node: &fsmpb.Node{Id: "n2", Version: fmt.Sprint(i)}})
	}
	addr := listen(t, newServer(t, hostConfig(h), h.node))
	r := followPath(t, addr, "/v1/apps/a/events", "Last-Event-ID", "3")
	r.want("reset  ", "executor snapshot 0:LAUNCHING")
	if f := r.want("executor snapshot 1:LOST"); f.Reason != "agent gone" || f.id != "" {
		t.Errorf("%+v", f)
	}
	if f := r.want("app snapshot RUNNING"); f.id == "" {
		t.Error("the end of the snapshot has no id")
	}
	h.launch("a")
	r.want("executor launch 2:LAUNCHING")
}

// The position of a quiet application in a busy cluster must not be forgotten.
func TestHeartbeatsMoveThePositionOn(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	cfg := hostConfig(h)
	cfg.Limits.EventHeartbeat = 10 * time.Millisecond
	r := followPath(t, listen(t, newServer(t, cfg, h.node)), "/v1/apps/a/events")
	r.want("app snapshot RUNNING")
	for range 10 {
		h.submitNamed("driver", "")
	}
	want := fmt.Sprint("id: ", h.state.Feed().Next()-1)
	for r.lines.Scan() && r.lines.Text() != want {
	}
	if r.lines.Text() != want {
		t.Errorf("the stream ended at %q, without %q", r.lines.Text(), want)
	}
}

func TestAStreamGoesThroughManyChangesOfOthers(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	addr := listen(t, newServer(t, hostConfig(h), h.node))
	r := followPath(t, addr, "/v1/apps/a/events")
	r.want("app snapshot RUNNING")
	for i := range 20 * eventBatch / 10 {
		h.apply("", fsm.NumberUpsertNode, &fsmpb.UpsertNode{Node: &fsmpb.Node{Id: "n2", Version: fmt.Sprint(i)}})
	}
	h.launch("a")
	r.want("executor launch 0:LAUNCHING")
}

func TestAnOpenStreamIsASignOfLifeUnlessItObserves(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	h.apply("", fsm.NumberHostApp, &fsmpb.HostApp{App: &fsmpb.RegisterApp{AppId: "quick"}, FailoverTimeoutMs: 4000})
	addr := listen(t, newServer(t, hostConfig(h), h.node))
	observer := followPath(t, addr, "/v1/apps/quick/events?observer=true")
	observer.want("app snapshot STARTING")
	driver := followPath(t, addr, "/v1/apps/a/events")
	driver.want("app snapshot RUNNING")
	eventually(t, "the driver is heard", func() bool { return h.heardOf("a") == 1 })
	if n := h.heardOf("quick"); n != 0 {
		t.Errorf("an observer is heard %d times", n)
	}
	began := time.Now()
	followPath(t, addr, "/v1/apps/quick/events").want("app snapshot STARTING")
	eventually(t, "the driver is heard again and again", func() bool { return h.heardOf("quick") >= 3 })
	if most, n := int(time.Since(began)/time.Second)+1, h.heardOf("quick"); n > most {
		t.Errorf("heard %d times; at most %d are due in this time", n, most)
	}
	if r, _ := http.Get("http://" + addr + "/v1/apps/a/events?observer=x"); r.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", r.StatusCode)
	} else {
		r.Body.Close()
	}
}

// A reader at a node that is cut off must look for another one before its
// application is given up.
func TestANodeThatIsCutOffEndsItsStreams(t *testing.T) {
	for name, breakIt := range map[string]func(h *host){
		"it cannot commit":   func(h *host) { h.locked(func() { h.deaf = raftstore.ErrNoLeader }) },
		"it knows no leader": func(h *host) { h.node.mu.Lock(); h.leader = ""; h.node.mu.Unlock() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			h.apply("", fsm.NumberHostApp, &fsmpb.HostApp{App: &fsmpb.RegisterApp{AppId: "quick"}, FailoverTimeoutMs: 400})
			addr := listen(t, newServer(t, hostConfig(h), h.node))
			r := followPath(t, addr, "/v1/apps/quick/events")
			r.want("app snapshot STARTING")
			breakIt(h)
			r.wantEnd()
		})
	}
}

func TestAReaderOfAnApplicationThatDoesNotReadIsCutAndHoldsNobodyUp(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	cfg := hostConfig(h)
	cfg.Limits.WriteTimeout = 100 * time.Millisecond
	s := newServer(t, cfg, h.node)
	addr := listen(t, s)
	c := dial(t, addr)
	fmt.Fprintf(c, "GET /v1/apps/a/events HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, "the stream is open", func() bool { return s.appStreams.Load() == 1 && s.inFlight.Load() == 0 })
	good := followPath(t, addr, "/v1/apps/a/events")
	good.want("app snapshot RUNNING")
	reason := strings.Repeat("x", 4000)
	eventually(t, "the stream is cut", func() bool {
		for range 100 {
			h.apply("", fsm.NumberExcludeHost, &fsmpb.ExcludeHost{AppId: "a", Host: "h", Reason: reason})
			h.apply("", fsm.NumberExcludeHost, &fsmpb.ExcludeHost{AppId: "a", Host: "h", Lift: true})
		}
		for range 100 {
			good.want("app exclude RUNNING", "app admit RUNNING")
		}
		return s.appStreams.Load() == 1
	})
}

func TestStreamsOfApplicationsAreLimitedAndEndWithTheServer(t *testing.T) {
	h := newHost()
	h.app(t, "a", 3)
	cfg := hostConfig(h)
	cfg.Limits.MaxAppStreams = 1
	s := newServer(t, cfg, h.node)
	addr := listen(t, s)
	r := followPath(t, addr, "/v1/apps/a/events")
	r.want("app snapshot RUNNING")
	if w := do(s, "GET", "/v1/apps/a/events", ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("the second stream: status %d", w.Code)
	}
	for _, query := range []string{"since=x", "since=-1"} {
		if w := do(s, "GET", "/v1/apps/a/events?"+query, ""); w.Code != 400 && w.Code != 503 {
			t.Errorf("%s: status %d", query, w.Code)
		}
	}
	followPath(t, addr, "/v1/events") // has a limit of its own
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown with an open stream: %v", err)
	}
	r.wantEnd()
	if n := s.appStreams.Load(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}
