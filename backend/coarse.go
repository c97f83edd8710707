package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
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

// Start registers the application, in the log and then, through whichever node
// leads, with Mesos, and returns when that is done. It must be called on every
// node, and waits until it was on the one that leads: nodes of one process have to
// be started side by side. ctx bounds the waiting only. After an error, Close.
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
