package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Log is what a backend needs of the replicated log; *raftstore.Store is one.
type Log interface {
	Propose(ctx context.Context, data []byte) ([]byte, error)
	VerifyLeader(ctx context.Context) error
	WaitLeader(ctx context.Context) error
	RunWhileLeader(ctx context.Context, task raftstore.LeaderTask) error
}

// Feed is a stream of changes; *fsm.Feed is one.
type Feed interface {
	// Since returns the changes from number on; lost tells that some are kept no
	// longer. wake is closed when there may be more.
	Since(number uint64, limit int) (changes []fsm.Change, lost bool, wake <-chan struct{})
	// Next is the number that the next change will have.
	Next() uint64
}

// Mesos is what a leader needs of a scheduler driver; *mesosutil.Driver is one.
type Mesos interface {
	Run(ctx context.Context) error
	Events() <-chan mesosutil.Event
	Accept(ctx context.Context, offerIDs []string, tasks []mesos.TaskInfo, refuse time.Duration) error
	Decline(ctx context.Context, offerIDs []string, refuse time.Duration) error
	Kill(ctx context.Context, taskID, agentID string, grace *time.Duration) error
	Acknowledge(ctx context.Context, agentID, taskID string, uuid []byte) error
	Reconcile(ctx context.Context, tasks []mesosutil.DriverTask) error
	Revive(ctx context.Context, roles ...string) error
	Suppress(ctx context.Context, roles ...string) error
	Shutdown(ctx context.Context, executorID, agentID string) error
	Teardown(ctx context.Context) error
	Status() mesosutil.DriverStatus
}

// MesosFactory makes the driver of one subscription. framework.ID is the one that
// is committed, or empty. gate must hold before each subscription.
type MesosFactory func(framework mesosutil.DriverFramework, gate func(context.Context) error) (Mesos, error)

// Config of a backend on one node. All nodes of an application are
// to have the same AppID and Context. AppID, State, Log, Context and one of
// Master and NewMesos are required; the zero value of the rest takes the default
// that is named with it.
type Config struct {
	// AppID names the application in the log: up to 200 bytes without blanks,
	// slashes and backslashes. It is not Spark's application id. Default: the name
	// of the application.
	AppID string
	State *fsm.State // what the log's machine applies to; see Machine
	Log   Log
	// Feed tells of the changes of State, or at least of those of the application,
	// each of them not before State shows it. Default State.Feed().
	Feed Feed
	// Context is the Spark context of the application.
	Context Context
	// Master of Mesos, as mesosutil.ParseMaster reads it.
	Master string
	// Credentials for Mesos; default those that the properties or the environment
	// name.
	Credentials *mesosutil.Credentials
	// NewMesos makes scheduler drivers; default mesosutil.NewDriver for Master.
	NewMesos MesosFactory
	// TuneMesos changes the configuration of the default driver.
	TuneMesos func(*mesosutil.DriverConfig)

	// Command makes the command of an executor in coarse-grained mode; default
	// Spark's.
	Command CommandBuilder
	// Executor describes the Mesos executor of an agent in fine-grained mode;
	// default Settings.AgentExecutor, which is Spark's.
	Executor ExecutorBuilder
	// Shuffle registers the application with the shuffle services of its agents,
	// where spark.shuffle.service.enabled is true.
	Shuffle ShuffleRegistrar
	// Scheduler is told of executors that are over, and of errors. Optional in
	// coarse-grained mode; in the other it is a FineScheduler.
	Scheduler TaskScheduler
	// Launcher is told how the application is. Optional.
	Launcher Launcher
	// Tokens obtains delegation tokens while this node leads, and ShareTokens hands
	// them on. Optional.
	Tokens      TokenSource
	ShareTokens TokenSink

	// RequestWait bounds how long a request waits for a leader. Default 10 s.
	RequestWait time.Duration
	// KillGrace is the time between SIGTERM and SIGKILL; default Mesos' own.
	KillGrace *time.Duration
	// KillAgain is the first wait before a kill is repeated; it doubles up to 32
	// times that. Default 2 s.
	KillAgain time.Duration
	// ReconcileAgain is the first wait before executors without an answer are asked
	// about again; it doubles up to 64 times that. Default 1 s.
	ReconcileAgain time.Duration
	// LaunchQuiet is how long a launched executor may stay without any status
	// before Mesos is asked about it. Default 10 s.
	LaunchQuiet time.Duration
	// LossWait is how long the statuses of tasks are waited for after the Mesos
	// executor under them ended, in fine-grained mode. Default 5 s.
	LossWait time.Duration
	// ReconcileEvery is how often all executors are asked about. Default 15 min.
	ReconcileEvery time.Duration
	// Resubscribe is the wait before a subscription is tried again that Mesos
	// refused for good. Default 15 s.
	Resubscribe time.Duration
	// ReviveEvery is the shortest time between two revivals. Default 100 ms.
	ReviveEvery time.Duration
	// SuppressAfter is how long no executor must be wanted before offers are
	// suppressed. Default 5 s.
	SuppressAfter time.Duration

	Clock      func() time.Time // default time.Now
	Logger     *slog.Logger     // default slog.Default()
	Registerer prometheus.Registerer

	// Failpoint is for tests: it is called where a crash matters, and an error
	// stops what is under way.
	Failpoint func(ctx context.Context, name string) error
}

// The places at which a crash matters.
const (
	FailTotalsCommitted = "totals-committed" // seen by the leader, nothing done about them
	FailIntentCommitted = "intent-committed" // before ACCEPT
	FailAccepted        = "accepted"         // after ACCEPT, before any status
	FailStatusReceived  = "status-received"  // before the status is committed
	FailStatusCommitted = "status-committed" // before the acknowledgement
	FailKillCommitted   = "kill-committed"   // before KILL
)

func (c Config) withDefaults(m mode) (Config, *Settings, error) {
	if c.Context.User = cmp.Or(c.Context.User, os.Getenv("SPARK_USER")); c.Context.User == "" {
		current, err := user.Current() // Mesos takes no framework without a user
		if err != nil {
			return c, nil, fmt.Errorf("backend: Config.Context.User is not set, and this process's user is not known: %w", err)
		}
		c.Context.User = current.Username
	}
	settings, err := parseSettings(c.Context, m)
	if err != nil {
		return c, nil, err
	}
	c.AppID = cmp.Or(c.AppID, settings.AppName)
	switch {
	case c.State == nil || c.Log == nil:
		return c, nil, errors.New("backend: Config.State and Config.Log are required")
	case c.Master == "" && c.NewMesos == nil:
		return c, nil, errors.New("backend: Config.Master or Config.NewMesos is required")
	}
	setDefault(&c.RequestWait, 10*time.Second)
	setDefault(&c.KillAgain, 2*time.Second)
	setDefault(&c.ReconcileAgain, time.Second)
	setDefault(&c.LaunchQuiet, 10*time.Second)
	setDefault(&c.LossWait, 5*time.Second)
	setDefault(&c.ReconcileEvery, 15*time.Minute)
	setDefault(&c.Resubscribe, 15*time.Second)
	setDefault(&c.ReviveEvery, 100*time.Millisecond)
	setDefault(&c.SuppressAfter, 5*time.Second)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("app", c.AppID)
	if c.Feed == nil {
		c.Feed = c.State.Feed()
	}
	if (m == coarseGrained && c.Command == nil || m == fineGrained && c.Executor == nil) && c.Context.DriverURL == "" {
		for _, key := range []string{"spark.driver.host", "spark.driver.port"} {
			if settings.conf.Text(key, "") == "" {
				return c, nil, &InvalidError{Key: key, Reason: "is needed: executors register with the driver there"}
			}
		}
	}
	if c.Command == nil {
		c.Command = settings.Command
	}
	if c.Executor == nil {
		c.Executor = settings.AgentExecutor
	}
	if c.NewMesos == nil {
		if c.Credentials == nil {
			if c.Credentials, err = mesosutil.CredentialsFrom(settings.conf.Lookup, os.LookupEnv); err != nil {
				return c, nil, err
			}
		}
		if _, err := mesosutil.ParseMaster(c.Master); err != nil {
			return c, nil, err
		}
		c.NewMesos = c.newDriver
	}
	return c, settings, nil
}

func setDefault(v *time.Duration, def time.Duration) {
	if *v == 0 {
		*v = def
	}
}

func (c *Config) newDriver(framework mesosutil.DriverFramework, gate func(context.Context) error) (Mesos, error) {
	info, err := framework.Info()
	if err != nil {
		return nil, err
	}
	dc := mesosutil.DriverConfig{
		Master: c.Master, Framework: info, Credentials: c.Credentials, Gate: gate, Logger: c.Logger, Registerer: c.Registerer,
	}
	if c.TuneMesos != nil {
		c.TuneMesos(&dc)
	}
	return mesosutil.NewDriver(dc)
}

func (c *Config) failpoint(ctx context.Context, name string) error {
	if c.Failpoint == nil {
		return nil
	}
	return c.Failpoint(ctx, name)
}

// Machine lets raftstore run the replicated state.
type Machine struct{ State *fsm.State }

// Apply carries out one log entry. fsm copies what it keeps of the data.
func (m Machine) Apply(e raftstore.Entry) []byte { return m.State.Apply(e.Index, e.Data) }

// Snapshot captures the state in O(1).
func (m Machine) Snapshot() (raftstore.Snapshot, error) { return m.State.View(), nil }

// Restore replaces the state.
func (m Machine) Restore(r io.Reader) error { return m.State.Restore(r) }
