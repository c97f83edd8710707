package host

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// soloLog is a log of one node, in memory.
type soloLog struct {
	mu       sync.Mutex
	index    uint64
	state    *fsm.State
	proposed int
}

func (l *soloLog) Propose(_ context.Context, data []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	l.proposed++
	return l.state.Apply(l.index, data), nil
}

func (l *soloLog) ProposeLocal(ctx context.Context, data []byte) ([]byte, error) {
	return l.Propose(ctx, data)
}
func (l *soloLog) Linearize(context.Context) (uint64, error) { return l.state.Index(), nil }
func (*soloLog) VerifyLeader(context.Context) error          { return nil }
func (*soloLog) WaitLeader(context.Context) error            { return nil }

func (*soloLog) RunWhileLeader(ctx context.Context, task raftstore.LeaderTask) error {
	if err := task.Establish(ctx, 1); err != nil {
		return err
	}
	<-ctx.Done()
	task.Revoke()
	return ctx.Err()
}

// fakeMesos subscribes at once, and ends every task that is to be killed.
type fakeMesos struct {
	framework mesosutil.DriverFramework
	events    chan mesosutil.Event
	torn      chan struct{}
	once      sync.Once
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
func (m *fakeMesos) Accept(_ context.Context, _ []string, tasks []mesos.TaskInfo, _ time.Duration) error {
	for _, task := range tasks {
		m.update(task.TaskID.Value, mesos.TASK_RUNNING)
	}
	return nil
}
func (m *fakeMesos) Decline(context.Context, []string, time.Duration) error { return nil }
func (m *fakeMesos) Kill(_ context.Context, task, _ string, _ *time.Duration) error {
	m.update(task, mesos.TASK_KILLED)
	return nil
}
func (m *fakeMesos) update(task string, state mesos.TaskState) {
	m.events <- mesosutil.EventUpdate{Status: mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: task}, AgentID: &mesos.AgentID{Value: "a"}, State: &state, UUID: []byte(task + state.String()),
	}}
}
func (m *fakeMesos) Acknowledge(context.Context, string, string, []byte) error { return nil }
func (m *fakeMesos) Reconcile(context.Context, []mesosutil.DriverTask) error   { return nil }
func (m *fakeMesos) Revive(context.Context, ...string) error                   { return nil }
func (m *fakeMesos) Suppress(context.Context, ...string) error                 { return nil }
func (m *fakeMesos) Teardown(context.Context) error                            { m.once.Do(func() { close(m.torn) }); return nil }
func (m *fakeMesos) Shutdown(_ context.Context, _, _ string) error             { return nil }
func (m *fakeMesos) Status() mesosutil.DriverStatus                            { return mesosutil.DriverStatus{} }

// fixture is a host that leads, on a fake Mesos.
type fixture struct {
	*Host
	t     testing.TB
	state *fsm.State
	log   *soloLog

	mu    sync.Mutex
	mesos map[string]*fakeMesos // by name of the framework
	err   map[string]error      // of a subscription, by name of the framework
}

func newFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, state: fsm.New(), mesos: make(map[string]*fakeMesos), err: make(map[string]error)}
	f.log = &soloLog{state: f.state}
	cfg := Config{
		State: f.state, Log: f.log, User: "spark", SparkHome: "/opt/cluster-spark",
		Clock:  func() time.Time { return time.Unix(1_700_000_000, 0) },
		Logger: slog.New(slog.DiscardHandler), NewMesos: f.newMesos,
		Tune: func(b *backend.Config) { b.Clock, b.Resubscribe = time.Now, time.Millisecond },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if f.Host, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) newMesos(fw mesosutil.DriverFramework, _ *mesosutil.Credentials, _ func(context.Context) error) (backend.Mesos, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.err[fw.Name]; err != nil {
		return nil, err
	}
	m := &fakeMesos{framework: fw, events: make(chan mesosutil.Event, 256), torn: make(chan struct{})}
	id := fw.ID
	if id == "" {
		id = "FW-" + fw.Name
	}
	m.events <- mesosutil.EventSubscribed{FrameworkID: id, MasterURL: "http://m:5050"}
	f.mesos[fw.Name] = m
	return m, nil
}

// lead lets the host lead until the returned function is called.
func (f *fixture) lead() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	return func() { cancel(); <-done }
}

func app(id string, props ...string) Application {
	a := Application{
		ID: id, Name: cmp.Or(id, "app"), DriverURL: "spark://CoarseGrainedScheduler@h:1",
		Properties: map[string]string{"spark.dynamicAllocation.enabled": "true", "spark.executor.cores": "1"},
	}
	for i := 0; i < len(props); i += 2 {
		a.Properties[props[i]] = props[i+1]
	}
	return a
}

func (f *fixture) register(a Application) Receipt {
	f.t.Helper()
	r, err := f.Register(f.t.Context(), a, Request{})
	f.do(err)
	return r
}

func (f *fixture) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) status(id string) Status {
	f.t.Helper()
	st, err := f.App(f.state.View(), id)
	f.do(err)
	return st
}

func (f *fixture) in(id string, want State) {
	f.t.Helper()
	eventually(f.t, id+" to be "+string(want), func() bool { return f.status(id).State == want })
}

func (f *fixture) offer(name, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mesos[name].events <- mesosutil.EventOffers{Offers: []mesos.Offer{{
		ID: mesos.OfferID{Value: id}, AgentID: mesos.AgentID{Value: "a"}, Hostname: "h",
		Resources: []mesos.Resource{mesosutil.NewScalarResource("cpus", 8, "", nil), mesosutil.NewScalarResource("mem", 16384, "", nil)},
	}}}
}
