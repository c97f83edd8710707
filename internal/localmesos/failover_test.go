package localmesos_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

const forever = "sleep 1000"

func TestUpdatesComeUntilAcknowledged(t *testing.T) {
	m := start(t, localmesos.Options{UpdateRetry: 20 * time.Millisecond})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", "exit 4"))
	first := f.update("t")
	eventually(t, "end of the task", func() bool { return viewOf(t, m, "t").State == "TASK_FAILED" })
	var last time.Time
	var gaps []time.Duration
	for range 4 {
		s := f.update("t")
		if s.GetState() != mesos.TASK_STARTING || string(s.UUID) != string(first.UUID) {
			t.Fatalf("%v before the first was acknowledged", s)
		}
		if !last.IsZero() {
			gaps = append(gaps, time.Since(last))
		}
		last = time.Now()
	}
	if gaps[2] < gaps[0] {
		t.Errorf("retries do not slow down: %v", gaps)
	}
	f.ack(&mesos.TaskStatus{AgentID: first.AgentID, TaskID: first.TaskID, UUID: []byte("another's uuid..")})
	f.ack(first)
	f.ack(first) // twice does no harm
	for f.update("t").GetState() == mesos.TASK_STARTING {
	}
	f.reconcile("t", "")
	for { // the framework's view lags behind until it acknowledges
		if s := f.update("t"); s.GetReason() == mesos.REASON_RECONCILIATION {
			if s.GetState() != mesos.TASK_RUNNING || s.UUID != nil {
				t.Errorf("%v", s)
			}
			break
		}
	}
	f.ack(f.update("t"))
	for {
		s := f.update("t")
		f.ack(s)
		if s.GetState() == mesos.TASK_FAILED {
			break
		}
	}
	eventually(t, "the task to be past", func() bool { return viewOf(t, m, "t").Unacked == 0 })
}

func TestReconcile(t *testing.T) {
	for _, c := range []struct {
		info                   *mesos.FrameworkInfo
		gone, unknown, unreach mesos.TaskState
		byOperator             mesos.TaskState
	}{
		{aware(), mesos.TASK_GONE, mesos.TASK_UNKNOWN, mesos.TASK_UNREACHABLE, mesos.TASK_GONE_BY_OPERATOR},
		{plainInfo(), mesos.TASK_LOST, mesos.TASK_LOST, mesos.TASK_LOST, mesos.TASK_LOST},
	} {
		m := start(t, localmesos.Options{Agents: 3})
		f := subscribe(t, m.Addr(), codecs.MediaTypeJSON, c.info)
		f.launch(shell("known", forever))
		f.until("known", mesos.TASK_STARTING, mesos.TASK_RUNNING)
		agents := m.Agents()
		check := func(task, agent string, state mesos.TaskState, message string) {
			t.Helper()
			f.reconcile(task, agent)
			s := f.update(task)
			if s.GetState() != state || s.GetMessage() != message || s.GetReason() != mesos.REASON_RECONCILIATION ||
				s.GetSource() != mesos.SOURCE_MASTER || s.UUID != nil {
				t.Errorf("%v, want %s %q", s, state, message)
			}
		}
		check("known", "", mesos.TASK_RUNNING, "Reconciliation: Latest task state")
		check("x", agents[0].ID, c.gone, "Reconciliation: Task is unknown to the agent")
		check("x", "", c.unknown, "Reconciliation: Task is unknown")
		check("x", "nowhere", c.unknown, "Reconciliation: Task is unknown")
		var others []string
		for _, a := range agents {
			if a.Tasks == 0 {
				others = append(others, a.ID)
			}
		}
		m.LoseAgent(others[0])
		check("x", others[0], c.unreach, "Reconciliation: Task is unreachable")
		m.RemoveAgent(others[1])
		check("x", others[1], c.byOperator, "Reconciliation: Task is gone")
		f.call(&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{}})
		if s := f.update("known"); s.GetReason() != mesos.REASON_RECONCILIATION {
			t.Errorf("implicit: %v", s)
		}
		f.call(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: "x"}}})
		f.until("x", c.unknown)
	}
}

func TestFrameworkFailover(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	held := f.offer()
	g := subscribe(t, m.Addr(), codecs.MediaTypeJSON, f.info)
	if g.id != f.id {
		t.Errorf("id %s, want %s", g.id, f.id)
	}
	if e := f.next(scheduler.Event_ERROR).Error.Message; e != "Framework failed over" {
		t.Errorf("error %q", e)
	}
	f.ended()
	if status, body, err := f.post(&scheduler.Call{Type: scheduler.Call_REVIVE}); status != http.StatusBadRequest {
		t.Errorf("call on the old stream: %d %q %v", status, body, err)
	}
	late := shell("late", "true")
	late.AgentID = held.AgentID
	g.accept(noFilter, []mesos.OfferID{held.ID}, late)
	g.until("late", mesos.TASK_DROPPED)
	g.offer()
	g.call(&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{}})
	g.until("t", mesos.TASK_RUNNING)

	principal, other := "somebody else", *f.info
	other.Principal = &principal
	h := connect(t, m.Addr(), codecs.MediaTypeJSON, &other)
	if e := h.next(scheduler.Event_ERROR).Error.Message; e != "Changing framework's principal is not allowed." {
		t.Errorf("error %q", e)
	}
	h.ended()
	g.kill("t", 0)
	g.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED)
}

func TestFailoverTimeoutRemovesTheFramework(t *testing.T) {
	m := start(t, localmesos.Options{})
	info := aware()
	*info.FailoverTimeout = 0.05
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, info)
	f.launch(shell("t", forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	pid := viewOf(t, m, "t").PID
	f.stop()
	eventually(t, "the framework to be removed", func() bool { return m.Frameworks()[0].Completed })
	eventually(t, "the task to be killed", func() bool { return !alive(pid) })
	again := connect(t, m.Addr(), codecs.MediaTypeProtobuf, f.info)
	if e := again.next(scheduler.Event_ERROR).Error.Message; e != "Framework has been removed" {
		t.Errorf("error %q", e)
	}
	again.ended()
}

func TestSubscriptionWithinTheFailoverTimeoutKeepsTheTasks(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	m.CutStreams(f.id)
	f.ended()
	if status, body, err := f.post(&scheduler.Call{Type: scheduler.Call_REVIVE}); status != http.StatusForbidden || body != "Framework is not subscribed" {
		t.Errorf("call without a stream: %d %q %v", status, body, err)
	}
	g := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, f.info)
	g.kill("t", 0)
	g.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED)
}

func TestTeardown(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	pid := viewOf(t, m, "t").PID
	f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	f.ended()
	eventually(t, "the task to be killed", func() bool { return !alive(pid) })
	if v := viewOf(t, m, "t"); v.State != "TASK_KILLED" {
		t.Errorf("%+v", v)
	}
	eventually(t, "resources to be free", func() bool { return m.Agents()[0].Tasks == 0 })
	g := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	if o := g.offer(); cpusOf(o) != 4 {
		t.Errorf("%v", o)
	}
}

func TestMasterFailoverKeepsTheTasks(t *testing.T) {
	m := start(t, localmesos.Options{AgentReregisterDelay: 150 * time.Millisecond, UpdateRetry: time.Hour})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("acked", forever))
	f.until("acked", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	f.launch(shell("unacked", forever))
	lost := f.update("unacked")
	held := f.offer()
	pid := viewOf(t, m, "acked").PID
	if err := m.FailoverMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.ended()
	g := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, f.info)
	if g.id != f.id {
		t.Errorf("id %s, want %s", g.id, f.id)
	}
	g.reconcile("acked", held.AgentID.Value) // no answer: the agent is not back
	g.reconcile("acked", "")                 // neither
	s := g.update("unacked")                 // comes with the agent
	if s.GetState() != mesos.TASK_STARTING || string(s.UUID) != string(lost.UUID) {
		t.Errorf("%v", s)
	}
	g.ack(s)
	g.until("unacked", mesos.TASK_RUNNING)
	late := shell("late", "true")
	late.AgentID = held.AgentID
	g.accept(noFilter, []mesos.OfferID{held.ID}, late)
	g.until("late", mesos.TASK_DROPPED)
	g.reconcile("acked", "")
	if s := g.until("acked", mesos.TASK_RUNNING); s.GetReason() != mesos.REASON_RECONCILIATION {
		t.Errorf("%v", s)
	}
	if v := viewOf(t, m, "acked"); v.PID != pid || !alive(pid) {
		t.Errorf("pid %d became %d", pid, v.PID)
	}
	if o := g.offer(); cpusOf(o) > 3.81 {
		t.Errorf("running tasks do not count: %v", o)
	}
	g.kill("acked", 0)
	g.until("acked", mesos.TASK_KILLING, mesos.TASK_KILLED)
}

func TestUnknownFrameworkIDIsAcceptedAfterMasterFailover(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	f.ended()
	if err := m.FailoverMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, f.info) // Mesos forgets who it removed
	if g.id != f.id {
		t.Errorf("id %s, want %s", g.id, f.id)
	}
	g.offer()
}

func TestStandbysRedirectToTheLeader(t *testing.T) {
	m := start(t, localmesos.Options{Standbys: []string{"127.0.0.1:0"}})
	first, second := m.Addrs()[0], m.Addrs()[1]
	ask := func(addr, path string) (status int, location, body string) {
		t.Helper()
		method := http.MethodGet
		if path == "/api/v1/scheduler" {
			method = http.MethodPost
		}
		r, _ := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
		resp, err := do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Location"), string(b)
	}
	redirected := func(addr, path, want string) {
		t.Helper()
		if status, location, _ := ask(addr, path); status != http.StatusTemporaryRedirect || location != want {
			t.Errorf("%s: %d %q, want %q", path, status, location, want)
		}
	}
	redirected(second, "/api/v1/scheduler", "//"+first+"/api/v1/scheduler")
	redirected(second, "/master/state", "//"+first+"/master/state")
	redirected(first, "/master/redirect", "//"+first)

	f := subscribe(t, first, codecs.MediaTypeProtobuf, aware())
	if err := m.FailoverTo(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	f.ended()
	redirected(first, "/api/v1/scheduler", "//"+second+"/api/v1/scheduler")
	redirected(first, "/redirect", "//"+second)
	subscribe(t, second, codecs.MediaTypeProtobuf, f.info).offer()

	m.StopMaster()
	for _, addr := range m.Addrs() {
		if status, _, body := ask(addr, "/api/v1/scheduler"); status != http.StatusServiceUnavailable || body != "No leader elected" {
			t.Errorf("without a leader: %d %q", status, body)
		}
	}
	if err := m.FailoverTo(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("failover to nowhere")
	}
	if err := m.FailoverTo(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	subscribe(t, first, codecs.MediaTypeProtobuf, f.info).offer()
}
