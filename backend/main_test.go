package backend

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(executorEnv); dir != "" {
		os.Exit(runExecutor(dir))
	}
	goleak.VerifyTestMain(m)
}

const patience = 60 * time.Second

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	eventuallyFor(t, patience, what, ok)
}

func eventuallyFor(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// soloLog is a log of one node, in memory.
type soloLog struct {
	mu    sync.Mutex
	index uint64
	state *fsm.State
}

func (l *soloLog) Propose(_ context.Context, data []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	return l.state.Apply(l.index, data), nil
}

func (*soloLog) VerifyLeader(context.Context) error { return nil }
func (*soloLog) WaitLeader(context.Context) error   { return nil }

func (*soloLog) RunWhileLeader(ctx context.Context, task raftstore.LeaderTask) error {
	if err := task.Establish(ctx, 1); err != nil {
		return err
	}
	<-ctx.Done()
	task.Revoke()
	return ctx.Err()
}

// fakeMesos notes the calls and sends what a test says.
type fakeMesos struct {
	framework mesosutil.DriverFramework
	events    chan mesosutil.Event
	torn      chan struct{}

	mu        sync.Mutex
	accepted  map[string][]mesos.TaskInfo // by offer
	declined  map[string]time.Duration
	kills     []string
	acks      []string
	asked     int
	revived   int
	suppress  int
	acceptErr error
	shutdown  []string
	refusals  map[string]time.Duration // of what an ACCEPT left over
}

func newFakeMesos(f mesosutil.DriverFramework) *fakeMesos {
	m := &fakeMesos{
		framework: f, events: make(chan mesosutil.Event, 64), torn: make(chan struct{}),
		accepted: make(map[string][]mesos.TaskInfo), declined: make(map[string]time.Duration), refusals: make(map[string]time.Duration),
	}
	m.events <- mesosutil.EventSubscribed{FrameworkID: cmp.Or(f.ID, "FW"), MasterURL: "http://m:5050"}
	return m
}

func (m *fakeMesos) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.torn:
		return nil
	}
}
func (m *fakeMesos) Events() <-chan mesosutil.Event { return m.events }

func (m *fakeMesos) Accept(_ context.Context, offers []string, tasks []mesos.TaskInfo, refuse time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.acceptErr != nil {
		return m.acceptErr
	}
	for _, id := range offers {
		m.accepted[id], m.refusals[id] = tasks, refuse
	}
	return nil
}

func (m *fakeMesos) Decline(_ context.Context, offers []string, refuse time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range offers {
		m.declined[id] = refuse
	}
	return nil
}

func (m *fakeMesos) Kill(_ context.Context, task, _ string, _ *time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kills = append(m.kills, task)
	return nil
}

func (m *fakeMesos) Acknowledge(_ context.Context, _, task string, _ []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acks = append(m.acks, task)
	return nil
}

func (m *fakeMesos) Reconcile(context.Context, []mesosutil.DriverTask) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return nil
}

func (m *fakeMesos) Revive(context.Context, ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revived++
	return nil
}

func (m *fakeMesos) Suppress(context.Context, ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suppress++
	return nil
}

func (m *fakeMesos) Shutdown(_ context.Context, executor, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shutdown = append(m.shutdown, executor)
	return nil
}

func (m *fakeMesos) Teardown(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.torn:
	default:
		close(m.torn)
	}
	return nil
}

func (m *fakeMesos) Status() mesosutil.DriverStatus { return mesosutil.DriverStatus{} }

// suite is an application on a fake Mesos, as upstream's tests have it.
type suite struct {
	*Coarse
	t     testing.TB
	mesos *fakeMesos
}

func props(pairs ...string) map[string]string {
	m := map[string]string{"spark.driver.host": "dhost", "spark.driver.port": "34041"}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func newSuite(t testing.TB, pairs ...string) *suite {
	t.Helper()
	return suiteWith(t, nil, pairs...)
}

func suiteWith(t testing.TB, change func(*Config), pairs ...string) *suite {
	t.Helper()
	s := &suite{t: t}
	state := fsm.New()
	cfg := Config{
		AppID: "app", State: state, Log: &soloLog{state: state}, Logger: testLogger(),
		Context: Context{AppName: "test-mesos-dynamic-alloc", SparkHome: "/path", WebUIURL: "http://webui", Conf: props(pairs...)},
		NewMesos: func(f mesosutil.DriverFramework, _ func(context.Context) error) (Mesos, error) {
			s.mesos = newFakeMesos(f)
			return s.mesos, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Coarse, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func testLogger() *slog.Logger {
	if os.Getenv("BACKEND_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// offerOf is upstream's helper: offer id oN, agent sN, host hostsN.
func offerOf(n string, mem, cpus float64, more ...mesos.Resource) mesos.Offer {
	return mesos.Offer{
		ID: mesos.OfferID{Value: "o" + n}, AgentID: mesos.AgentID{Value: "s" + n}, Hostname: "hosts" + n,
		Resources: append([]mesos.Resource{
			mesosutil.NewScalarResource("mem", mem, "", nil), mesosutil.NewScalarResource("cpus", cpus, "", nil),
		}, more...),
	}
}

func gpusOf(n float64) mesos.Resource { return mesosutil.NewScalarResource("gpus", n, "", nil) }

func portsOf(begin, end uint64) mesos.Resource {
	kind := mesos.RANGES
	return mesos.Resource{Name: "ports", Type: &kind, Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: begin, End: end}}}}
}

func (s *suite) offer(offers ...mesos.Offer) { s.mesos.events <- mesosutil.EventOffers{Offers: offers} }

// launched waits for the tasks launched on an offer.
func (s *suite) launched(offer string) (tasks []mesos.TaskInfo) {
	s.t.Helper()
	eventually(s.t, "launch on "+offer, func() bool {
		s.mesos.mu.Lock()
		defer s.mesos.mu.Unlock()
		if _, no := s.mesos.declined[offer]; no {
			s.t.Fatalf("%s was declined", offer)
		}
		tasks = s.mesos.accepted[offer]
		return tasks != nil
	})
	return tasks
}

// refused waits until an offer is declined and returns for how long.
func (s *suite) refused(offer string) (d time.Duration) {
	s.t.Helper()
	eventually(s.t, "decline of "+offer, func() bool {
		s.mesos.mu.Lock()
		defer s.mesos.mu.Unlock()
		if s.mesos.accepted[offer] != nil {
			s.t.Fatalf("%s was used", offer)
		}
		var there bool
		d, there = s.mesos.declined[offer]
		return there
	})
	return d
}

func (s *suite) update(task, agent string, state mesos.TaskState) {
	s.mesos.events <- mesosutil.EventUpdate{Status: mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: task}, AgentID: &mesos.AgentID{Value: agent}, State: &state, UUID: []byte(task + state.String()),
	}}
}

func (s *suite) in(task string, state fsm.ExecutorState) {
	s.t.Helper()
	eventually(s.t, task+" to be "+string(state), func() bool {
		e, found := s.cfg.State.Executor("app", task)
		return found && e.State == state
	})
}

func (s *suite) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) calls(n func(*fakeMesos) int) int {
	s.mesos.mu.Lock()
	defer s.mesos.mu.Unlock()
	return n(s.mesos)
}

func sum(t mesos.TaskInfo, name string) float64 { return mesosutil.ScalarSum(t.Resources, name) }

func variable(c *mesos.CommandInfo, name string) (string, bool) {
	for _, v := range c.Environment.Variables {
		if v.Name == name {
			return v.GetValue(), true
		}
	}
	return "", false
}

func commandOf(t mesos.TaskInfo) string { return strings.TrimSpace(t.Command.GetValue()) }
