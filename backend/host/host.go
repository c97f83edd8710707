package host

import (
	"context"
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Host runs the backends of applications on one node. All methods are safe for
// concurrent use.
type Host struct {
	cfg Config
	m   *metrics

	mu      sync.Mutex
	entries map[string]*entry // by application; those that were asked about
	swept   int               // entries after the last sweep
}

// entry is an application as this node runs it.
type entry struct {
	seq    uint64 // an id may be given again, the place in the order is not
	feed   *appFeed
	coarse *backend.Coarse
	err    error // why there is no coarse
}

// New checks the configuration.
func New(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, entries: make(map[string]*entry)}
	if h.m, err = newMetrics(cfg.Registerer, cfg.State); err != nil {
		return nil, err
	}
	return h, nil
}

// Run acts for the applications whenever this node leads, until ctx ends or the
// log closes, and returns that error.
func (h *Host) Run(ctx context.Context) error {
	return h.cfg.Log.RunWhileLeader(ctx, &leading{Host: h})
}

// entry is the application as this node runs it.
func (h *Host) entry(a *fsm.App) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[a.ID]; e != nil && e.seq == a.Seq {
		return e
	}
	h.sweep()
	e := &entry{seq: a.Seq, feed: newAppFeed()}
	e.coarse, e.err = h.coarse(a, e.feed)
	h.entries[a.ID] = e
	return e
}

// known is the entry of an application, if anybody has asked for it.
func (h *Host) known(a *fsm.App) *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[a.ID]; e != nil && e.seq == a.Seq {
		return e
	}
	return nil
}

// sweep forgets the entries of applications that are over, each time that the
// entries have doubled.
func (h *Host) sweep() {
	if len(h.entries) < 2*h.swept+64 {
		return
	}
	for id, e := range h.entries {
		if a, found := h.cfg.State.App(id); !found || a.Over() || a.Seq != e.seq {
			delete(h.entries, id)
		}
	}
	h.swept = len(h.entries)
}

func (h *Host) forget(a *fsm.App) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[a.ID]; e != nil && e.seq == a.Seq {
		delete(h.entries, a.ID)
	}
}

// coarse makes the backend of an application that is registered.
func (h *Host) coarse(a *fsm.App, feed backend.Feed) (*backend.Coarse, error) {
	spec, err := decode(a)
	if err != nil {
		return nil, err
	}
	s, err := h.cfg.settle(spec)
	if err != nil {
		return nil, err
	}
	s.backend.AppID, s.backend.Feed, s.backend.Context.User = a.ID, feed, a.User
	return h.build(s)
}

// build makes a backend, which checks the properties for good.
func (h *Host) build(s *settled) (*backend.Coarse, error) {
	cfg := s.backend
	cfg.State, cfg.Log, cfg.RequestWait = h.cfg.State, h.cfg.Log, h.cfg.RequestWait
	cfg.Clock, cfg.Logger, cfg.Registerer = h.cfg.Clock, h.cfg.Logger, h.cfg.Registerer
	cfg.NewMesos = func(f mesosutil.DriverFramework, gate func(context.Context) error) (backend.Mesos, error) {
		// For Mesos it is the nodes that fail over, whatever the driver does.
		f.FailoverTimeout = max(f.FailoverTimeout, backend.DefaultFailoverTimeout, s.timeout)
		return h.cfg.NewMesos(f, s.credentials, gate)
	}
	if h.cfg.Tune != nil {
		h.cfg.Tune(&cfg)
	}
	c, err := backend.New(cfg)
	return c, invalidFrom(err, "application")
}
