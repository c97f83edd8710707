package localmesos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Mesos is a running master, its standbys and its agents. All methods may be
// called from any goroutine.
type Mesos struct {
	opts    Options
	log     *slog.Logger
	workDir string
	ownsDir bool
	files   *os.Root // WorkDir; nothing outside can be read over HTTP
	started time.Time

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	work    sync.WaitGroup // every goroutine and timer
	spawner *spawner
	servers []*server
	kick    chan struct{} // capacity 1: resources may be offered

	// mu guards everything below and the state of masters, agents and tasks.
	// Nothing blocks while holding it.
	mu         sync.Mutex
	closed     bool
	timers     map[*timer]struct{}
	leader     int // index into servers, -1 for none
	master     *master
	agents     []*agent
	faults     Faults
	released   chan struct{} // closed by Release
	heldEvents []heldEvent
	silent     bool
}

// server is the HTTP side of one master.
type server struct {
	addr string // host:port
	http *http.Server
}

// Start brings up the masters and agents; agents are registered when it
// returns. The context bounds the start only: use [Mesos.Close] to stop.
func Start(ctx context.Context, opts Options) (_ *Mesos, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts, err = opts.withDefaults(); err != nil {
		return nil, err
	}
	m := &Mesos{
		opts: opts, log: opts.Logger, started: time.Now(),
		kick: make(chan struct{}, 1), released: make(chan struct{}),
		timers: map[*timer]struct{}{},
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if err := m.openWorkDir(); err != nil {
		return nil, err
	}
	if m.spawner, err = startSpawner(); err != nil {
		return nil, fmt.Errorf("localmesos: starting the guard of task processes: %w", err)
	}
	listeners, err := listenAll(ctx, append([]string{opts.Addr}, opts.Standbys...))
	if err != nil {
		return nil, err
	}
	for i, l := range listeners {
		m.servers = append(m.servers, m.newServer(i, l.Addr().String()))
	}
	m.mu.Lock()
	m.elect(0)
	m.mu.Unlock()
	for i := range opts.Agents {
		if err := m.addAgent(i); err != nil {
			closeAll(listeners)
			return nil, err
		}
	}
	for i, l := range listeners {
		m.work.Go(func() {
			if err := m.servers[i].http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				m.log.Error("master stopped serving", "addr", m.servers[i].addr, "err", err)
			}
		})
	}
	m.work.Go(m.allocateLoop)
	return m, nil
}

func listenAll(ctx context.Context, addrs []string) (ls []net.Listener, err error) {
	var config net.ListenConfig
	for _, addr := range addrs {
		l, err := config.Listen(ctx, "tcp", addr)
		if err != nil {
			closeAll(ls)
			return nil, fmt.Errorf("localmesos: master address %q (choose another port, or 0): %w", addr, err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}

func (m *Mesos) openWorkDir() (err error) {
	m.workDir = m.opts.WorkDir
	if m.workDir == "" {
		if m.workDir, err = os.MkdirTemp("", "localmesos-"); err != nil {
			return fmt.Errorf("localmesos: %w", err)
		}
		m.ownsDir = true
	}
	if m.workDir, err = filepath.Abs(m.workDir); err != nil {
		return fmt.Errorf("localmesos: work dir: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(m.workDir, "slaves"), 0o755); err != nil {
		return fmt.Errorf("localmesos: work dir: %w", err)
	}
	if m.files, err = os.OpenRoot(m.workDir); err != nil {
		return fmt.Errorf("localmesos: work dir: %w", err)
	}
	return nil
}

// URL is the http URL of the first master, without a path.
func (m *Mesos) URL() string { return "http://" + m.Addr() }

// Addr is the host:port of the first master.
func (m *Mesos) Addr() string { return m.servers[0].addr }

// Addrs are the addresses of all masters, the first one first.
func (m *Mesos) Addrs() []string {
	var all []string
	for _, s := range m.servers {
		all = append(all, s.addr)
	}
	return all
}

// WorkDir is the directory that holds the sandboxes.
func (m *Mesos) WorkDir() string { return m.workDir }

// Close kills every task, cuts every connection and waits until nothing is
// left running. It may be called more than once.
func (m *Mesos) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		m.work.Wait()
		return nil
	}
	m.closed = true
	for t := range m.timers {
		m.forget(t)
	}
	if m.master != nil {
		for _, f := range m.master.frameworks {
			if f.stream != nil {
				f.stream.cut()
			}
		}
	}
	for _, a := range m.agents {
		for _, e := range a.executors {
			if e.stream != nil {
				e.stream.cut()
			}
		}
	}
	m.mu.Unlock()
	m.stop() // ends fetches and held calls, and kills task processes
	for _, s := range m.servers {
		s.http.Close()
	}
	m.work.Wait()
	var err error
	if m.spawner != nil {
		err = m.spawner.close()
	}
	if m.files != nil {
		m.files.Close()
	}
	if m.ownsDir {
		err = errors.Join(err, os.RemoveAll(m.workDir))
	}
	return err
}

// timer is a pending call of after.
type timer struct {
	t    *time.Timer
	done bool // guarded by Mesos.mu
}

// after runs f, under mu, when d has passed and neither Close nor cancel came
// first. The caller holds mu.
func (m *Mesos) after(d time.Duration, f func()) *timer {
	t := &timer{}
	if m.closed {
		t.done = true
		return t
	}
	m.timers[t] = struct{}{}
	m.work.Add(1)
	t.t = time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !t.done {
			m.forget(t)
			f()
		}
	})
	return t
}

func (m *Mesos) cancel(t *timer) {
	if t != nil && !t.done {
		m.forget(t)
	}
}

func (m *Mesos) forget(t *timer) {
	t.done = true
	t.t.Stop()
	delete(m.timers, t)
	m.work.Done()
}

func newMasterID() string { return uuid.NewString() }
