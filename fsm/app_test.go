package fsm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func TestRegisterApp(t *testing.T) {
	n := newNode(t)
	register := func(c *fsmpb.RegisterApp) *fsmpb.Result { return n.do(NumberRegisterApp, c) }
	for _, c := range []struct {
		name string
		body *fsmpb.RegisterApp
		want Code
	}{
		{"first", &fsmpb.RegisterApp{AppId: "app", Name: "n", Totals: []*ProfileTotal{{Profile: 1, Total: 2}, {Total: 3}}}, CodeOK},
		{"again", &fsmpb.RegisterApp{AppId: "app", Name: "n"}, CodeUnchanged},
		{"with another specification", &fsmpb.RegisterApp{AppId: "app", Name: "n", Spec: []byte{1}}, CodeOK},
		{"no id", &fsmpb.RegisterApp{}, CodeMalformed},
		{"id with a slash", &fsmpb.RegisterApp{AppId: "a/b"}, CodeMalformed},
		{"long name", &fsmpb.RegisterApp{AppId: "x", Name: strings.Repeat("n", maxText+1)}, CodeMalformed},
		{"negative failures", &fsmpb.RegisterApp{AppId: "x", MaxAgentFailures: -1}, CodeMalformed},
		{"negative time", &fsmpb.RegisterApp{AppId: "x", ExcludeMs: -1}, CodeMalformed},
		{"negative total", &fsmpb.RegisterApp{AppId: "x", Totals: []*ProfileTotal{{Total: -1}}}, CodeMalformed},
		{"endless total", &fsmpb.RegisterApp{AppId: "x", Totals: []*ProfileTotal{{Total: Unlimited + 1}}}, CodeMalformed},
		{"profile twice", &fsmpb.RegisterApp{AppId: "x", Totals: []*ProfileTotal{{}, {}}}, CodeMalformed},
		{"negative resources", &fsmpb.RegisterApp{AppId: "x", Totals: []*ProfileTotal{{Gpus: -1}}}, CodeMalformed},
	} {
		if r := register(c.body); Code(r.Code) != c.want {
			t.Errorf("%s: %s %s, want %s", c.name, Code(r.Code), r.Message, c.want)
		}
	}
	a, _ := n.s.App("app")
	if a.Total(0) != 3 || a.Total(1) != 2 || a.Total(2) != 0 || len(a.Spec) != 1 || a.Totals[0].Profile != 0 {
		t.Errorf("%+v", a)
	}
	n.appEvent("app", FrameworkSubscribe, "fw")
	wantCode(t, register(&fsmpb.RegisterApp{AppId: "app", FrameworkId: "other"}).Code, CodeFrameworkID)
	wantCode(t, register(&fsmpb.RegisterApp{AppId: "app", FrameworkId: "fw"}).Code, CodeOK)
	checkInvariants(t, n.s)
}

func TestSetTotals(t *testing.T) {
	n := newNode(t)
	n.app("app", 1)
	set := func(c *fsmpb.SetTotals) Code { return Code(n.do(NumberSetTotals, c).Code) }
	many := make([]*ProfileTotal, maxProfiles+1)
	for i := range many {
		many[i] = &ProfileTotal{Profile: uint32(i)}
	}
	got := []Code{
		set(&fsmpb.SetTotals{AppId: "app", Totals: []*ProfileTotal{{Total: 4}}, Hosts: []string{"b", "a", "b"}}),
		set(&fsmpb.SetTotals{AppId: "nobody"}),
		set(&fsmpb.SetTotals{AppId: "app", Totals: []*ProfileTotal{{Total: -1}}}),
		set(&fsmpb.SetTotals{AppId: "app", Totals: many}),
		set(&fsmpb.SetTotals{AppId: "app", Hosts: []string{""}}),
	}
	if want := fmt.Sprint([]Code{CodeOK, CodeNotFound, CodeMalformed, CodeMalformed, CodeMalformed}); fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if a, _ := n.s.App("app"); a.Total(0) != 4 || fmt.Sprint(a.Hosts) != "[a b]" || a.TotalsMs != n.now {
		t.Errorf("%+v", a)
	}
}

func TestRequestsAboutApplicationsAreRemembered(t *testing.T) {
	n := newNode(t)
	n.app("app", 2)
	task := n.executor("app", "a1")
	s := n.stamp()
	kill := &fsmpb.KillExecutors{AppId: "app", TaskIds: []string{task}}
	wantCode(t, n.stamped(NumberKillExecutors, s, kill).Code, CodeOK)
	n.execStatus("app", task, TaskKilled)
	n.untouched(func() {
		if r := n.stamped(NumberKillExecutors, s, kill); !r.RepeatedRequest || Code(r.Code) != CodeOK {
			t.Errorf("%v", r)
		}
	})
}

func TestLaunchesThatNeverReachAnAgentAreNotRepeatedAtOnce(t *testing.T) {
	n := newNode(t)
	n.app("app", 2)
	var waits []int64
	for range 10 {
		n.execStatus("app", n.executor("app", "a1"), TaskDropped)
		a, _ := n.s.App("app")
		waits = append(waits, a.NotBeforeMs("a1")-n.now)
		n.now += 20_000
		if a.Excluded("a1", "", n.now) != nil || a.NotBeforeMs("a2") != 0 {
			t.Fatalf("%v", a.Exclusions)
		}
	}
	if got := fmt.Sprint(waits); got != "[50 100 200 400 800 1600 3200 6400 10000 10000]" {
		t.Error(got)
	}
	n.execStatus("app", n.executor("app", "a1"), TaskRunning)
	if a, _ := n.s.App("app"); len(a.Exclusions) != 0 {
		t.Errorf("%v", a.Exclusions)
	}
	checkInvariants(t, n.s)
}

func TestEndedExecutorsAreForgottenAndTheirNumbersAreNot(t *testing.T) {
	n := newNode(t)
	n.app("app", 1)
	n.app("app2", 1)
	other := n.executor("app2", "a1")
	for range retainedExecutors + 20 {
		n.execStatus("app", n.executor("app", "a1"), TaskFinished)
	}
	kept := 0
	n.s.View().Executors("app", func(*Executor) bool { kept++; return true })
	if _, found := n.s.Executor("app", "19"); found || kept != retainedExecutors {
		t.Errorf("%d executors are kept", kept)
	}
	if r := n.execStatus("app", "3", TaskRunning); Code(r.Code) != CodeStale || !r.Kill {
		t.Errorf("a forgotten executor that runs: %v", r)
	}
	wantCode(t, n.killExec("app", "3").Code, CodeUnchanged)
	n.wantExecutor("app2", other, ExecutorLaunching)
	checkInvariants(t, n.s)
}

func TestAnApplicationThatIsOverMakesRoom(t *testing.T) {
	n := newNode(t)
	for i := range maxApps {
		n.ok(NumberRegisterApp, &fsmpb.RegisterApp{AppId: fmt.Sprintf("app-%d", i)})
	}
	another := &fsmpb.RegisterApp{AppId: "another"}
	wantCode(t, n.do(NumberRegisterApp, another).Code, CodeQueueFull)
	n.ok(NumberStopApp, &fsmpb.StopApp{AppId: "app-5"})
	wantCode(t, n.do(NumberRegisterApp, another).Code, CodeOK)
	if _, found := n.s.App("app-5"); found {
		t.Error("the one that is over is still there")
	}
}

// Whatever comes, in whatever order: the state keeps its invariants, two nodes
// agree byte by byte, and no more executors live than were ever wanted.
func TestExecutorsKeepTheirInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := newNode(t), newNode(t)
		both := func(f func(*node)) { f(a); f(b) }
		register := (*node).host
		if rapid.Bool().Draw(rt, "of the library") {
			register = func(n *node, id string) *App { return n.hostedAs(n.app(id, 3)) }
		}
		both(func(n *node) { register(n, "app") })
		most := int64(3)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			task := fmt.Sprint(rapid.IntRange(0, 8).Draw(rt, "task"))
			state := TaskState(rapid.IntRange(0, 13).Draw(rt, "state"))
			total := int64(rapid.IntRange(0, 4).Draw(rt, "total"))
			agent := rapid.SampledFrom([]string{"a1", "a2"}).Draw(rt, "agent")
			tick := int64(rapid.IntRange(0, 40_000).Draw(rt, "tick"))
			step := rapid.IntRange(0, 9).Draw(rt, "step")
			heard := uint64(rapid.IntRange(0, 3).Draw(rt, "heard"))
			if step == 3 {
				most = max(most, total)
			}
			both(func(n *node) {
				n.now += tick
				switch app, _ := n.s.App("app"); step {
				case 0, 1:
					n.do(NumberLaunchExecutors, &fsmpb.LaunchExecutors{AppId: "app", Launches: []*fsmpb.ExecutorLaunch{
						{Number: app.NextNumber, AgentId: agent}, {Number: app.NextNumber + 1, AgentId: agent},
					}})
				case 2:
					n.killExec("app", task)
				case 3:
					n.totals("app", total)
				case 4:
					n.appEvent("app", FrameworkDisconnect, "")
				case 7:
					n.do(NumberKeepApp, &fsmpb.KeepApp{AppId: "app"})
				case 8:
					n.do(NumberExpireApp, &fsmpb.ExpireApp{AppId: "app", Heard: heard})
				case 9:
					n.do(NumberHostApp, hostedApp("app"))
				default:
					n.execStatus("app", task, state)
				}
			})
			live := int64(0)
			a.s.View().Live("app", func(*Executor) bool { live++; return true })
			if live > most {
				rt.Fatalf("%d executors live, at most %d were wanted", live, most)
			}
			checkInvariants(rt, a.s)
		}
		first := snapshot(t, a.s)
		if !bytes.Equal(first, snapshot(t, b.s)) || !bytes.Equal(first, snapshot(t, restored(t, first))) {
			rt.Fatalf("states differ")
		}
	})
}
