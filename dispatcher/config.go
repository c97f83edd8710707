package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Config of the dispatcher on one node. The zero value of an optional field
// takes the default that is named with it.
type Config struct {
	// Launch is how submissions become tasks. Required on every node: each one
	// checks the submissions that it takes in.
	Launch launch.DispatcherConf
	// Policy is what Apply needs of the configuration. Each new leader commits
	// its own where it differs. Default: upstream's.
	Policy *fsm.Policy
	// NewMesos makes the scheduler driver of one leadership. Required to lead.
	NewMesos MesosFactory

	// RejectOffer is how long Mesos keeps an offer back that served nobody.
	// Default 120 s, upstream's spark.mesos.rejectOfferDuration.
	RejectOffer time.Duration
	// HoldAfter is how long a driver that finds no room waits before an agent is
	// held for it, and HoldFor how long. Default 30 s and 60 s; HoldAfter negative:
	// never.
	HoldAfter, HoldFor time.Duration
	// SubmitWait bounds how long a request waits for a leader. Default 10 s.
	SubmitWait time.Duration
	// ReviveEvery is the shortest time between two revivals. Default 100 ms.
	ReviveEvery time.Duration
	// SuppressAfter is how long nothing must be waiting before offers are
	// suppressed. Default 5 s.
	SuppressAfter time.Duration
	// KillAgain is the first wait before a kill is repeated; it doubles up to
	// 32 times that. Default 2 s.
	KillAgain time.Duration
	// ReconcileAgain is the first wait before tasks without an answer are asked
	// about again; it doubles up to 64 times that. Default 1 s.
	ReconcileAgain time.Duration
	// LaunchQuiet is how long a launched task may stay without any status before
	// Mesos is asked about it: an ACCEPT that Mesos took can still get lost there.
	// Default 10 s.
	LaunchQuiet time.Duration
	// ReconcileEvery is how often all tasks are asked about. Default 15 min.
	ReconcileEvery time.Duration
	// Resubscribe is the wait before a subscription is tried again that Mesos
	// refused for good, or that another scheduler took over. Default 15 s.
	Resubscribe time.Duration

	// AwaitImport keeps a new cluster from registering a framework of its own
	// until the import of another dispatcher's drivers is complete.
	AwaitImport bool

	// Location is the time zone in the ids of submissions. Default local.
	Location   *time.Location
	Clock      func() time.Time // default time.Now
	Logger     *slog.Logger     // default slog.Default()
	Registerer prometheus.Registerer

	// Failpoint is for tests: it is called where a crash matters, and an error
	// stops what is under way.
	Failpoint func(ctx context.Context, name string) error
}

// The places at which a crash matters.
const (
	FailSubmitted       = "submitted"        // acknowledged submission, nothing launched
	FailIntentCommitted = "intent-committed" // before ACCEPT
	FailAccepted        = "accepted"         // after ACCEPT, before any status
	FailStatusReceived  = "status-received"  // before the status is committed
	FailStatusCommitted = "status-committed" // before the acknowledgement
	FailKillCommitted   = "kill-committed"   // before KILL
)

func (c Config) withDefaults() Config {
	setDefault(&c.RejectOffer, 120*time.Second)
	setDefault(&c.HoldAfter, 30*time.Second)
	setDefault(&c.HoldFor, time.Minute)
	setDefault(&c.SubmitWait, 10*time.Second)
	setDefault(&c.ReviveEvery, 100*time.Millisecond)
	setDefault(&c.SuppressAfter, 5*time.Second)
	setDefault(&c.KillAgain, 2*time.Second)
	setDefault(&c.ReconcileAgain, time.Second)
	setDefault(&c.LaunchQuiet, 10*time.Second)
	setDefault(&c.ReconcileEvery, 15*time.Minute)
	setDefault(&c.Resubscribe, 15*time.Second)
	setDefault(&c.Location, time.Local)
	if c.Policy == nil {
		c.Policy = fsm.DefaultPolicy()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c *Config) failpoint(ctx context.Context, name string) error {
	if c.Failpoint == nil {
		return nil
	}
	return c.Failpoint(ctx, name)
}

// transient tells whether an error of the log goes away with a new leader.
func transient(err error) bool {
	return errors.Is(err, raftstore.ErrNoLeader) || errors.Is(err, raftstore.ErrNotLeader)
}

// ofLog tells whether an error says that the log did not take a command, or not
// surely.
func ofLog(err error) bool { return transient(err) || errors.Is(err, raftstore.ErrOutcomeUnknown) }
