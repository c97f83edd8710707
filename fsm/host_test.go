package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// host registers a hosted application whose framework is subscribed.
func (n *node) host(id string) *App {
	n.t.Helper()
	n.ok(NumberHostApp, hostedApp(id))
	n.appEvent(id, FrameworkSubscribe, "fw-"+id)
	return n.hostedAs(id)
}

func (n *node) hostedAs(id string) *App {
	n.t.Helper()
	a, found := n.s.App(id)
	if !found {
		n.t.Fatalf("no application %s", id)
	}
	return a
}

func hostedApp(id string) *fsmpb.HostApp {
	return &fsmpb.HostApp{
		App:               &fsmpb.RegisterApp{AppId: id, Name: "pi", Spec: []byte{7}, User: "u", MaxAgentFailures: 2, ExcludeMs: 1000, Totals: []*ProfileTotal{{Total: 3}}},
		IdPrefix:          "app-",
		MaxApps:           5,
		FailoverTimeoutMs: 60_000,
	}
}

// smallHosted has hosted applications: one that runs, one that was chosen a name,
// one that expired.
func smallHosted(n *node) {
	n.host("hosted")
	n.execStatus("hosted", n.executor("hosted", "a1"), TaskRunning)
	n.ok(NumberHostApp, hostedApp(""))
	n.host("gone")
	n.executor("gone", "a2")
	n.now += 11
	n.ok(NumberKeepApp, &fsmpb.KeepApp{AppId: "hosted"})
	n.ok(NumberExpireApp, &fsmpb.ExpireApp{AppId: "gone", Heard: 1, Reason: "its driver stayed away"})
}

func TestHostApp(t *testing.T) {
	n := subscribed(t)
	n.app("library", 1)
	n.host("app")
	n.host("over")
	n.ok(NumberStopApp, &fsmpb.StopApp{AppId: "over"})
	for _, c := range []struct {
		name   string
		id     string
		change func(*fsmpb.HostApp)
		want   Code
	}{
		{"the same again", "app", nil, CodeUnchanged},
		{"the same with other derived settings", "app", func(c *fsmpb.HostApp) { c.FailoverTimeoutMs, c.App.User = 5, "v" }, CodeUnchanged},
		{"another specification", "app", func(c *fsmpb.HostApp) { c.App.Spec = []byte{8} }, CodeConflict},
		{"the id of an application of the library", "library", func(c *fsmpb.HostApp) { c.App.Spec = []byte{1, 2} }, CodeConflict},
		{"the id of a stopped one", "over", nil, CodeTerminated},
		{"an id with a slash", "a/b", nil, CodeMalformed},
		{"no application", "x", func(c *fsmpb.HostApp) { c.App = nil }, CodeMalformed},
		{"no timeout", "x", func(c *fsmpb.HostApp) { c.FailoverTimeoutMs = 0 }, CodeMalformed},
		{"endless timeout", "x", func(c *fsmpb.HostApp) { c.FailoverTimeoutMs = maxTimeMs + 1 }, CodeMalformed},
		{"long specification", "x", func(c *fsmpb.HostApp) { c.App.Spec = make([]byte, maxSpec+1) }, CodeMalformed},
		{"negative total", "x", func(c *fsmpb.HostApp) { c.App.Totals[0].Total = -1 }, CodeMalformed},
		{"the framework of the cluster", "x", func(c *fsmpb.HostApp) { c.App.FrameworkId = "fw" }, CodeFrameworkID},
		{"the framework of another one", "x", func(c *fsmpb.HostApp) { c.App.FrameworkId = "fw-app" }, CodeFrameworkID},
		{"beyond the limit", "x", func(c *fsmpb.HostApp) { c.MaxApps = 2 }, CodeQueueFull},
		{"a framework id of its own", "x", func(c *fsmpb.HostApp) { c.App.FrameworkId = "mine" }, CodeOK},
	} {
		body := hostedApp(c.id)
		if c.change != nil {
			c.change(body)
		}
		check := func() {
			if r := n.do(NumberHostApp, body); Code(r.Code) != c.want {
				t.Errorf("%s: %s %s, want %s", c.name, Code(r.Code), r.Message, c.want)
			}
		}
		if c.want.Refused() {
			check() // the first one is remembered, which is a change
		}
		check()
	}
	if a := n.hostedAs("app"); !a.Hosted() || a.User != "u" || a.FailoverTimeoutMs != 60_000 || a.Heard != 3 || a.HeardMs != n.now {
		t.Errorf("%+v", a)
	}
	checkInvariants(t, n.s)
}

func TestTheClusterChoosesAnIdThatNobodyHas(t *testing.T) {
	n := newNode(t)
	n.host("app-0002")
	s := n.stamp()
	first := n.stamped(NumberHostApp, s, hostedApp(""))
	again := n.stamped(NumberHostApp, s, hostedApp(""))
	if first.AppId != "app-0003" || again.AppId != first.AppId || !again.RepeatedRequest || again.DriverId != "" {
		t.Errorf("%v, then %v", first, again)
	}
	if r := n.ok(NumberHostApp, hostedApp("")); r.AppId != "app-0004" && r.AppId != "app-0003" || r.AppId == first.AppId {
		t.Errorf("%v", r)
	}
}

func TestASignOfLifeWinsOverATearDownDecidedBefore(t *testing.T) {
	n := newNode(t)
	a := n.host("app")
	task := n.executor("app", "a1")
	expire := &fsmpb.ExpireApp{AppId: "app", Heard: a.Heard, Reason: "away"}
	n.now -= 5000 // a node whose clock is late
	feed := n.s.Feed().Next()
	n.ok(NumberKeepApp, &fsmpb.KeepApp{AppId: "app"})
	if b := n.hostedAs("app"); b.Heard != a.Heard+1 || b.HeardMs != a.HeardMs || n.s.Feed().Next() != feed {
		t.Errorf("%+v, was %+v", b, a)
	}
	n.untouched(func() { wantCode(t, n.do(NumberExpireApp, expire).Code, CodeConflict) })
	n.wantExecutor("app", task, ExecutorLaunching)
	expire.Heard++
	n.ok(NumberExpireApp, expire)
	if b := n.hostedAs("app"); !b.Stopped || b.StopReason != "away" {
		t.Errorf("%+v", b)
	}
	n.wantExecutor("app", task, ExecutorDraining)
	n.untouched(func() {
		wantCode(t, n.do(NumberKeepApp, &fsmpb.KeepApp{AppId: "app"}).Code, CodeTerminated)
		wantCode(t, n.do(NumberExpireApp, expire).Code, CodeTerminated)
		wantCode(t, n.do(NumberKeepApp, &fsmpb.KeepApp{AppId: "nobody"}).Code, CodeNotFound)
	})
	n.app("library", 1)
	n.untouched(func() { wantCode(t, n.do(NumberKeepApp, &fsmpb.KeepApp{AppId: "library"}).Code, CodeIllegal) })
	checkInvariants(t, n.s)
}

func TestHostedApplicationsThatAreOverAreForgottenInTime(t *testing.T) {
	over := func(n *node, i int, size int) string {
		body := hostedApp(fmt.Sprintf("app-%04d", i))
		body.App.Spec = []byte(strings.Repeat("s", size))
		n.ok(NumberHostApp, body)
		n.ok(NumberStopApp, &fsmpb.StopApp{AppId: body.App.AppId})
		return body.App.AppId
	}
	count := func(n *node) (apps int) {
		n.s.View().Apps(func(*App) bool { apps++; return true })
		return apps
	}
	t.Run("by number", func(t *testing.T) {
		n := newNode(t)
		n.host("alive")
		for i := range retainedApps + 7 {
			over(n, i, 1)
		}
		if _, found := n.s.App("app-0006"); found || count(n) != retainedApps+1 {
			t.Errorf("%d applications are kept", count(n))
		}
		n.hostedAs("alive")
	})
	t.Run("by size", func(t *testing.T) {
		n := newNode(t)
		for i := range retainedAppBytes/maxSpec + 5 {
			over(n, i, maxSpec)
		}
		if got := count(n); got > retainedAppBytes/maxSpec+2 {
			t.Errorf("%d applications are kept", got)
		}
	})
}
