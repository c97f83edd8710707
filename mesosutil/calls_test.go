package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

var bg = context.Background()

func TestCallsOnTheWire(t *testing.T) {
	grace := 1500 * time.Millisecond
	agent := &mesos.AgentID{Value: "a"}
	seconds := func(s float64) *mesos.Filters { return &mesos.Filters{RefuseSeconds: &s} }
	ids := []mesos.OfferID{{Value: "o"}}
	launch := []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH, Launch: &mesos.Offer_Operation_Launch{TaskInfos: taskNamed("n")}}}
	for name, c := range map[string]struct {
		do   func(*running) error
		want *scheduler.Call // without the framework id; nil: nothing is sent
	}{
		"accept": {func(d *running) error {
			return d.Accept(bg, []string{"o"}, taskNamed("n"), 2*time.Second)
		},
			&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{OfferIDs: ids, Operations: launch, Filters: seconds(2)}}},
		"accept, Mesos' own filter": {func(d *running) error { return d.Accept(bg, []string{"o"}, taskNamed("n"), -1) },
			&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{OfferIDs: ids, Operations: launch}}},
		"accept nothing": {func(d *running) error { return d.Accept(bg, []string{"o"}, nil, 0) },
			&scheduler.Call{Type: scheduler.Call_DECLINE, Decline: &scheduler.Call_Decline{OfferIDs: ids, Filters: seconds(0)}}},
		"decline for longer than Mesos takes": {func(d *running) error { return d.Decline(bg, []string{"o"}, 10*maxRefuse) },
			&scheduler.Call{Type: scheduler.Call_DECLINE, Decline: &scheduler.Call_Decline{OfferIDs: ids, Filters: seconds(31536000)}}},
		"decline what is not held": {func(d *running) error { return d.Decline(bg, []string{"x"}, 0) }, nil},
		"kill": {func(d *running) error { return d.Kill(bg, "t", "", nil) },
			&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: "t"}}}},
		"kill with grace": {func(d *running) error { return d.Kill(bg, "t", "a", &grace) },
			&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: "t"}, AgentID: agent,
				KillPolicy: &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: 1500000000}}}}},
		"acknowledge": {func(d *running) error { return d.Acknowledge(bg, "a", "t", []byte("u")) },
			&scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE, Acknowledge: &scheduler.Call_Acknowledge{AgentID: *agent, TaskID: mesos.TaskID{Value: "t"}, UUID: []byte("u")}}},
		"acknowledge without uuid": {func(d *running) error { return d.Acknowledge(bg, "a", "t", nil) }, nil},
		"reconcile implicitly": {func(d *running) error { return d.Reconcile(bg, nil) },
			&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{}}},
		"reconcile none": {func(d *running) error { return d.Reconcile(bg, []DriverTask{}) }, nil},
		"reconcile explicitly": {func(d *running) error { return d.Reconcile(bg, []DriverTask{{"t", "a"}, {"u", ""}}) },
			&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{Tasks: []scheduler.Call_Reconcile_Task{
				{TaskID: mesos.TaskID{Value: "t"}, AgentID: agent}, {TaskID: mesos.TaskID{Value: "u"}}}}}},
		"revive": {func(d *running) error { return d.Revive(bg) }, &scheduler.Call{Type: scheduler.Call_REVIVE}},
		"revive roles": {func(d *running) error { return d.Revive(bg, "r", "s") },
			&scheduler.Call{Type: scheduler.Call_REVIVE, Revive: &scheduler.Call_Revive{Roles: []string{"r", "s"}}}},
		"suppress": {func(d *running) error { return d.Suppress(bg) }, &scheduler.Call{Type: scheduler.Call_SUPPRESS}},
		"suppress roles": {func(d *running) error { return d.Suppress(bg, "r") },
			&scheduler.Call{Type: scheduler.Call_SUPPRESS, Suppress: &scheduler.Call_Suppress{Roles: []string{"r"}}}},
		"message": {func(d *running) error { return d.Message(bg, "a", "e", []byte("m")) },
			&scheduler.Call{Type: scheduler.Call_MESSAGE, Message: &scheduler.Call_Message{AgentID: *agent, ExecutorID: mesos.ExecutorID{Value: "e"}, Data: []byte("m")}}},
		"shutdown": {func(d *running) error { return d.Shutdown(bg, "e", "a") },
			&scheduler.Call{Type: scheduler.Call_SHUTDOWN, Shutdown: &scheduler.Call_Shutdown{ExecutorID: mesos.ExecutorID{Value: "e"}, AgentID: *agent}}},
		"accept inverse": {func(d *running) error { return d.AcceptInverse(bg, []string{"o"}) },
			&scheduler.Call{Type: scheduler.Call_ACCEPT_INVERSE_OFFERS, AcceptInverseOffers: &scheduler.Call_AcceptInverseOffers{InverseOfferIDs: ids}}},
		"decline inverse": {func(d *running) error { return d.DeclineInverse(bg, []string{"o"}, time.Second) },
			&scheduler.Call{Type: scheduler.Call_DECLINE_INVERSE_OFFERS, DeclineInverseOffers: &scheduler.Call_DeclineInverseOffers{InverseOfferIDs: ids, Filters: seconds(1)}}},
		"teardown": {func(d *running) error { return d.Teardown(bg) }, &scheduler.Call{Type: scheduler.Call_TEARDOWN}},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMaster(t)
			d, s := subscribed(t, m, nil)
			s.send(offersEvent("o"))
			expect[EventOffers](d)
			if err := c.do(d); err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if seen := m.seen(); len(seen) != 0 {
					t.Fatalf("sent %v", seen)
				}
				return
			}
			c.want.FrameworkID = &mesos.FrameworkID{Value: "fw"}
			got := m.lastCall(t)
			if diff := cmp.Diff(c.want, got.call); diff != "" {
				t.Fatal(diff)
			}
			if got.streamID != s.id {
				t.Fatalf("sent with stream id %q, want %q", got.streamID, s.id)
			}
		})
	}
}

// The texts are those of a Mesos 1.11 master.
func TestCallErrorsSayWhatHappened(t *testing.T) {
	for _, c := range []struct {
		status int
		text   string
		want   error
	}{
		{400, "The stream ID 'x' included in this request didn't match the stream ID currently associated with framework ID fw", ErrStaleStream},
		{400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header", ErrStaleStream},
		{400, "Framework cannot be found", ErrStaleStream},
		{400, "Failed to validate scheduler::Call: Expecting 'kill' to be present", ErrCallRejected},
		{401, "", ErrUnauthorized},
		{403, "Framework is not subscribed", ErrStaleStream},
		{403, "no", ErrUnauthorized},
		{404, "", ErrCallRejected},
		{409, "", ErrStaleStream},
		{307, "", ErrMasterGone},
		{429, "", ErrMasterGone},
		{503, "", ErrMasterGone},
		{500, "", ErrCallOutcomeUnknown},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.text), func(t *testing.T) {
			m := startMaster(t)
			d, s := subscribed(t, m, nil)
			m.script(nil, func(w http.ResponseWriter, _ *scheduler.Call) bool { answer(c.status, c.text)(w); return true })
			err := d.Revive(bg)
			var call *CallError
			if !errors.Is(err, c.want) || !errors.As(err, &call) || call.Status != c.status || call.Call != "REVIVE" {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if call.NoEffect() != (c.want != ErrCallOutcomeUnknown) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %#v", call)
			}
			// Whatever a call is answered, the stream decides when it has ended.
			s.send(offersEvent("o"))
			expect[EventOffers](d)
		})
	}
}

func TestAnswersThatNeverCome(t *testing.T) {
	m := startMaster(t)
	d, _ := subscribed(t, m, func(c *DriverConfig) { c.CallTimeout = time.Second })
	m.script(nil, func(w http.ResponseWriter, _ *scheduler.Call) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return true
	})
	if err := d.Revive(bg); !errors.Is(err, ErrCallOutcomeUnknown) {
		t.Errorf("connection closed: %v", err)
	}
	m.script(nil, func(http.ResponseWriter, *scheduler.Call) bool { <-m.stopped; return true })
	if err := d.Revive(bg); !errors.Is(err, ErrCallOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := d.Revive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestCallToAMasterThatDied(t *testing.T) {
	m := startMaster(t)
	d, _ := subscribed(t, m, nil)
	d.mu.Lock()
	d.current.endpoint = "http://" + deadHost(t) + schedulerPath // the stream has not noticed yet
	d.mu.Unlock()
	if err := d.Revive(bg); !errors.Is(err, ErrMasterGone) {
		t.Fatalf("got %v", err)
	}
}

func TestOffersAreFencedToTheirSubscription(t *testing.T) {
	m := startMaster(t)
	d, first := subscribed(t, m, nil)
	first.send(offersEvent("old"))
	close(first.cut)
	second := m.next(t)
	second.send(subscribedEvent("fw", time.Hour), offersEvent("new", "rescinded"), &scheduler.Event{
		Type: scheduler.Event_RESCIND, Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: "rescinded"}}})
	expect[EventOffers](d)
	expect[EventDisconnected](d)
	expect[EventSubscribed](d)
	expect[EventOffers](d)
	expect[EventRescind](d)
	tasks := taskNamed("n")
	for _, ids := range [][]string{{"old"}, {"rescinded"}, {"new", "old"}, {}, nil} {
		if err := d.Accept(bg, ids, tasks, 0); !errors.Is(err, ErrStaleOffer) {
			t.Errorf("accepting %v: %v", ids, err)
		}
	}
	if err := d.Decline(bg, []string{"old", "rescinded"}, 0); err != nil || len(m.seen()) != 0 {
		t.Fatalf("%v, the master saw %v", err, m.seen())
	}
	if err := d.Accept(bg, []string{"new"}, tasks, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Accept(bg, []string{"new"}, tasks, 0); !errors.Is(err, ErrStaleOffer) {
		t.Fatalf("accepted twice: %v", err)
	}
	if got := m.lastCall(t).streamID; got != second.id {
		t.Fatalf("sent with stream id %q, want %q", got, second.id)
	}
}

func TestAFailedCallLeavesItsOffersHeld(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, nil)
	s.send(offersEvent("keep", "rescinded"))
	expect[EventOffers](d)
	m.script(nil, func(w http.ResponseWriter, _ *scheduler.Call) bool {
		// One of the offers is rescinded while the call is on its way.
		s.send(&scheduler.Event{Type: scheduler.Event_RESCIND, Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: "rescinded"}}})
		expect[EventRescind](d)
		answer(503, "")(w)
		return true
	})
	tasks := taskNamed("n")
	if err := d.Accept(bg, []string{"keep", "rescinded"}, tasks, 0); !errors.Is(err, ErrMasterGone) {
		t.Fatal(err)
	}
	m.script(nil, nil)
	if err := d.Accept(bg, []string{"rescinded"}, tasks, 0); !errors.Is(err, ErrStaleOffer) {
		t.Fatal(err)
	}
	if err := d.Accept(bg, []string{"keep"}, tasks, 0); err != nil {
		t.Fatal(err)
	}
}

func TestAnOfferIsUsedOnce(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, nil)
	s.send(offersEvent("o"))
	expect[EventOffers](d)
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() { results[i] = d.Accept(bg, []string{"o"}, taskNamed("n"), 0) })
	}
	wg.Wait()
	won := slices.DeleteFunc(slices.Clone(results), func(err error) bool { return err != nil })
	if len(won) != 1 || len(m.seen()) != 1 {
		t.Fatalf("results %v, the master saw %d calls", results, len(m.seen()))
	}
}

func TestTeardownEndsRun(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, nil)
	if err := d.Teardown(bg); err != nil {
		t.Fatal(err)
	}
	if err := d.end(); err != nil {
		t.Fatalf("Run ended with %v", err)
	}
	receiveClosed(t, s.ended)
	if m.subscribeCount() != 1 {
		t.Fatal("subscribed again after the teardown")
	}
}

func TestNothingIsSentAfterTeardown(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, nil)
	s.send(offersEvent("o"))
	expect[EventOffers](d)
	if err := d.Teardown(bg); err != nil {
		t.Fatal(err)
	}
	if err := d.Decline(bg, []string{"o"}, 0); err != nil {
		t.Errorf("declining: %v", err)
	}
	if err := d.Revive(bg); !errors.Is(err, ErrNotSubscribed) {
		t.Errorf("reviving: %v", err)
	}
	if n := len(m.seen()); n != 1 {
		t.Fatalf("the master saw %d calls", n)
	}
}

// The stream of a framework that is torn down may end before the answer to
// the call arrives.
func TestTeardownWhoseStreamEndsFirst(t *testing.T) {
	for name, status := range map[string]int{"answered": 202, "answer lost": 500} {
		t.Run(name, func(t *testing.T) {
			m := startMaster(t)
			d, s := subscribed(t, m, nil)
			m.script(nil, func(w http.ResponseWriter, _ *scheduler.Call) bool {
				close(s.cut)
				eventually(t, "the driver sees the end", func() bool { return !d.Status().Subscribed })
				answer(status, "")(w)
				return true
			})
			_ = d.Teardown(bg)
			if status != 202 {
				m.next(t).send(errorEvent("Framework has been removed"))
			}
			if err := d.end(); err != nil {
				t.Fatalf("Run ended with %v", err)
			}
		})
	}
}

func TestTeardownRefused(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, nil)
	m.script(nil, func(w http.ResponseWriter, _ *scheduler.Call) bool { answer(400, "no")(w); return true })
	if err := d.Teardown(bg); !errors.Is(err, ErrCallRejected) {
		t.Fatal(err)
	}
	s.send(errorEvent("Framework has been removed")) // by somebody else, then
	if err := d.end(); !errors.Is(err, ErrFrameworkRemoved) {
		t.Fatalf("Run ended with %v", err)
	}
}

// Whoever tears down may stop reading: Run must not wait for it.
func TestTeardownDoesNotWaitForAReader(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, func(c *DriverConfig) { c.Buffer = 1 })
	s.send(offersEvent("1"), offersEvent("2"), offersEvent("3"))
	eventually(t, "the driver is blocked", func() bool { return len(d.events) == 1 })
	if err := d.Teardown(bg); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, d.done, "the end of Run"); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAcknowledge(b *testing.B) {
	m, err := localmesos.Start(b.Context(), localmesos.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	info, err := DriverFramework{Name: "bench"}.Info()
	if err != nil {
		b.Fatal(err)
	}
	d, err := NewDriver(DriverConfig{Master: m.Addr(), Framework: info, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	go func() { _ = d.Run(ctx) }()
	<-d.Events() // EventSubscribed
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := d.Acknowledge(bg, "agent", "task", []byte("0123456789abcdef")); err != nil {
				b.Error(err)
			}
		}
	})
	cancel()
	for range d.Events() {
	}
}
