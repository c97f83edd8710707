package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/user"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Peer is one member of the first cluster: `id=raftaddr[=restaddr]`.
type Peer struct{ ID, Raft, REST string }

// Config of one node.
type Config struct {
	ID      string
	DataDir string

	// RaftAddr is what the node listens on for the other nodes, and what they
	// dial unless RaftAdvertise is set.
	RaftAddr, RaftAdvertise string
	Peers                   []Peer
	Profile                 raftstore.Profile
	// SnapshotEntries and SnapshotInterval are SnapshotThreshold and
	// SnapshotInterval of raftstore.Config; zero: its defaults.
	SnapshotEntries  uint64
	SnapshotInterval time.Duration
	RaftTLS          *raftstore.TLSConfig

	// RESTAddr and WebUIAddr are host:port; port 0 takes any.
	RESTAddr, WebUIAddr string
	// PublicHost is what others call this host; default that of RESTAddr.
	PublicHost string
	REST       rest.Config // Addr and NodeID are filled in
	// WebTLS makes the port of the pages speak HTTPS.
	WebTLS rest.TLSConfig

	// Master is the Mesos master, as mesosutil.ParseMaster reads it.
	Master string
	// Name of the framework.
	Name string
	// User that drivers run as; default the one of this process.
	User string
	// Spark holds the spark.* properties.
	Spark sparkconf.Conf
	// Env looks up environment variables; default os.LookupEnv.
	Env func(string) (string, bool)

	// Backends hosts the backends of applications in client mode; see
	// backend/host.
	Backends bool
	// Profiling serves /debug/pprof beside the pages.
	Profiling bool

	Version string
	Logger  *slog.Logger

	// For tests.
	Transport raftstore.Transport
	Hooks     raftstore.Hooks
	Failpoint func(ctx context.Context, name string) error
	NewMesos  dispatcher.MesosFactory
	Tune      func(*dispatcher.Config, *raftstore.Config)
	TuneMesos func(*mesosutil.DriverConfig)
	TuneHost  func(*host.Config)
	Registry  *prometheus.Registry
	StopWait  time.Duration

	raftLogger *slog.Logger
}

// MachineName stands in snapshot archives, so that one of another kind of
// cluster is refused.
const MachineName = "ha-dispatcher"

// maxCommand bounds one log entry; a submission of the largest body that the
// REST server takes fits into it.
const maxCommand = 16 << 20

func (c *Config) complete() error {
	if c.Master == "" && c.NewMesos == nil {
		return errors.New("--master is required")
	}
	if c.Name == "" {
		c.Name = "Spark Cluster"
	}
	if c.User == "" {
		u, err := user.Current()
		if err != nil {
			return fmt.Errorf("find the user to run drivers as: %w", err)
		}
		c.User = u.Username
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.raftLogger = c.Logger // raftstore names the node itself
	c.Logger = c.Logger.With("node", c.ID)
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
		c.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if c.StopWait == 0 {
		c.StopWait = 10 * time.Second
	}
	if c.PublicHost == "" {
		host, _, err := net.SplitHostPort(c.RESTAddr)
		if err != nil {
			return fmt.Errorf("REST address %q: %w", c.RESTAddr, err)
		}
		c.PublicHost = host
	}
	c.REST.NodeID = c.ID
	c.REST.Addr = c.RESTAddr
	return c.REST.Validate()
}

func (c *Config) raftConfig() raftstore.Config {
	rc := raftstore.Config{
		NodeID: c.ID, DataDir: c.DataDir, BindAddr: c.RaftAddr, AdvertiseAddr: c.RaftAdvertise,
		Profile: c.Profile, TLS: c.RaftTLS, Version: commandVersion, MachineName: MachineName,
		MaxCommandBytes: maxCommand, Logger: c.raftLogger, Registerer: c.Registry,
		Transport: c.Transport, Hooks: c.Hooks,
		SnapshotThreshold: c.SnapshotEntries, SnapshotInterval: c.SnapshotInterval,
	}
	for _, p := range c.Peers {
		rc.Peers = append(rc.Peers, raftstore.Peer{ID: p.ID, Addr: p.Raft})
	}
	return rc
}
