package scale_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func started(t *testing.T) *scale.Mesos {
	t.Helper()
	m, err := scale.StartMesos()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// scheduler is a driver on a Mesos.
type scheduler struct {
	*mesosutil.Driver
	t    *testing.T
	over chan error
}

func subscribe(t *testing.T, m *scale.Mesos) *scheduler {
	t.Helper()
	d, err := mesosutil.NewDriver(mesosutil.DriverConfig{
		Master: strings.TrimPrefix(m.URL(), "http://"), Logger: slog.New(slog.DiscardHandler),
		Framework: &mesos.FrameworkInfo{User: "u", Name: "test", ID: &mesos.FrameworkID{Value: scale.FrameworkID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &scheduler{Driver: d, t: t, over: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { s.over <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range d.Events() { // closed when Run returns
		}
	})
	next[mesosutil.EventSubscribed](s)
	return s
}

// next is the next event of that kind.
func next[E mesosutil.Event](s *scheduler) (e E) {
	s.t.Helper()
	for {
		select {
		case got, open := <-s.Events():
			if !open {
				s.t.Fatalf("the events end before a %T", e)
			}
			if e, ok := got.(E); ok {
				return e
			}
		case <-s.t.Context().Done():
			s.t.Fatalf("no %T", e)
		}
	}
}

func (s *scheduler) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scheduler) wantUpdate(task string, state mesos.TaskState) {
	s.t.Helper()
	st := next[mesosutil.EventUpdate](s).Status
	if st.TaskID.Value != task || st.GetState() != state {
		s.t.Errorf("%s is %v, want %s to be %v", st.TaskID.Value, st.GetState(), task, state)
	}
}

// offering lets m offer and tells what became of it.
func offering(t *testing.T, m *scale.Mesos, o scale.Offering) <-chan scale.Answers {
	out := make(chan scale.Answers, 1)
	go func() {
		a, err := m.Offer(t.Context(), o)
		if err != nil {
			t.Error(err)
		}
		out <- a
	}()
	return out
}

func task(id string, o mesos.Offer) mesos.TaskInfo {
	return mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: o.AgentID, Resources: o.Resources, Command: &mesos.CommandInfo{}}
}

func TestAnswersToOffersAreCounted(t *testing.T) {
	m := started(t)
	s, ctx := subscribe(t, m), t.Context()
	before := time.Now()
	answers := offering(t, m, scale.RoomFor(3, 2))
	offers := next[mesosutil.EventOffers](s).Offers
	if len(offers) != 3 || mesosutil.ScalarSum(offers[0].Resources, "cpus") != 2*scale.Cores || offers[2].AgentID.Value != scale.AgentID(2) {
		t.Fatalf("%+v", offers)
	}
	s.ok(s.Accept(ctx, []string{offers[0].ID.Value}, []mesos.TaskInfo{task("a", offers[0]), task("b", offers[0])}, 0))
	s.wantUpdate("a", mesos.TASK_RUNNING)
	s.wantUpdate("b", mesos.TASK_RUNNING)
	s.ok(s.Decline(ctx, []string{offers[1].ID.Value, offers[2].ID.Value}, 0))
	if a := <-answers; a.Offers != 3 || a.Accepted != 1 || a.Declined != 2 || a.Tasks != 2 || a.First <= 0 || a.First > a.Last {
		t.Errorf("%+v", a)
	}
	if at, err := m.AcceptAfter(ctx, before); err != nil || !at.After(before) {
		t.Errorf("%v, %v", at, err)
	}
	if c := m.Counts(); c.Accepts != 1 || c.Declines != 1 {
		t.Errorf("%+v", c)
	}
}

// Tasks run until they are killed, and reconciliation says so.
func TestTasksAreToldOfAndKilled(t *testing.T) {
	m := started(t)
	s, ctx := subscribe(t, m), t.Context()
	answers := offering(t, m, scale.RoomFor(1, 1))
	o := next[mesosutil.EventOffers](s).Offers[0]
	s.ok(s.Accept(ctx, []string{o.ID.Value}, []mesos.TaskInfo{task("a", o)}, 0))
	<-answers
	s.wantUpdate("a", mesos.TASK_RUNNING)
	s.ok(s.Reconcile(ctx, []mesosutil.DriverTask{{TaskID: "a"}, {TaskID: "unknown"}}))
	s.wantUpdate("a", mesos.TASK_RUNNING)
	s.wantUpdate("unknown", mesos.TASK_LOST)
	s.ok(s.Kill(ctx, "a", o.AgentID.Value, nil))
	s.wantUpdate("a", mesos.TASK_KILLED)
	if c := m.Counts(); c.Kills != 1 || c.Asked != 2 {
		t.Errorf("%+v", c)
	}
}

// What must never happen is noticed.
func TestATaskThatIsLaunchedTwiceIsNamed(t *testing.T) {
	m := started(t)
	s, ctx := subscribe(t, m), t.Context()
	for range 2 {
		answers := offering(t, m, scale.RoomFor(1, 1))
		o := next[mesosutil.EventOffers](s).Offers[0]
		s.ok(s.Accept(ctx, []string{o.ID.Value}, []mesos.TaskInfo{task("a", o)}, 0))
		<-answers
	}
	if n, twice := m.Tasks(); n != 1 || fmt.Sprint(twice) != "[a]" {
		t.Errorf("%d tasks, twice %v", n, twice)
	}
}

func TestALaterSubscriptionEndsTheEarlierOne(t *testing.T) {
	m := started(t)
	first := subscribe(t, m)
	m.OfferAtSubscription(scale.RoomFor(2, 1))
	second := subscribe(t, m)
	if got := len(next[mesosutil.EventOffers](second).Offers); got != 2 {
		t.Errorf("%d offers", got)
	}
	go func() {
		for range first.Events() { // the reason comes with the end of Run
		}
	}()
	if err := <-first.over; !errors.Is(err, mesosutil.ErrFailedOver) {
		t.Errorf("the first ends with %v", err)
	}
	if n := m.Subscriptions(); n != 2 {
		t.Errorf("%d subscriptions", n)
	}
}

func TestOffersWithoutAnAnswerAreAnError(t *testing.T) {
	m := started(t)
	if _, err := m.Offer(t.Context(), scale.RoomFor(1, 1)); err == nil || !strings.Contains(err.Error(), "nobody is subscribed") {
		t.Error(err)
	}
	subscribe(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Offer(ctx, scale.RoomFor(2, 1)); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 of 2") {
		t.Error(err)
	}
	if _, err := m.AcceptAfter(ctx, time.Now()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCallsThatAreNoneAreRefused(t *testing.T) {
	m := started(t)
	defer http.DefaultClient.CloseIdleConnections()
	for _, c := range []struct {
		contentType, body string
		want              int
	}{
		{"application/json", "{}", http.StatusUnsupportedMediaType},
		{"application/x-protobuf", "\xff", http.StatusBadRequest},
		{"application/x-protobuf", "", http.StatusBadRequest}, // of no subscription
	} {
		resp, err := http.Post(m.URL()+"/api/v1/scheduler", c.contentType, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %q: HTTP %d, want %d", c.contentType, c.body, resp.StatusCode, c.want)
		}
	}
}
