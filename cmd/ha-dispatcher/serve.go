package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// serveFlags are those of one node: Spark's own, and what replication needs.
type serveFlags struct {
	host       string
	port       int
	webuiPort  int
	name       string
	master     string
	zk         string
	properties propertyFlags
	verbose    bool
	out        io.Writer // of --verbose

	nodeID, dataDir           string
	raftAddr, raftAdvertise   string
	peers, profile            string
	snapshotEntries           uint64
	snapshotInterval          time.Duration
	raftCert, raftKey, raftCA string
	publicHost                string
	restCert, restKey, restCA string
	webCert, webKey           string
	authTokens                string
	authReads                 bool
	allowUnauthenticated      bool
	allowFrom, trustFrom      []string
	logFormat, readyFile      string
	pprof                     bool
	backends                  bool
}

func newServe() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve --master mesos://HOST:PORT [flags]",
		Short: "Run one node of the dispatcher",
		Long: `Runs one node. Spark's flags mean what they mean to MesosClusterDispatcher.

Three nodes on three hosts, the same --peers on each:
  ha-dispatcher serve --master mesos://m1:5050 --node-id n1 --data-dir /var/lib/ha-dispatcher \
    --host h1 --raft-addr h1:7177 --peers n1=h1:7177,n2=h2:7177,n3=h3:7177 \
    --raft-cert n1.pem --raft-key n1.key --raft-ca ca.pem --auth-tokens tokens

One node alone needs neither --node-id nor --peers.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return withUsage(c, fmt.Errorf("Unrecognized option: '%s'", args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if f.master == "" && f.zk == "" {
				return withUsage(c, errors.New("--master is required"))
			}
			f.out = c.ErrOrStderr()
			return f.run(c.Context())
		},
	}
	f.register(c)
	c.SetUsageFunc(serveUsage)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return withUsage(c, errors.New(sparkFlagError(err))) })
	return c
}

// withUsage is a usage error that the usage follows, as upstream prints it.
func withUsage(c *cobra.Command, err error) error {
	return usageError("%w\n\n%s", err, c.UsageString())
}

func (f *serveFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.Bool("help", false, "show this text")
	fl.StringVarP(&f.host, "host", "h", "127.0.0.1", "host to listen on and to be reached at")
	fl.IntVarP(&f.port, "port", "p", 7077, "REST port for spark-submit; 0 takes any")
	fl.IntVar(&f.webuiPort, "webui-port", 8081, "port of the web pages, /metrics and health; 0 takes any")
	fl.StringVar(&f.name, "name", "Spark Cluster", "framework name in Mesos")
	fl.StringVarP(&f.master, "master", "m", "", "Mesos master: mesos://HOST:PORT[,HOST:PORT…] or mesos://zk://HOST:PORT[,…]/PATH")
	fl.StringVarP(&f.zk, "zk", "z", "", "refused: the nodes replicate their state themselves")
	fl.StringVar(&f.properties.file, "properties-file", "", propertiesUsage)
	fl.StringArrayVar(&f.properties.conf, "conf", nil, confUsage)
	fl.BoolVar(&f.verbose, "verbose", false, "print the settings, log more")

	fl.StringVar(&f.nodeID, "node-id", "n1", "name of this node, for ever")
	fl.StringVar(&f.dataDir, "data-dir", "ha-dispatcher-data", "directory of this node's log and snapshots")
	fl.StringVar(&f.raftAddr, "raft-addr", "", "host:port for the other nodes (default: this node's entry in --peers, else HOST:PORT+100)")
	fl.StringVar(&f.raftAdvertise, "raft-advertise", "", "address that the other nodes dial, where it differs from --raft-addr")
	fl.StringVar(&f.peers, "peers", "", "all nodes at the first start, equal on each: id=raftaddr[=restaddr],…; none: wait to be joined")
	fl.StringVar(&f.profile, "profile", "lan", "timers between nodes: lan or wan; equal on all nodes")
	fl.Uint64Var(&f.snapshotEntries, "snapshot-entries", 8192, "log entries after which this node writes a snapshot of its state")
	fl.DurationVar(&f.snapshotInterval, "snapshot-interval", 30*time.Second, "how often that is looked at, at least 1s; in fact up to twice as long")
	fl.StringVar(&f.raftCert, "raft-cert", "", "certificate of this node for the other nodes (PEM)")
	fl.StringVar(&f.raftKey, "raft-key", "", "its key")
	fl.StringVar(&f.raftCA, "raft-ca", "", "CA that the other nodes' certificates must come from")
	fl.StringVar(&f.publicHost, "public-host", "", "name of this host for others (default $SPARK_PUBLIC_DNS, else --host, else the host's name)")

	fl.StringVar(&f.webCert, "webui-cert", "", "certificate of the pages' port (PEM); makes it HTTPS")
	fl.StringVar(&f.webKey, "webui-key", "", "its key")
	fl.StringVar(&f.restCert, "rest-cert", "", "certificate of the REST port (PEM); makes it HTTPS")
	fl.StringVar(&f.restKey, "rest-key", "", "its key")
	fl.StringVar(&f.restCA, "rest-client-ca", "", "CA whose client certificates are let in")
	fl.StringVar(&f.authTokens, "auth-tokens", "", "file of name:token lines; clients send one as bearer or basic authentication")
	fl.BoolVar(&f.authReads, "auth-reads", false, "ask for authentication to read, too, and for the pages and metrics")
	fl.BoolVar(&f.allowUnauthenticated, "allow-unauthenticated", false, "serve other machines without any authentication")
	fl.StringSliceVar(&f.allowFrom, "allow-from", nil, "networks that are served at all (CIDR), but for health checks")
	fl.StringSliceVar(&f.trustFrom, "trust-from", nil, "networks that need no authentication (CIDR): unmodified spark-submit cannot send any")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.BoolVar(&f.backends, "backends", false, "host the scheduler backends of applications in client mode (/v1/apps), the same on each node: their executors outlive any node")
	fl.BoolVar(&f.pprof, "pprof", false, "serve /debug/pprof on the pages' port")
	fl.StringVar(&f.readyFile, "ready-file", "", "file to write this node's addresses to (JSON) as soon as it serves")
}

// gcPercent keeps the memory of a node small: its state is long-lived, and
// collecting somewhat more often costs it little. $GOGC goes before it.
const gcPercent = 60

func (f *serveFlags) run(ctx context.Context) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	cfg, err := f.config()
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, cfg)
	if err != nil {
		return err
	}
	cfg.Logger.Info("serving", "rest", n.RESTURL(), "webui", n.WebURL(), "raft", cfg.RaftAddr, "version", version)
	if f.readyFile != "" {
		if err := writeReady(f.readyFile, n); err != nil {
			return errors.Join(err, n.Close(context.Background()))
		}
	}
	select {
	case <-ctx.Done():
	case <-n.Done():
	}
	cfg.Logger.Info("stopping")
	return n.Close(context.Background())
}

func (f *serveFlags) config() (node.Config, error) {
	if f.zk != "" {
		return node.Config{}, usageError("--zk is not used: the nodes replicate their state among themselves. "+
			"Give --peers, the same on every node, instead; an existing dispatcher is taken over with 'ha-dispatcher migrate --from-zookeeper %s'", f.zk)
	}
	if f.master == "" {
		return node.Config{}, usageError("--master is required")
	}
	if !strings.HasPrefix(f.master, "mesos://") {
		return node.Config{}, usageError("Cluster dispatcher only supports mesos (uri begins with mesos://)")
	}
	host, err := bareHost(f.host)
	if err != nil {
		return node.Config{}, err
	}
	public, err := publicHost(firstOf(f.publicHost, os.Getenv("SPARK_PUBLIC_DNS")), host)
	if err != nil {
		return node.Config{}, err
	}
	for name, port := range map[string]int{"--port": f.port, "--webui-port": f.webuiPort} {
		if port < 0 || port > 65535 {
			return node.Config{}, usageError("%s %d: a port from 0 to 65535 is wanted", name, port)
		}
	}
	spark, path, err := f.properties.load()
	if err != nil {
		return node.Config{}, err
	}
	cfg := node.Config{
		ID: f.nodeID, DataDir: f.dataDir, RaftAddr: f.raftAddr, RaftAdvertise: f.raftAdvertise,
		RESTAddr:   net.JoinHostPort(host, strconv.Itoa(f.port)),
		WebUIAddr:  net.JoinHostPort(host, strconv.Itoa(f.webuiPort)),
		PublicHost: public,
		Master:     strings.TrimPrefix(f.master, "mesos://"), Name: f.name, Spark: spark, Version: version, Profiling: f.pprof, Backends: f.backends,
		Logger: f.logger(),
	}
	if err := f.replication(&cfg, host); err != nil {
		return cfg, err
	}
	if err := f.access(&cfg); err != nil {
		return cfg, err
	}
	if f.verbose {
		f.print(spark, path)
	}
	return cfg, nil
}

func (f *serveFlags) replication(cfg *node.Config, host string) (err error) {
	if cfg.Profile, err = raftstore.ParseProfile(f.profile); err != nil {
		return usageError("%v", err)
	}
	if f.snapshotEntries < 1 || f.snapshotInterval < time.Second {
		return usageError("--snapshot-entries must be at least 1, and --snapshot-interval at least 1s")
	}
	cfg.SnapshotEntries, cfg.SnapshotInterval = f.snapshotEntries, f.snapshotInterval
	if cfg.Peers, err = parsePeers(f.peers); err != nil {
		return err
	}
	listed := len(cfg.Peers) == 0
	for _, p := range cfg.Peers {
		if p.ID == f.nodeID {
			listed = true
			cfg.RaftAddr = firstOf(cfg.RaftAddr, p.Raft)
		}
	}
	if !listed {
		return usageError("--peers does not list this node, --node-id %s", f.nodeID)
	}
	if cfg.RaftAddr == "" {
		port := 0
		if f.port != 0 {
			port = f.port + 100
		}
		if port > 65535 {
			return usageError("--port %d leaves no port 100 above it for the other nodes: give --raft-addr", f.port)
		}
		cfg.RaftAddr = net.JoinHostPort(host, strconv.Itoa(port))
	}
	if raftHost, port, err := net.SplitHostPort(cfg.RaftAddr); err == nil && len(cfg.Peers) == 0 && cfg.RaftAdvertise == "" && isUnspecified(raftHost) && port != "0" {
		cfg.RaftAdvertise = net.JoinHostPort(cfg.PublicHost, port) // nobody can dial 0.0.0.0
	}
	if len(cfg.Peers) == 0 && f.peers != joinLater {
		cfg.Peers = []node.Peer{{ID: f.nodeID, Raft: firstOf(cfg.RaftAdvertise, cfg.RaftAddr)}}
	}
	if f.raftCert != "" || f.raftKey != "" || f.raftCA != "" {
		cfg.RaftTLS = &raftstore.TLSConfig{CertFile: f.raftCert, KeyFile: f.raftKey, CAFile: f.raftCA}
		return nil
	}
	if raftHost, _, err := net.SplitHostPort(cfg.RaftAddr); err == nil && !isLoopback(raftHost) && !f.allowUnauthenticated {
		return usageError("--raft-addr %s can be reached from other machines, and whoever reaches it can write to the log: "+
			"give --raft-cert, --raft-key and --raft-ca, or --allow-unauthenticated", cfg.RaftAddr)
	}
	return nil
}

func (f *serveFlags) access(cfg *node.Config) (err error) {
	cfg.WebTLS = rest.TLSConfig{CertFile: f.webCert, KeyFile: f.webKey}
	if f.webCert != "" {
		cfg.WebTLS.ClientCAFile = f.restCA
	}
	cfg.REST.TLS = rest.TLSConfig{CertFile: f.restCert, KeyFile: f.restKey, ClientCAFile: f.restCA}
	cfg.REST.Auth = rest.AuthConfig{TokenFile: f.authTokens, Reads: f.authReads, AllowUnauthenticated: f.allowUnauthenticated}
	if cfg.REST.Auth.AllowedNetworks, err = parseNetworks("--allow-from", f.allowFrom); err != nil {
		return err
	}
	cfg.REST.Auth.TrustedNetworks, err = parseNetworks("--trust-from", f.trustFrom)
	return err
}

func (f *serveFlags) logger() *slog.Logger {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	opts := &slog.HandlerOptions{Level: level}
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

func (f *serveFlags) print(conf sparkconf.Conf, properties string) {
	fmt.Fprintf(f.out, "Using host: %s\nUsing port: %d\nUsing webUiPort: %d\nFramework Name: %s\nUsing properties file: %s\nSpark Config properties set:\n",
		f.host, f.port, f.webuiPort, f.name, properties)
	redaction, err := sparkconf.Redaction(conf)
	if err != nil { // refused when the node starts
		redaction = sparkconf.DefaultRedaction
	}
	for k, v := range conf.All() {
		fmt.Fprintf(f.out, "(%s,%s)\n", k, sparkconf.RedactURL(sparkconf.RedactValue(redaction, k, v)))
	}
}

// joinLater in place of a list of peers lets a node wait to be joined.
const joinLater = "none"

func parsePeers(text string) ([]node.Peer, error) {
	var out []node.Peer
	if text == joinLater {
		return nil, nil
	}
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		parts := strings.Split(strings.TrimSpace(item), "=")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
			return nil, usageError("--peers %q: id=raftaddr[=restaddr] is wanted", item)
		}
		p := node.Peer{ID: parts[0], Raft: parts[1]}
		if len(parts) == 3 {
			p.REST = parts[2]
		}
		out = append(out, p)
	}
	return out, nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// writeReady tells whoever started this process where it listens.
func writeReady(path string, n *node.Node) error {
	text := fmt.Sprintf(`{"id":%q,"pid":%d,"rest":%q,"webui":%q,"at":%q}`+"\n", n.ID(), os.Getpid(), n.RESTURL(), n.WebURL(), time.Now().Format(time.RFC3339Nano))
	return writeAtomically(path, []byte(text))
}
