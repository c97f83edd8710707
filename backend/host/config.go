package host

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Log is what a host needs of the replicated log; *raftstore.Store is one.
type Log interface {
	backend.Log
	ProposeLocal(ctx context.Context, data []byte) ([]byte, error)
	Linearize(ctx context.Context) (uint64, error)
}

// MesosFactory makes the scheduler driver of one subscription of an application.
// gate must hold before each subscription.
type MesosFactory func(framework mesosutil.DriverFramework, credentials *mesosutil.Credentials, gate func(context.Context) error) (backend.Mesos, error)

// Config of the host on one node. It is to be the same on all nodes. State, Log,
// User and one of Master and NewMesos are required; the zero value of the rest
// takes the default that is named with it.
type Config struct {
	State *fsm.State // what the log's machine applies to; see backend.Machine
	Log   Log

	// Master of Mesos, as mesosutil.ParseMaster reads it, but for ZooKeeper.
	Master string
	// NewMesos makes scheduler drivers; default mesosutil.NewDriver for Master.
	NewMesos MesosFactory

	// User that executors run as where the application names none.
	User string
	// Users are others that an application may name; "*" is any.
	Users []string
	// Role, Credentials and SparkHome are for applications that have none of their
	// own.
	Role        string
	Credentials *mesosutil.Credentials
	SparkHome   string
	// FailoverTimeout of applications that ask for none. Default
	// backend.DefaultFailoverTimeout.
	FailoverTimeout time.Duration
	// MaxApplications that are not over. Default 1000.
	MaxApplications int
	// RequestWait bounds how long a request waits for a leader. Default 10 s.
	RequestWait time.Duration
	// Shuffle makes what registers an application that uses them with shuffle
	// services. Optional.
	Shuffle func(properties map[string]string) (backend.ShuffleRegistrar, error)
	// CommandSet is the lowest that the members of the log know, see
	// fsm.CommandVersion. No application is registered while a member would not
	// understand it. Default: that of this program.
	CommandSet func() uint32

	// Tune changes the configuration of an application's backend.
	Tune func(*backend.Config)

	Clock      func() time.Time // default time.Now
	Logger     *slog.Logger     // default slog.Default()
	Registerer prometheus.Registerer
}

// The limits of what a client may ask for.
const (
	// MinFailoverTimeout and MaxFailoverTimeout bound what an application may ask for.
	MinFailoverTimeout = time.Second
	MaxFailoverTimeout = 30 * 24 * time.Hour
	// MaxSpecification bounds an application, properties and all, in bytes.
	MaxSpecification = 256 << 10
)

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.State == nil || c.Log == nil:
		return c, errors.New("host: Config.State and Config.Log are required")
	case c.User == "":
		return c, errors.New("host: Config.User is required")
	case c.Master == "" && c.NewMesos == nil:
		return c, errors.New("host: Config.Master or Config.NewMesos is required")
	case c.FailoverTimeout < 0 || c.FailoverTimeout > MaxFailoverTimeout || c.FailoverTimeout != 0 && c.FailoverTimeout < MinFailoverTimeout:
		return c, errors.New("host: Config.FailoverTimeout must lie between " + MinFailoverTimeout.String() + " and " + MaxFailoverTimeout.String())
	case c.MaxApplications < 0:
		return c, errors.New("host: Config.MaxApplications is negative")
	}
	if c.FailoverTimeout == 0 {
		c.FailoverTimeout = backend.DefaultFailoverTimeout
	}
	if c.MaxApplications == 0 {
		c.MaxApplications = 1000
	}
	if c.RequestWait == 0 {
		c.RequestWait = 10 * time.Second
	}
	if c.CommandSet == nil {
		c.CommandSet = func() uint32 { return fsm.CommandVersion }
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.NewMesos == nil {
		if _, err := mesosutil.ParseMaster(c.Master); err != nil {
			return c, err
		}
		c.NewMesos = c.newDriver
	}
	return c, nil
}

func (c *Config) newDriver(framework mesosutil.DriverFramework, credentials *mesosutil.Credentials, gate func(context.Context) error) (backend.Mesos, error) {
	info, err := framework.Info()
	if err != nil {
		return nil, err
	}
	return mesosutil.NewDriver(mesosutil.DriverConfig{
		Master: c.Master, Framework: info, Credentials: credentials, Gate: gate, Logger: c.Logger, Registerer: c.Registerer,
	})
}
