package dispatcher_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// memoryLog is a log of one node without a disk. hook may fail a command before
// or after it was carried out.
type memoryLog struct {
	state *fsm.State

	mu     sync.Mutex
	index  uint64
	before func(ctx context.Context) error
	after  func() error
	verify error
	term   uint64 // 0: 1
}

func (l *memoryLog) ProposeLocal(ctx context.Context, data []byte) ([]byte, error) {
	return l.Propose(ctx, data)
}

func (l *memoryLog) Propose(ctx context.Context, data []byte) ([]byte, error) {
	l.mu.Lock()
	before, after := l.before, l.after
	l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if before != nil {
		if err := before(ctx); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	l.index++
	out := l.state.Apply(l.index, data)
	l.mu.Unlock()
	if after != nil {
		if err := after(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *memoryLog) set(before func(context.Context) error, after func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before, l.after = before, after
}

func (l *memoryLog) Linearize(context.Context) (uint64, error) { return l.index, nil }

func (l *memoryLog) VerifyLeader(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.verify
}

func (l *memoryLog) deposed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.verify = raftstore.ErrNotLeader
}

func (l *memoryLog) WaitLeader(context.Context) error { return nil }
func (l *memoryLog) Leader() (raftstore.Member, uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return raftstore.Member{ID: "n1"}, max(l.term, 1), true
}
func (l *memoryLog) Status() raftstore.Status { return raftstore.Status{} }

// call is one call of the leader to Mesos.
type call struct {
	name   string
	ids    []string // offers, tasks
	agent  string
	refuse time.Duration
	tasks  []mesos.TaskInfo
	used   []string // offers of an ACCEPT
}

// scriptedMesos is a scheduler driver whose events the test writes.
type scriptedMesos struct {
	frameworkID string
	gate        func(context.Context) error
	events      chan mesosutil.Event
	end         chan error
	calls       chan call
	onCall      func(call) error // may be nil; its error is the call's
	done        chan struct{}    // closed when Run has returned
}

func (m *scriptedMesos) Run(ctx context.Context) error {
	defer close(m.done)
	defer close(m.events)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-m.end:
		return err
	}
}

func (m *scriptedMesos) did(c call) error {
	if m.onCall != nil {
		if err := m.onCall(c); err != nil {
			return err
		}
	}
	m.calls <- c
	return nil
}

func (m *scriptedMesos) Events() <-chan mesosutil.Event { return m.events }

func (m *scriptedMesos) Accept(_ context.Context, offers []string, tasks []mesos.TaskInfo, refuse time.Duration) error {
	c := call{name: "ACCEPT", refuse: refuse, tasks: tasks, used: offers}
	for i := range tasks {
		c.ids, c.agent = append(c.ids, tasks[i].TaskID.Value), tasks[i].AgentID.Value
	}
	return m.did(c)
}

func (m *scriptedMesos) Decline(_ context.Context, offers []string, refuse time.Duration) error {
	return m.did(call{name: "DECLINE", ids: offers, refuse: refuse})
}

func (m *scriptedMesos) DeclineInverse(_ context.Context, offers []string, refuse time.Duration) error {
	return m.did(call{name: "DECLINE_INVERSE", ids: offers, refuse: refuse})
}

func (m *scriptedMesos) Kill(_ context.Context, task, agent string, _ *time.Duration) error {
	return m.did(call{name: "KILL", ids: []string{task}, agent: agent})
}

func (m *scriptedMesos) Acknowledge(_ context.Context, agent, task string, _ []byte) error {
	return m.did(call{name: "ACKNOWLEDGE", ids: []string{task}, agent: agent})
}

func (m *scriptedMesos) Reconcile(_ context.Context, tasks []mesosutil.DriverTask) error {
	c := call{name: "RECONCILE"}
	for _, t := range tasks {
		c.ids = append(c.ids, t.TaskID)
	}
	return m.did(c)
}

func (m *scriptedMesos) Revive(context.Context, ...string) error {
	return m.did(call{name: "REVIVE"})
}
func (m *scriptedMesos) Suppress(context.Context, ...string) error {
	return m.did(call{name: "SUPPRESS"})
}
func (m *scriptedMesos) Teardown(context.Context) error { return m.did(call{name: "TEARDOWN"}) }
func (m *scriptedMesos) Status() mesosutil.DriverStatus { return mesosutil.DriverStatus{} }

// stage is one node with a leader, a log in memory and a scripted Mesos.
type stage struct {
	t        *testing.T
	state    *fsm.State
	log      *memoryLog
	svc      *dispatcher.Service
	leader   *dispatcher.Leader
	sessions chan *scriptedMesos
	onCall   func(call) error
}

// newStage starts to lead.
func newStage(t *testing.T, tune func(*dispatcher.Config)) *stage {
	s := &stage{t: t, state: fsm.New(), sessions: make(chan *scriptedMesos, 100)}
	s.log = &memoryLog{state: s.state}
	cfg := dispatcher.Config{
		Launch: launch.DispatcherConf{Master: "127.0.0.1:5050"}, Location: time.UTC, Logger: slog.New(slog.DiscardHandler),
		ReviveEvery: time.Millisecond, SuppressAfter: time.Hour, KillAgain: 10 * time.Millisecond,
		ReconcileAgain: 10 * time.Millisecond, Resubscribe: 10 * time.Millisecond, LaunchQuiet: time.Hour, SubmitWait: 5 * time.Second,
		NewMesos: func(id string, gate func(context.Context) error) (dispatcher.Mesos, error) {
			m := &scriptedMesos{
				frameworkID: id, gate: gate, events: make(chan mesosutil.Event, 100), end: make(chan error, 1),
				calls: make(chan call, 10_000), done: make(chan struct{}),
				onCall: func(c call) error {
					if s.onCall != nil {
						return s.onCall(c)
					}
					return nil
				},
			}
			s.sessions <- m
			return m, nil
		},
	}
	if os.Getenv("DISPATCHER_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if tune != nil {
		tune(&cfg)
	}
	s.svc = dispatcher.NewService(cfg, s.log, s.state)
	var err error
	if s.leader, err = dispatcher.NewLeader(s.svc); err != nil {
		t.Fatal(err)
	}
	if err := s.leader.Establish(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.leader.Revoke() })
	return s
}

// session waits for the next scheduler driver.
func (s *stage) session() *scriptedMesos {
	s.t.Helper()
	select {
	case m := <-s.sessions:
		return m
	case <-time.After(10 * time.Second):
		s.t.Fatal("no scheduler driver was made")
		return nil
	}
}

// subscribed is a session that is subscribed and has asked its first questions.
func (s *stage) subscribed() *scriptedMesos {
	s.t.Helper()
	m := s.session()
	id := m.frameworkID
	if id == "" {
		id = "fw"
	}
	m.events <- mesosutil.EventSubscribed{FrameworkID: id, MasterURL: "http://m"}
	s.want(m, "RECONCILE")
	return m
}

// want waits for a call of this name, past any others.
func (s *stage) want(m *scriptedMesos, name string) call {
	s.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case c := <-m.calls:
			if c.name == name {
				return c
			}
		case <-limit:
			s.t.Fatalf("no %s came", name)
		}
	}
}

// quiet wants none of these calls for a while.
func (s *stage) quiet(m *scriptedMesos, names ...string) {
	s.t.Helper()
	limit := time.After(50 * time.Millisecond)
	for {
		select {
		case c := <-m.calls:
			if slices.Contains(names, c.name) {
				s.t.Fatalf("unwanted %+v", c)
			}
		case <-limit:
			return
		}
	}
}

func (s *stage) submit(conf map[string]string) string {
	s.t.Helper()
	props := map[string]string{"spark.app.name": "d", "spark.mesos.dispatcher.command": "true", "spark.driver.memory": "100m"}
	for k, v := range conf {
		props[k] = v
	}
	r, err := s.svc.Submit(s.t.Context(), launch.Submission{Properties: props}, dispatcher.Request{})
	if err != nil {
		s.t.Fatal(err)
	}
	return r.DriverID
}

// offers sends one offer of an agent with room for a few drivers.
func (s *stage) offers(m *scriptedMesos, id string) {
	m.events <- mesosutil.EventOffers{Offers: []mesos.Offer{offer(id, "agent", scalars(4, 8192)...)}}
}

func (s *stage) update(m *scriptedMesos, task string, state mesos.TaskState, uuid string) {
	st := mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, State: &state, AgentID: &mesos.AgentID{Value: "agent"}}
	if uuid != "" {
		st.UUID = []byte(uuid)
	}
	m.events <- mesosutil.EventUpdate{Status: st}
}

func (s *stage) in(id string, want fsm.DriverState) *fsm.Driver {
	s.t.Helper()
	var d *fsm.Driver
	s.until(string(want), func() bool {
		d, _ = s.state.Driver(id)
		return d != nil && d.State == want
	})
	return d
}

func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waiting for %s", what)
		}
	}
}

var errBroken = errors.New("broken")
