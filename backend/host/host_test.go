package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func code(err error) fsm.Code {
	var refused *fsm.RefusedError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return fsm.CodeOK
}

// gauge is what is not 0 of a metric, by its label.
func gauge(t *testing.T, reg prometheus.Gatherer, name string) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		for _, m := range f.Metric {
			if v := m.GetGauge().GetValue(); f.GetName() == name && v != 0 {
				out = append(out, fmt.Sprintf("%s:%v", m.Label[0].GetValue(), v))
			}
		}
	}
	return strings.Join(out, " ")
}

func TestTheLifeOfAnApplication(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	f := newFixture(t, func(c *Config) { c.Registerer = reg })
	first := f.register(app("pi"))
	if first.ID != "pi" || first.Known || f.status("pi").State != StateStarting {
		t.Errorf("%+v, %+v", first, f.status("pi"))
	}
	stop := f.lead()
	defer stop()
	f.in("pi", StateRunning)
	f.do(f.SetTotals(t.Context(), "pi", backend.Totals{Executors: 2}, Request{}))
	f.offer("pi", "o1")
	eventually(t, "executors", func() bool { return f.status("pi").Running == 2 })
	f.do(f.Kill(t.Context(), "pi", []string{"0"}, Request{}))
	eventually(t, "the end of one", func() bool { return f.status("pi").Live == 1 })
	if again := f.register(app("pi")); !again.Known || again.ID != "pi" {
		t.Errorf("%+v", again)
	}
	if got := gauge(t, reg, "ha_dispatcher_host_applications"); got != "RUNNING:1" {
		t.Error(got)
	}
	if got := gauge(t, reg, "ha_dispatcher_host_executors"); got != "RUNNING:1" {
		t.Error(got)
	}
	f.do(f.Stop(t.Context(), "pi", "", Request{User: "ann"}))
	f.do(f.Stop(t.Context(), "pi", "", Request{}))
	f.in("pi", StateStopped)
	if st := f.status("pi"); st.App.StopReason != "stopped on request of ann" || st.Live != 0 {
		t.Errorf("%+v", st)
	}
	if err := f.SetTotals(t.Context(), "pi", backend.Totals{}, Request{}); code(err) != fsm.CodeTerminated {
		t.Error(err)
	}
	eventually(t, "the entry to be forgotten", func() bool {
		f.Host.mu.Lock()
		defer f.Host.mu.Unlock()
		return len(f.entries) <= 1
	})
}

func TestMesosIsToldOfTheApplicationAsItWants(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Role = "cluster" })
	f.register(app("plain", "spark.mesos.driver.failoverTimeout", "30"))
	f.register(app("own", "spark.mesos.role", "mine", "spark.mesos.driver.failoverTimeout", "7200"))
	defer f.lead()()
	f.in("plain", StateRunning)
	f.in("own", StateRunning)
	f.mu.Lock()
	defer f.mu.Unlock()
	plain, own := f.mesos["plain"].framework, f.mesos["own"].framework
	if plain.Roles[0] != "cluster" || plain.User != "spark" || plain.FailoverTimeout != backend.DefaultFailoverTimeout {
		t.Errorf("%+v", plain)
	}
	if own.Roles[0] != "mine" || own.FailoverTimeout != 2*time.Hour {
		t.Errorf("%+v", own)
	}
	if a, _ := f.state.App("plain"); a.FailoverTimeoutMs != 30_000 {
		t.Errorf("%+v", a)
	}
}

func TestRequestsAboutWhatIsNotThere(t *testing.T) {
	f := newFixture(t, nil)
	ctx := t.Context()
	// One that a program runs by itself on the same log.
	data, _ := fsm.Encode(fsm.NumberRegisterApp, f.stamp("", Request{}), &fsmpb.RegisterApp{AppId: "library"})
	_, _ = f.log.Propose(ctx, data)
	for _, id := range []string{"nobody", "library"} {
		for what, err := range map[string]error{
			"totals":  f.SetTotals(ctx, id, backend.Totals{}, Request{}),
			"kill":    f.Kill(ctx, id, []string{"0"}, Request{}),
			"exclude": f.Exclude(ctx, id, "h", 0, "", Request{}),
			"admit":   f.Admit(ctx, id, "h", Request{}),
			"stop":    f.Stop(ctx, id, "", Request{}),
			"heard":   f.Heard(ctx, id),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s of %s: %v", what, id, err)
			}
		}
		if _, err := f.App(f.state.View(), id); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	if apps := f.Apps(f.state.View()); len(apps) != 0 {
		t.Errorf("%+v", apps)
	}
}

func TestImpossibleRequests(t *testing.T) {
	f := newFixture(t, nil)
	f.register(app("a", "spark.cores.max", "4"))
	ctx := t.Context()
	for field, err := range map[string]error{
		"executors":      f.Kill(ctx, "a", nil, Request{}),
		"host":           f.Exclude(ctx, "a", "", 0, "", Request{}),
		"durationMs":     f.Exclude(ctx, "a", "h", -1, "", Request{}),
		"totals.total":   f.SetTotals(ctx, "a", backend.Totals{Executors: -1}, Request{}),
		"totals.cores":   f.SetTotals(ctx, "a", backend.Totals{Profiles: []backend.Profile{{ID: 1, Total: 1, Cores: 5}}}, Request{}),
		"totals.profile": f.SetTotals(ctx, "a", backend.Totals{Profiles: []backend.Profile{{Total: 1}}}, Request{}),
		"totals":         f.SetTotals(ctx, "a", backend.Totals{Hosts: map[string]int{strings.Repeat("h", 300): 1}}, Request{}),
		"exclude":        f.Exclude(ctx, "a", strings.Repeat("h", 300), 0, "", Request{}),
	} {
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := f.Kill(ctx, "a", []string{"0"}, Request{}); code(err) != fsm.CodeNotFound {
		t.Errorf("an executor that never was: %v", err)
	}
}

func TestARequestWithAKeyIsCarriedOutOnce(t *testing.T) {
	f := newFixture(t, nil)
	r := Request{Key: "k"}
	a := app("")
	first, err := f.Register(t.Context(), a, r)
	f.do(err)
	again, err := f.Register(t.Context(), a, r)
	if err != nil || again.ID != first.ID || first.Known || !again.Known || !strings.HasPrefix(first.ID, "app-20231114221320-") {
		t.Errorf("%+v, %+v, %v", first, again, err)
	}
	a.Name = "another"
	if _, err := f.Register(t.Context(), a, r); code(err) != fsm.CodeRequestMismatch {
		t.Error(err)
	}
	if other := f.register(app("")); other.ID == first.ID {
		t.Errorf("%+v", other)
	}
}

func TestTheSameIdForAnotherApplication(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxApplications = 2 })
	f.register(app("a"))
	if _, err := f.Register(t.Context(), app("a", "spark.mesos.secret", "s3cret", "spark.mesos.principal", "p"), Request{}); code(err) != fsm.CodeConflict || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	f.register(app("b"))
	if _, err := f.Register(t.Context(), app("c"), Request{}); code(err) != fsm.CodeQueueFull {
		t.Error(err)
	}
	f.do(f.Stop(t.Context(), "a", "", Request{}))
	f.register(app("c"))
	if _, err := f.Register(t.Context(), app("a"), Request{}); code(err) != fsm.CodeTerminated {
		t.Error(err)
	}
}

func TestNoApplicationIsRegisteredBeforeAllNodesUnderstandIt(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.CommandSet = func() uint32 { return 1 } })
	if _, err := f.Register(t.Context(), app("a"), Request{}); code(err) != fsm.CodeNotReady || f.log.proposed != 0 {
		t.Errorf("%v, %d entries", err, f.log.proposed)
	}
}

func TestOneApplicationThatMesosRefusesDoesNotHoldUpAnother(t *testing.T) {
	f := newFixture(t, nil)
	f.err["bad"] = errors.New("the principal is not known")
	f.register(app("bad"))
	f.register(app("good"))
	// One that an earlier version of this program took in.
	data, _ := fsm.Encode(fsm.NumberHostApp, f.stamp("", Request{}), &fsmpb.HostApp{
		App: &fsmpb.RegisterApp{AppId: "broken", Spec: []byte("{")}, FailoverTimeoutMs: 600_000,
	})
	_, _ = f.log.Propose(t.Context(), data)
	defer f.lead()()
	f.in("good", StateRunning)
	eventually(t, "the reason", func() bool {
		bad, broken := f.status("bad"), f.status("broken")
		return bad.Problem != nil && strings.Contains(bad.Problem.Error(), "principal") && broken.Problem != nil
	})
	f.do(f.Stop(t.Context(), "bad", "", Request{}))
	f.do(f.Stop(t.Context(), "broken", "", Request{}))
	f.in("bad", StateStopped)
	f.in("broken", StateStopped)
}

// TestManyApplications: a hundred of them do not wake each other, and all of them go
// on with the next leader.
func TestManyApplications(t *testing.T) {
	f := newFixture(t, nil)
	stop := f.lead()
	const many = 100
	id := func(i int) string { return fmt.Sprintf("app-%03d", i) }
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			if _, err := f.Register(t.Context(), app(id(i)), Request{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range many {
		f.in(id(i), StateRunning)
	}
	stop()
	f.do(f.SetTotals(t.Context(), id(7), backend.Totals{Executors: 1}, Request{})) // while nobody leads
	defer f.lead()()
	for i := range many {
		eventually(t, "a subscription", func() bool { return f.status(id(i)).Subscribed })
	}
	f.offer(id(7), "o")
	eventually(t, "an executor", func() bool { return f.status(id(7)).Running == 1 })
	for i := range many {
		if i != 7 {
			f.Host.mu.Lock()
			feed := f.entries[id(i)].feed
			f.Host.mu.Unlock()
			if n := feed.Next(); n > 8 {
				t.Errorf("%s was told of %d changes", id(i), n)
			}
		}
	}
}

func TestASignOfLifeKeepsAnApplicationAndSilenceEndsIt(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Clock = time.Now })
	for _, id := range []string{"heard", "silent"} {
		a := app(id)
		a.FailoverTimeout = MinFailoverTimeout
		f.register(a)
	}
	defer f.lead()()
	ctx, cancel := context.WithCancel(t.Context())
	var driver sync.WaitGroup
	driver.Go(func() {
		for ctx.Err() == nil {
			if err := f.Heard(context.Background(), "heard"); err != nil {
				t.Error(err)
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	f.in("silent", StateStopped)
	if st := f.status("silent"); st.App.StopReason != "its driver was not heard of for 1s" {
		t.Errorf("%+v", st.App)
	}
	if st := f.status("heard"); st.App.Stopped {
		t.Errorf("%+v", st.App)
	}
	cancel()
	driver.Wait()
	f.in("heard", StateStopped)
}

func TestOnlyTimeInWhichTheLeaderListenedCounts(t *testing.T) {
	f := newFixture(t, nil)
	a := app("a")
	a.FailoverTimeout = 10 * time.Second
	f.register(a)
	silences := make(map[string]silence)
	l := &leading{Host: f.Host}
	listen := func(passed time.Duration) int {
		due, shortest := l.listen(silences, passed)
		if shortest != 10*time.Second {
			t.Errorf("shortest %v", shortest)
		}
		return len(due)
	}
	got := []int{listen(time.Hour), listen(6 * time.Second)}
	f.do(f.Heard(t.Context(), "a"))
	got = append(got, listen(6*time.Second), listen(6*time.Second), listen(4*time.Second), listen(0))
	if fmt.Sprint(got) != "[0 0 0 0 1 1]" {
		t.Errorf("%v", got)
	}
	f.do(f.Stop(t.Context(), "a", "", Request{}))
	if due, _ := l.listen(silences, time.Hour); len(due) != 0 || len(silences) != 0 {
		t.Errorf("%v %v", due, silences)
	}
}
