package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Driver is one scheduler's connection to Mesos: NewDriver, then Run once,
// reading Events all the while. Its methods may be called from any goroutine.
type Driver struct {
	cfg       DriverConfig
	framework *mesos.FrameworkInfo // ID is set at each SUBSCRIBE
	detector  MasterDetector
	wire      *driverWire
	metrics   *driverMetrics
	log       *slog.Logger

	events   chan Event
	started  atomic.Bool
	inFlight sync.WaitGroup // calls; Add only under mu while current is set
	teardown sync.Mutex     // held during Teardown

	mu          sync.Mutex
	frameworkID string
	current     *subscription // nil when not subscribed
	subscribed  bool          // was subscribed at least once
	tornDown    teardownState
	lastLeader  string // endpoint of the last subscription
	lastErr     error
	since       time.Time
}

// teardownState tells a framework that is gone because this driver removed it
// from one that is gone for any other reason.
type teardownState int

const (
	teardownNone teardownState = iota
	teardownSent               // and not known whether it was taken
	teardownDone
)

// DriverStatus is a moment in a driver's life, for health pages.
type DriverStatus struct {
	Subscribed  bool
	FrameworkID string // "" until first known
	MasterURL   string // of the last subscription
	// Since is when Subscribed last changed.
	Since time.Time
	// Err is why there is no subscription; nil while there is one and before
	// the first attempt has failed.
	Err error
}

// NewDriver checks the configuration; nothing is sent before Run. Errors wrap
// ErrDriverConfig.
func NewDriver(cfg DriverConfig) (*Driver, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	info, err := cfg.framework()
	if err != nil {
		return nil, err
	}
	detector, scheme, err := cfg.detector()
	if err != nil {
		return nil, err
	}
	codec, err := cfg.codec()
	if err != nil {
		return nil, err
	}
	metrics, err := newDriverMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("%w: metrics: %w", ErrDriverConfig, err)
	}
	d := &Driver{
		cfg: cfg, framework: info, detector: detector, metrics: metrics,
		wire:   newDriverWire(cfg, codec, scheme),
		log:    cfg.Logger.With("component", "mesos"),
		events: make(chan Event, cfg.Buffer),
		since:  time.Now(),
	}
	if info.ID != nil {
		d.frameworkID = info.ID.Value
	}
	return d, nil
}

// Events is the one stream of events, in the order in which the master sent
// them. The driver reads no further while nobody receives, and the master's
// silence is not counted then. The channel is closed when Run returns.
func (d *Driver) Events() <-chan Event { return d.events }

// Status reports the present state.
func (d *Driver) Status() DriverStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return DriverStatus{
		Subscribed: d.live() != nil, FrameworkID: d.frameworkID,
		MasterURL: baseURL(d.lastLeader), Since: d.since, Err: d.lastErr,
	}
}

// Run subscribes, and subscribes again with back-off whenever the subscription
// ends, until
//   - ctx ends: ctx.Err(); the connection is closed at once, which leaves the
//     framework and its tasks to its failover timeout,
//   - Teardown has removed the framework: nil,
//   - it may not or cannot go on: ErrFailedOver, ErrFrameworkRemoved,
//     ErrUnauthorized, ErrRefused or ErrGate.
//
// When Run has returned no call is in flight and none will be sent.
func (d *Driver) Run(ctx context.Context) error {
	if !d.started.CompareAndSwap(false, true) {
		return ErrDriverUsed
	}
	defer d.stop()
	retry := backoff{least: d.cfg.BackoffMin, most: d.cfg.BackoffMax}
	for {
		began := time.Now()
		wasSubscribed, err := d.round(ctx)
		switch done, end := d.finished(ctx, err); {
		case done:
			return end
		case wasSubscribed && time.Since(began) > d.cfg.BackoffMax:
			retry.reset() // it held: the next failure is a new one
		}
		d.fail(err)
		d.log.Warn("not subscribed to Mesos, trying again", "err", err, "attempt", retry.attempt+1)
		if wasSubscribed && !d.deliver(ctx, EventDisconnected{Err: err}) {
			return ctx.Err()
		}
		retry.wait(ctx)
	}
}

// finished tells whether err, the end of a round, is the end of Run as well.
func (d *Driver) finished(ctx context.Context, err error) (done bool, end error) {
	d.teardown.Lock() // a Teardown in flight decides what the end means
	defer d.teardown.Unlock()
	d.mu.Lock()
	tornDown := d.tornDown
	d.mu.Unlock()
	switch {
	case tornDown == teardownDone, tornDown == teardownSent && errors.Is(err, ErrFrameworkRemoved):
		return true, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case terminal(err):
		d.fail(err)
		d.log.Error("Mesos driver stops", "err", err)
		return true, err
	}
	return false, nil
}

func (d *Driver) fail(err error) {
	d.metrics.subscriptions.WithLabelValues("failed").Inc()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastErr = err
}

// stop runs after the last round: the subscription is gone, so no call can
// begin; those in flight end with the context of Run.
func (d *Driver) stop() {
	d.inFlight.Wait()
	d.wire.close()
	close(d.events)
}

// round asks each master once and, at the first that leads, stays subscribed
// until that ends.
func (d *Driver) round(ctx context.Context) (subscribed bool, err error) {
	masters, err := d.detector.Detect(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("finding the Mesos masters: %w", err)
	}
	var failures []error
	for _, endpoint := range d.endpoints(masters) {
		s, err := d.subscribe(ctx, endpoint)
		if err == nil {
			return d.follow(ctx, s, masters)
		}
		failures = append(failures, err)
		if terminal(err) || ctx.Err() != nil {
			break
		}
	}
	if len(failures) == 0 {
		return false, fmt.Errorf("%w: none is known", ErrNoLeadingMaster)
	}
	return false, errors.Join(failures...)
}

// endpoints orders the masters: of a fixed list the one that led last comes
// first, which saves a redirect; a detector knows better.
func (d *Driver) endpoints(masters []string) []string {
	var out []string
	d.mu.Lock()
	last := d.lastLeader
	d.mu.Unlock()
	if d.cfg.Detector == nil && last != "" {
		out = append(out, last)
	}
	for _, m := range masters {
		if e := d.wire.endpoint(m); !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// gate asks the owner whether this scheduler may (still) be subscribed.
func (d *Driver) gate(ctx context.Context) error {
	if err := d.cfg.Gate(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrGate, err)
	}
	return nil
}

// deliver hands over an event; false when ctx ended first.
func (d *Driver) deliver(ctx context.Context, ev Event) bool {
	select {
	case d.events <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}
