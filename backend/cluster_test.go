package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore/faultnet"
)

// cluster is three nodes in this process that run one application, and a Mesos
// with real processes.
type cluster struct {
	t       testing.TB
	mesos   *localmesos.Mesos
	net     *faultnet.Net
	members []*member
	starts  string // a file for each executor id, with a line for each of its processes
	change  func(*Config)
	jobs    *jobs // of a fine-grained application; nil: it is coarse-grained
	crashes sync.WaitGroup

	mu   sync.Mutex
	trap map[string]*trap // by failpoint
}

// member is one node. Its fields change when it crashes and starts again.
type member struct {
	id, dir string

	mu    sync.Mutex
	store *raftstore.Store
	state *fsm.State
	app   *Coarse
	fine  *Fine
	cut   bool // off from the others, by the test
}

// trap lets whoever leads crash at a failpoint, once.
type trap struct {
	caught chan *member // receives the member when it is down
}

func newCluster(t testing.TB, change func(*Config)) *cluster {
	t.Helper()
	return startCluster(t, nil, change)
}

func startCluster(t testing.TB, jobs *jobs, change func(*Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, starts: t.TempDir(), change: change, jobs: jobs, trap: make(map[string]*trap), net: faultnet.New(&raftstore.MemNetwork{})}
	var err error
	c.mesos, err = localmesos.Start(t.Context(), localmesos.Options{
		Agents: 2, Resources: "cpus:16;mem:65536;ports:[31000-31999]", UpdateRetry: 100 * time.Millisecond,
		AllocationInterval: 5 * time.Millisecond, KillGracePeriod: time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	for i := range 3 {
		id := fmt.Sprintf("n%d", i+1)
		c.members = append(c.members, &member{id: id, dir: filepath.Join(t.TempDir(), id)})
	}
	var wg sync.WaitGroup
	for _, m := range c.members {
		wg.Go(func() { c.start(m) })
	}
	wg.Wait()
	return c
}

func (c *cluster) close() {
	c.net.Heal()
	for _, m := range c.members {
		m.crash()
	}
	c.crashes.Wait()
	if err := c.mesos.Close(); err != nil {
		c.t.Error(err)
	}
}

// start starts a member on its data, and its part of the application.
func (c *cluster) start(m *member) {
	c.t.Helper()
	var peers []raftstore.Peer
	for i := range 3 {
		id := fmt.Sprintf("n%d", i+1)
		peers = append(peers, raftstore.Peer{ID: id, Addr: id})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	open := func() (*raftstore.Store, *fsm.State, error) {
		state := fsm.New()
		store, err := raftstore.Open(ctx, raftstore.Config{
			NodeID: m.id, DataDir: m.dir, Version: fsm.CommandVersion, Peers: peers, Transport: c.net.Node(m.id), Logger: testLogger(),
			Profile: raftstore.Profile{Name: "test", Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 200 * time.Millisecond},
		}, Machine{State: state})
		return store, state, err
	}
	store, state, err := open()
	// A child of this process holds a copy of every lock between its fork and its
	// exec, so a directory may stay locked for a moment after a crash.
	for errors.Is(err, raftstore.ErrLocked) && sleep(ctx, 5*time.Millisecond) {
		store, state, err = open()
	}
	if err != nil {
		c.t.Errorf("start %s: %v", m.id, err)
		return
	}
	cfg := Config{
		AppID: "app", State: state, Log: store, Master: c.mesos.Addr(), Logger: testLogger().With("node", m.id),
		Context: Context{AppName: "app", SparkHome: "/path", Conf: props(
			"spark.dynamicAllocation.enabled", "true", "spark.executor.cores", "1", "spark.executor.memory", "256m")},
		Command:   c.command,
		KillAgain: 100 * time.Millisecond, ReconcileAgain: 50 * time.Millisecond, LaunchQuiet: time.Second, Resubscribe: 500 * time.Millisecond,
		ReviveEvery: 10 * time.Millisecond,
		TuneMesos: func(d *mesosutil.DriverConfig) {
			d.BackoffMin, d.BackoffMax, d.CallTimeout = 5*time.Millisecond, 200*time.Millisecond, 2*time.Second
		},
		Failpoint: func(ctx context.Context, name string) error { return c.pass(ctx, m, name) },
	}
	if c.change != nil {
		c.change(&cfg)
	}
	var app SchedulerBackend
	var coarse *Coarse
	var fine *Fine
	if c.jobs != nil {
		cfg.Scheduler = &jobScheduler{jobs: c.jobs}
		fine, err = NewFine(cfg)
		app = fine
	} else {
		coarse, err = New(cfg)
		app = coarse
	}
	if err != nil {
		c.t.Error(err)
		return
	}
	m.mu.Lock()
	m.store, m.state, m.app, m.fine = store, state, coarse, fine
	m.mu.Unlock()
	if err := app.Start(ctx); err != nil {
		c.t.Errorf("start the application on %s: %v", m.id, err)
	}
}

// command is an executor of these tests: it says that it started, and stays.
func (c *cluster) command(e ExecutorSpec) (*mesos.CommandInfo, error) {
	line := fmt.Sprintf("echo $$ >> %s/%s; exec sleep 100000", c.starts, e.ExecutorID)
	return &mesos.CommandInfo{Value: &line}, nil
}

// crash ends a member as SIGKILL would.
func (m *member) crash() {
	m.mu.Lock()
	store, app, fine := m.store, m.app, m.fine
	m.store, m.app, m.fine, m.state = nil, nil, nil, nil
	m.mu.Unlock()
	if store == nil {
		return
	}
	store.Crash()
	if fine != nil {
		fine.Close()
	} else {
		app.Close()
	}
}

func (m *member) up() (*Coarse, *raftstore.Store, *fsm.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut {
		return nil, nil, nil
	}
	return m.app, m.store, m.state
}

// isolate cuts a member off from the others, but not from Mesos.
func (c *cluster) isolate(m *member, cut bool) {
	m.mu.Lock()
	m.cut = cut
	m.mu.Unlock()
	if c.net.Heal(); cut {
		c.net.Isolate(m.id)
	}
}

func (c *cluster) arm(name string) *trap {
	tr := &trap{caught: make(chan *member, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trap[name] = tr
	return tr
}

func (c *cluster) pass(ctx context.Context, m *member, name string) error {
	c.mu.Lock()
	tr := c.trap[name]
	delete(c.trap, name)
	c.mu.Unlock()
	if tr == nil {
		return nil
	}
	c.crashes.Go(func() {
		m.crash()
		tr.caught <- m
	})
	<-ctx.Done() // a dead process goes no further
	return ctx.Err()
}

func (c *cluster) snapped(tr *trap) *member {
	c.t.Helper()
	select {
	case m := <-tr.caught:
		return m
	case <-time.After(patience):
		c.t.Fatal("nobody came to the failpoint")
		return nil
	}
}

// leader waits for the member that leads and is subscribed.
func (c *cluster) leader() (found *member) {
	c.t.Helper()
	eventually(c.t, "a leader that is subscribed", func() bool {
		for _, m := range c.members {
			if app, _, _ := m.up(); app != nil && app.Status().Subscribed {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// follower is a member that is up and does not lead.
func (c *cluster) follower() *Coarse {
	c.t.Helper()
	leader := c.leader()
	for _, m := range c.members {
		if app, _, _ := m.up(); app != nil && m != leader {
			return app
		}
	}
	c.t.Fatal("no follower")
	return nil
}

// anyone is a member that is up.
func (c *cluster) anyone() *Coarse {
	c.t.Helper()
	for _, m := range c.members {
		if app, _, _ := m.up(); app != nil {
			return app
		}
	}
	c.t.Fatal("nobody is up")
	return nil
}

func (c *cluster) do(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// running waits until exactly n executors run, and none else lives, and returns
// their process ids by task id.
func (c *cluster) running(n int) map[string]int {
	c.t.Helper()
	var pids map[string]int
	var st Status
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%+v", st)
		}
	}()
	eventually(c.t, fmt.Sprintf("%d executors", n), func() bool {
		pids = make(map[string]int)
		st = c.anyone().Status()
		if st.Live != n || st.Running != n {
			return false
		}
		for _, v := range c.mesos.Tasks() {
			if v.State == "TASK_RUNNING" {
				pids[v.ID] = c.pidOf(v.ID)
			}
		}
		return len(pids) == n
	})
	for id, pid := range pids {
		if syscall.Kill(pid, 0) != nil {
			c.t.Errorf("executor %s has no process", id)
		}
	}
	return pids
}

// pidOf an executor. No executor may ever have had two.
func (c *cluster) pidOf(id string) int {
	c.t.Helper()
	var lines []string
	eventually(c.t, "process of "+id, func() bool {
		data, err := os.ReadFile(filepath.Join(c.starts, id))
		lines = strings.Fields(string(data))
		return err == nil && len(lines) > 0
	})
	if len(lines) != 1 {
		c.t.Fatalf("executor %s was started as %v", id, lines)
	}
	pid, _ := strconv.Atoi(lines[0])
	return pid
}

func (c *cluster) scale(app *Coarse, n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.do(app.RequestTotalExecutors(ctx, Totals{Executors: n}))
}

// consistent wants the same bytes on all members, all executors started once, and
// no status unacknowledged.
func (c *cluster) consistent() {
	c.t.Helper()
	var last []string
	eventually(c.t, "equal states", func() bool {
		last = last[:0]
		var first []byte
		var index uint64
		for _, m := range c.members {
			_, _, state := m.up()
			if state == nil {
				continue
			}
			v := state.View()
			var b bytes.Buffer
			if _, err := v.WriteTo(&b); err != nil {
				c.t.Fatal(err)
			}
			last = append(last, fmt.Sprint(v.Index()))
			switch {
			case first == nil:
				first, index = b.Bytes(), v.Index()
			case v.Index() != index:
				return false
			case !bytes.Equal(first, b.Bytes()):
				c.t.Fatalf("states at index %d differ", index)
			}
		}
		return true
	})
	eventually(c.t, "acknowledgements", func() bool {
		for _, v := range c.mesos.Tasks() {
			if v.Unacked > 0 {
				return false
			}
		}
		return true
	})
	entries, err := os.ReadDir(c.starts)
	c.do(err)
	for _, e := range entries {
		c.pidOf(e.Name())
	}
	frameworks := c.mesos.Frameworks()
	if len(frameworks) != 1 {
		c.t.Errorf("%d frameworks: %+v", len(frameworks), frameworks)
	}
}
