package backend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend/internal/propose"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Coarse is the coarse-grained backend of one application on one node: it keeps
// as many executors running on Mesos as are wanted, each of them one Mesos task.
//
// Every node of the log may run one for the same application; that of the leader
// talks to Mesos, and the requests of all of them go into the log. All methods
// are safe for concurrent use.
type Coarse struct {
	application
	registrees map[string]int64 // cores, by executor
}

// application is what the backends of both modes are: one application on one node.
type application struct {
	cfg      Config
	settings *Settings
	m        *metrics
	created  time.Time
	newDuty  func(*session) duty // makes the part of a session that belongs to the mode

	mu       sync.Mutex
	started  bool
	stopping bool
	lead     LeaderStatus
	held     map[Reason]uint64
	problem  error
	mesos    Mesos  // of the subscription under way
	leads    uint64 // how often this node has begun to lead

	poke chan struct{} // wakes the session

	cancel context.CancelFunc
	work   sync.WaitGroup
}

var _ SchedulerBackend = (*Coarse)(nil)

// New checks the configuration. Nothing is written or sent before Start. An error
// joins one *InvalidError for each property that cannot be used.
func New(cfg Config) (*Coarse, error) {
	cfg, settings, err := cfg.withDefaults(coarseGrained)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	c := &Coarse{registrees: make(map[string]int64)}
	c.init(cfg, settings, m)
	c.newDuty = func(s *session) duty { return &coarseDuty{session: s, shuffles: newShuffles(&c.application)} }
	return c, nil
}

func (c *application) init(cfg Config, settings *Settings, m *metrics) {
	c.cfg, c.settings, c.m, c.created, c.held = cfg, settings, m, cfg.Clock(), make(map[Reason]uint64)
	c.poke = make(chan struct{}, 1)
}

// Settings of the application. They must not be changed.
func (c *application) Settings() *Settings { return c.settings }

// Start registers the application, in the log and then, through whichever node
// leads, with Mesos, and returns when that is done. It must be called on every
// node; ctx bounds the waiting only. After an error, Close.
//
// Errors: ErrStopped, ErrFrameworkRemoved, those of the log, that of ctx, with the
// reason why Mesos was not reached where it is known.
func (c *Coarse) Start(ctx context.Context) error {
	before := c.cfg.State.View()
	return c.start(ctx, func(ctx context.Context) { c.follow(ctx, before) }, &fsmpb.RegisterApp{
		AppId: c.cfg.AppID, Name: c.settings.AppName, User: c.settings.User, FrameworkId: c.settings.Framework.ID,
		MaxAgentFailures: MaxAgentFailures, ExcludeMs: c.settings.ExcludeFor.Milliseconds(),
		Totals: []*fsm.ProfileTotal{{Total: c.settings.InitialTotal}},
	})
}

func (c *application) start(ctx context.Context, follow func(context.Context), register *fsmpb.RegisterApp) error {
	c.mu.Lock()
	if c.started {
		c.mu.Unlock()
		return errors.New("backend: Start was called before")
	}
	c.started = true
	run, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.mu.Unlock()

	c.work.Go(func() { follow(run) })
	if _, err := c.resolve(ctx, fsm.NumberRegisterApp, register); err != nil {
		return err
	}
	c.work.Go(func() {
		if err := c.cfg.Log.RunWhileLeader(run, &leader{application: c}); err != nil && !errors.Is(err, context.Canceled) {
			c.cfg.Logger.Error("this node leads no more", "error", err)
		}
	})
	return c.await(ctx, func(a *fsm.App) (bool, error) {
		switch a.Framework.State {
		case fsm.FrameworkSubscribed, fsm.FrameworkDisconnected:
			return true, nil
		case fsm.FrameworkRemoved, fsm.FrameworkTornDown:
			return false, ErrFrameworkRemoved
		}
		if a.Stopped {
			return false, ErrStopped
		}
		return false, nil
	})
}

// Lead acts for an application that is registered already, for as long as ctx
// lasts or until the application is over. It is for whoever runs many applications
// on one log, and must run on the leader alone, once at a time; Start does all of
// it for one.
func (c *application) Lead(ctx context.Context) {
	c.mu.Lock()
	c.held, c.problem = make(map[Reason]uint64), nil
	c.leads++
	c.mu.Unlock()
	c.setLead(LeaderStatus{Leading: true})
	defer c.setLead(LeaderStatus{})
	(&leader{application: c, ends: true}).run(ctx)
}

// wake lets the session of a leader do a step.
func (c *application) wake() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// leading counts the times that this node has begun to lead.
func (c *application) leading() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads
}

// await waits until the application on this node is as wanted.
func (c *application) await(ctx context.Context, ok func(*fsm.App) (bool, error)) error {
	feed := c.cfg.Feed
	for {
		_, _, wake := feed.Since(feed.Next(), 0)
		if a, found := c.app(); found {
			if done, err := ok(a); done || err != nil {
				return err
			}
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), c.Status().Err)
		}
	}
}

func (c *application) app() (*fsm.App, bool) { return c.cfg.State.App(c.cfg.AppID) }

func (c *application) registered() bool {
	_, found := c.app()
	return found
}

// Stop ends the application for good, on all nodes: its executors are killed, and
// once they are gone, or after spark.mesos.coarse.shutdownTimeout, its framework
// is torn down, which the leader does, whoever that is by then. Stop returns when
// that is done, and Close is done too. Later calls are ignored; after an error it may
// be called again.
func (c *application) Stop(ctx context.Context) error { return c.stop(ctx, "Stop was called") }

func (c *application) stop(ctx context.Context, reason string) error {
	c.mu.Lock()
	again := c.stopping
	c.stopping = true
	c.mu.Unlock()
	if again {
		c.cfg.Logger.Warn("Stop called multiple times, ignoring")
		return nil
	}
	_, err := c.request(ctx, fsm.NumberStopApp, &fsmpb.StopApp{AppId: c.cfg.AppID, Reason: reason})
	if err == nil {
		err = c.await(ctx, func(a *fsm.App) (bool, error) { return a.Over(), nil })
	}
	if err != nil {
		c.mu.Lock()
		c.stopping = false
		c.mu.Unlock()
		return err
	}
	c.Close()
	return nil
}

// Close ends what runs on this node and leaves the application to the others, or
// to a later Start: its executors stay. It may be called more than once.
func (c *application) Close() {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	c.work.Wait()
}

// ApplicationID is the framework id. Before the application is registered it is a
// stand-in, with a warning in the log, as in Spark.
func (c *application) ApplicationID() string {
	if a, found := c.app(); found && a.Framework.ID != "" {
		return a.Framework.ID
	}
	c.cfg.Logger.Warn("Application ID is not initialized yet.")
	return fmt.Sprintf("spark-application-%d", c.created.UnixMilli())
}

// ExecutorRegistered tells that an executor has registered with the driver, with
// so many cores.
func (c *Coarse) ExecutorRegistered(executorID string, cores int64) error {
	if cores < 0 {
		return &InvalidError{Key: "cores", Reason: "must not be negative"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registrees[executorID] = cores
	return nil
}

// ExecutorUnregistered takes ExecutorRegistered back.
func (c *Coarse) ExecutorUnregistered(executorID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.registrees, executorID)
}

// SufficientResourcesRegistered tells whether executors with enough cores have
// registered for the application to begin: spark.cores.max (0 where it is not
// set) times spark.scheduler.minRegisteredResourcesRatio.
func (c *Coarse) SufficientResourcesRegistered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var cores int64
	for _, n := range c.registrees {
		cores += n
	}
	return float64(cores) >= float64(c.settings.CoresMax)*c.settings.MinRegisteredRatio
}

// Profile is a resource profile, beside the default one, and how many executors
// of it are wanted. Zero amounts are those of the application.
type Profile struct {
	ID      uint32 // Spark's resource profile id; from 1 on
	Total   int
	Cores   int
	HeapMiB int64
	GPUs    int
}

// Totals is how many executors are wanted.
type Totals struct {
	Executors int // of the default profile
	Profiles  []Profile
	// Hosts that the tasks at hand prefer, with how many of them do.
	Hosts map[string]int
}

// RequestTotalExecutors sets how many executors are wanted in all. It returns when
// that is committed; from then on it is carried out, whatever node fails.
// Executors beyond the total are not killed, but not replaced either.
//
// Errors: *InvalidError for an impossible request; ErrNotStarted, ErrStopped; those
// of the log, raftstore.ErrOutcomeUnknown among them.
func (c *Coarse) RequestTotalExecutors(ctx context.Context, want Totals) error {
	totals, err := c.settings.ProfileTotals(want)
	if err != nil {
		return err
	}
	body := &fsmpb.SetTotals{AppId: c.cfg.AppID, Totals: totals}
	for host, tasks := range want.Hosts {
		if tasks > 0 {
			body.Hosts = append(body.Hosts, host)
		}
	}
	c.cfg.Logger.Info(fmt.Sprintf("Capping the total amount of executors to %d", want.Executors))
	r, err := c.request(ctx, fsm.NumberSetTotals, body)
	if r != nil && fsm.Code(r.Code) == fsm.CodeMalformed {
		return &InvalidError{Key: "totals", Reason: r.Message}
	}
	return err
}

// ProfileTotals is what is wanted as the log has it. Errors: *InvalidError.
func (s *Settings) ProfileTotals(want Totals) ([]*fsm.ProfileTotal, error) {
	out := []*fsm.ProfileTotal{{Total: int64(want.Executors)}}
	for _, p := range want.Profiles {
		if p.ID == 0 {
			return nil, &InvalidError{Key: "Profile.ID", Reason: "0 is the default profile; set Totals.Executors"}
		}
		t := &fsm.ProfileTotal{
			Profile: p.ID, Total: int64(p.Total), Cores: int64(p.Cores), HeapMib: p.HeapMiB, Gpus: int64(p.GPUs),
		}
		if p.HeapMiB > 0 {
			r := reader{conf: s.conf}
			t.MemMib = s.containerMiB(&r, "spark.mesos.executor.memoryOverhead", "spark.executor.memoryOverheadFactor", p.HeapMiB)
		}
		if t.Cores > s.MaxCores {
			return nil, &InvalidError{Key: "Profile.Cores", Reason: fmt.Sprintf("an executor of %d cores can never start under spark.cores.max, which allows %d", t.Cores, s.MaxCores)}
		}
		out = append(out, t)
	}
	for _, t := range out {
		if t.Total < 0 || t.Total > fsm.Unlimited {
			return nil, &InvalidError{Key: "executors", Value: fmt.Sprint(t.Total), Reason: fmt.Sprintf("must lie between 0 and %d", fsm.Unlimited)}
		}
	}
	return out, nil
}

// KillExecutors kills these executors, all of them or, with an error, none. It
// returns when that is committed; from then on each is killed, whatever node
// fails. One that is over already stays so. As long as the wanted total asks for
// it, others take their place.
//
// Errors: ErrUnknownExecutor, ErrNotStarted, those of the log.
func (c *Coarse) KillExecutors(ctx context.Context, ids ...string) error {
	if !c.registered() {
		c.cfg.Logger.Warn("Asked to kill executors before the Mesos driver was started.")
		return ErrNotStarted
	}
	_, err := c.request(ctx, fsm.NumberKillExecutors, &fsmpb.KillExecutors{
		AppId: c.cfg.AppID, TaskIds: ids, Reason: "asked for by the application",
	})
	return err
}

// ExcludeHost starts no executor on a host for the given time, or with 0 never
// again; AdmitHost takes that back. Executors that run there stay.
func (c *Coarse) ExcludeHost(ctx context.Context, host string, d time.Duration, reason string) error {
	body := &fsmpb.ExcludeHost{AppId: c.cfg.AppID, Host: host, Reason: reason}
	if d < 0 {
		return &InvalidError{Key: "duration", Value: d.String(), Reason: "must not be negative"}
	}
	if d > 0 {
		body.UntilMs = c.cfg.Clock().Add(d).UnixMilli()
	}
	_, err := c.request(ctx, fsm.NumberExcludeHost, body)
	return err
}

// AdmitHost takes ExcludeHost back.
func (c *Coarse) AdmitHost(ctx context.Context, host string) error {
	_, err := c.request(ctx, fsm.NumberExcludeHost, &fsmpb.ExcludeHost{AppId: c.cfg.AppID, Host: host, Lift: true})
	return err
}

// ofLog tells whether an error says that the log did not take a command, or not
// surely.
func ofLog(err error) bool {
	return propose.Transient(err) || errors.Is(err, raftstore.ErrOutcomeUnknown)
}

// framework is what to subscribe as.
func (c *application) framework(id string) mesosutil.DriverFramework {
	f := c.settings.Framework
	f.ID = id
	return f
}
