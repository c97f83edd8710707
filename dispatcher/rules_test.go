package dispatcher_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// apply puts a command into the log past the service.
func (s *stage) apply(n fsm.Number, body proto.Message) *fsmpb.Result {
	s.t.Helper()
	var id fsm.RequestID
	s.log.mu.Lock()
	copy(id[:], fmt.Sprintf("test%012d", s.log.index+1))
	s.log.mu.Unlock()
	data, err := fsm.Encode(n, fsm.Stamp{RequestID: id, TimeMs: time.Now().UnixMilli()}, body)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := s.log.Propose(context.Background(), data)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := fsm.DecodeResult(out)
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestInverseOffersAreDeclined(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.RejectOffer = 77 * time.Second })
	m := s.subscribed()
	m.events <- mesosutil.EventInverseOffers{Offers: []mesos.InverseOffer{{OfferID: mesos.OfferID{Value: "i1"}}, {OfferID: mesos.OfferID{Value: "i2"}}}}
	if c := s.want(m, "DECLINE_INVERSE"); len(c.ids) != 2 || c.ids[1] != "i2" || c.refuse != 77*time.Second {
		t.Errorf("%+v", c)
	}
}

// Spark loses the share of the offer, and keeps a record without a reason that
// breaks its page.
func TestADriverThatCannotBeBuiltEndsWithItsReasonAndTakesNothingAlong(t *testing.T) {
	badLabels, err := dispatcher.EncodeSpec(&launch.Description{
		Name: "d", Command: "true", Cores: 1, MemoryMiB: 100, Queue: "default",
		Properties: []launch.KV{{Key: launch.KeyLabels, Value: "nocolon"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spec     []byte
		reason   string
		attempts int
	}{
		"its specification cannot be read": {[]byte("\xff"), "specification cannot be decoded", 0},
		"its task cannot be made":          {badLabels, "label", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			m := s.subscribed()
			bad := s.apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "bad-", Cores: 1, MemMib: 100, Supervise: true, Spec: c.spec}).DriverId
			good := s.submit(map[string]string{"spark.driver.cores": "3"})
			s.offers(m, "o") // four cpus
			if a := s.want(m, "ACCEPT"); !cmp.Equal(a.ids, []string{good}) || !cmp.Equal(a.used, []string{"o"}) {
				t.Errorf("%+v", a)
			}
			d := s.in(bad, fsm.DriverError)
			if !strings.Contains(d.Reason, c.reason) || len(d.Attempts) != c.attempts || d.FinishedMs == 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// launched makes n drivers LAUNCHING.
func (s *stage) launched(n int) (tasks []string) {
	s.t.Helper()
	body := &fsmpb.LaunchDrivers{}
	for range n {
		id := s.apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-", Cores: 1, MemMib: 100}).DriverId
		body.Launches = append(body.Launches, &fsmpb.Launch{DriverId: id, TaskId: id, AgentId: "agent"})
		tasks = append(tasks, id)
	}
	for _, l := range s.apply(fsm.NumberLaunchDrivers, body).Launches {
		if fsm.Code(l.Code).Refused() {
			s.t.Fatal(l.Message)
		}
	}
	return tasks
}

// Spark asks about all drivers in one message, and only at its registration.
func TestEverySubscriptionAsksExplicitlyInBatchesThenImplicitly(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) {
		c.ReconcileAgain = time.Hour
		c.Policy = fsm.DefaultPolicy()
		c.Policy.MaxDrivers = 10_000
	})
	first := s.subscribed()
	s.launched(1100)
	next := first
	for _, how := range []string{"the master is back", "another session"} {
		if how == "the master is back" {
			next.events <- mesosutil.EventDisconnected{Err: errBroken}
		} else {
			next.end <- errBroken
			<-next.done
			next = s.session()
		}
		next.events <- mesosutil.EventSubscribed{FrameworkID: "fw", Resubscribed: true}
		asked := make(map[string]bool)
		var sizes []int
		for len(sizes) == 0 || sizes[len(sizes)-1] > 0 {
			c := s.want(next, "RECONCILE")
			sizes = append(sizes, len(c.ids))
			for _, id := range c.ids {
				asked[id] = true
			}
		}
		if diff := cmp.Diff([]int{500, 500, 100, 0}, sizes); diff != "" || len(asked) != 1100 {
			t.Errorf("%s: %d tasks, %s", how, len(asked), diff)
		}
		s.quiet(next, "RECONCILE")
	}
}

func TestATaskIsAskedAboutUntilAStatusOfItComes(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	two := s.launched(2)
	m.events <- mesosutil.EventSubscribed{FrameworkID: "fw", Resubscribed: true}
	for range 2 {
		for c := s.want(m, "RECONCILE"); len(c.ids) != 2; c = s.want(m, "RECONCILE") {
		}
	}
	s.update(m, two[0], mesos.TASK_RUNNING, "") // the answer
	s.in(two[0], fsm.DriverRunning)
	for len(m.calls) > 0 { // what was asked before
		<-m.calls
	}
	s.want(m, "RECONCILE") // may have been under way
	for range 2 {
		if c := s.want(m, "RECONCILE"); !cmp.Equal(c.ids, two[1:]) {
			t.Errorf("asked about %q", c.ids)
		}
	}
}

// Asked before the ACCEPT is there, Mesos would call the task unknown; it would be
// launched again, and the first ACCEPT would come in late.
func TestALaunchIsNotAskedAboutBeforeItsAcceptIsSent(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.LaunchQuiet, c.ReconcileAgain = time.Millisecond, time.Millisecond })
	m := s.subscribed()
	accepting, hold := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	s.onCall = func(c call) error {
		if c.name == "ACCEPT" {
			close(accepting)
			<-hold
		}
		return nil
	}
	id := s.submit(nil)
	s.offers(m, "o")
	<-accepting
	s.quiet(m, "RECONCILE")
	release()
	if c := s.want(m, "RECONCILE"); !cmp.Equal(c.ids, []string{id}) {
		t.Errorf("asked about %q", c.ids)
	}
}

// A KILL may have been lost with the last subscription.
func TestEverySubscriptionKillsAgain(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.KillAgain = time.Hour })
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	s.update(m, id, mesos.TASK_RUNNING, "u")
	s.in(id, fsm.DriverRunning)
	if _, err := s.svc.Kill(t.Context(), id, dispatcher.Request{}); err != nil {
		t.Fatal(err)
	}
	s.want(m, "KILL")
	m.events <- mesosutil.EventDisconnected{Err: errBroken}
	m.events <- mesosutil.EventSubscribed{FrameworkID: "fw", Resubscribed: true}
	s.want(m, "KILL")
	m.end <- errBroken
	<-m.done
	if c := s.want(s.session(), "KILL"); c.ids[0] != id {
		t.Errorf("%+v", c)
	}
}

func TestUpstreamsThreeGauges(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newStage(t, func(c *dispatcher.Config) { c.Registerer = reg })
	m := s.subscribed()
	for range 2 {
		s.submit(map[string]string{"spark.driver.cores": "100"})
	}
	id := s.submit(map[string]string{"spark.driver.supervise": "true"})
	running := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	s.update(m, running, mesos.TASK_RUNNING, "u1")
	s.update(m, id, mesos.TASK_FAILED, "u2")
	s.in(id, fsm.DriverRetrying)
	want := map[string]float64{
		"ha_dispatcher_waiting_drivers": 2, "ha_dispatcher_launched_drivers": 1, "ha_dispatcher_retry_drivers": 1,
		"ha_dispatcher_unplaced_drivers": 2,
	}
	s.until("the gauges", func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		equal := 0
		for _, f := range families {
			if v, known := want[f.GetName()]; known && f.Metric[0].GetGauge().GetValue() == v {
				equal++
			}
		}
		return equal == len(want)
	})
}

// Each key of the configuration has its effect: on what Apply decides by, or on
// what the leader does.
func TestKeysReachThePolicyAndTheLeader(t *testing.T) {
	conf := sparkconf.New(map[string]string{
		"spark.mesos.maxDrivers": "7", "spark.mesos.retainedDrivers": "8", "spark.mesos.cluster.retry.wait.max": "9",
		"spark.mesos.dispatcher.maxDrivers.countLaunched": "true", "spark.mesos.dispatcher.supervise.maxRetries": "3",
		"spark.mesos.dispatcher.supervise.resetAfter": "10m", "spark.mesos.dispatcher.supervise.retryOn": "lost",
		"spark.mesos.dispatcher.unreachable": "wait", "spark.mesos.dispatcher.requestsKept": "11",
		"spark.mesos.rejectOfferDuration": "77s", "spark.mesos.dispatcher.reconcileInterval": "5m",
		"spark.mesos.dispatcher.holdAfter": "0", "spark.mesos.dispatcher.holdFor": "2m",
	})
	c, err := dispatcher.ConfigOf(conf)
	if err != nil {
		t.Fatal(err)
	}
	want := &fsm.Policy{
		MaxDrivers: 7, RetainedDrivers: 8, RetryWaitMaxS: 9, MaxDriversCountsLaunched: true, MaxRetries: 3,
		BackoffResetMs: 600_000, RetryOn: 1 << fsm.TaskLost, WaitForUnreachable: true, DedupWindow: 11,
	}
	if !proto.Equal(want, c.Policy) {
		t.Errorf("got %v, want %v", c.Policy, want)
	}
	if c.RejectOffer != 77*time.Second || c.ReconcileEvery != 5*time.Minute || c.HoldAfter >= 0 || c.HoldFor != 2*time.Minute {
		t.Errorf("%+v", c)
	}
	plain, err := dispatcher.ConfigOf(sparkconf.New(nil))
	if err != nil || plain.RejectOffer != 120*time.Second || plain.Policy.MaxDrivers != 200 || plain.Policy.RetainedDrivers != 200 ||
		plain.Policy.RetryWaitMaxS != 60 || plain.Policy.MaxRetries != 0 || plain.Policy.BackoffResetMs != 0 || plain.Policy.RetryOn != 0 || plain.Policy.WaitForUnreachable {
		t.Errorf("defaults are not Spark's: %+v %v", plain, err)
	}
}

// spark.mesos.driver.supervise.maxRetries of one submission (SPARK-24075).
func TestASubmissionLimitsItsOwnRetries(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	id := s.submit(map[string]string{"spark.driver.supervise": "true", "spark.mesos.driver.supervise.maxRetries": "1"})
	s.offers(m, "o1")
	s.want(m, "ACCEPT")
	s.update(m, id, mesos.TASK_FAILED, "u1")
	s.in(id, fsm.DriverRetrying)
	s.offers(m, "o2") // kept back until the retry is due
	s.want(m, "REVIVE")
	s.offers(m, "o3")
	s.want(m, "ACCEPT")
	s.update(m, id+"-retry-1", mesos.TASK_FAILED, "u2")
	if d := s.in(id, fsm.DriverFailed); !strings.HasPrefix(d.Reason, "gave up after 1 retries") {
		t.Errorf("%q", d.Reason)
	}
	for _, wrong := range []string{"-1", "x"} {
		_, err := s.svc.Submit(t.Context(), launch.Submission{Properties: map[string]string{
			"spark.mesos.dispatcher.command": "true", "spark.mesos.driver.supervise.maxRetries": wrong}}, dispatcher.Request{})
		if err == nil || !strings.Contains(err.Error(), "spark.mesos.driver.supervise.maxRetries") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// After a long quiet time Spark's dispatcher still gets offers and declines them.
func TestSuppressedOffersStaySoOverAKillOfWhatNeverRan(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.SuppressAfter = 5 * time.Millisecond })
	m := s.subscribed()
	s.want(m, "SUPPRESS")
	id := s.submit(map[string]string{"spark.driver.cores": "100"})
	s.want(m, "REVIVE")
	if _, err := s.svc.Kill(t.Context(), id, dispatcher.Request{}); err != nil {
		t.Fatal(err)
	}
	s.want(m, "SUPPRESS")
	// A new subscription is not suppressed in Mesos.
	m.events <- mesosutil.EventDisconnected{Err: errBroken}
	m.events <- mesosutil.EventSubscribed{FrameworkID: "fw", Resubscribed: true}
	s.want(m, "SUPPRESS")
}

// Spark prints the first reason there is for a status that has none.
func TestEachStatusIsLoggedWithTheReasonThatMesosGave(t *testing.T) {
	var log lockedBuffer
	s := newStage(t, func(c *dispatcher.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	s.update(m, id, mesos.TASK_RUNNING, "u1")
	state, reason, message := mesos.TASK_FAILED, mesos.REASON_CONTAINER_LIMITATION_MEMORY, "too much"
	m.events <- mesosutil.EventUpdate{Status: mesos.TaskStatus{TaskID: mesos.TaskID{Value: id}, State: &state, Reason: &reason, Message: &message}}
	s.in(id, fsm.DriverFailed)
	for _, want := range []string{
		"msg=status part=leader task=" + id + ` state=TASK_RUNNING reason="" message="" outcome=`,
		"msg=status part=leader task=" + id + ` state=TASK_FAILED reason=REASON_CONTAINER_LIMITATION_MEMORY message="too much" outcome=`,
	} {
		s.until(want, func() bool { return strings.Contains(log.String(), want) })
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

func TestASubscriptionThatEndsIsTriedAgainAndSaidMeanwhile(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	s.until("subscribed", func() bool { return s.leader.Status().Subscribed })
	m.end <- fmt.Errorf("framework is not authorized: %w", errBroken)
	s.until("a status that says why", func() bool {
		st := s.leader.Status()
		return !st.Subscribed && st.Err != nil && strings.Contains(st.Err.Error(), "not authorized")
	})
	s.subscribed()
	s.until("subscribed", func() bool { st := s.leader.Status(); return st.Subscribed && st.Err == nil })
}
