package testcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore/faultnet"
)

// Options say what to start. Dir is required.
type Options struct {
	Dir    string
	Nodes  int  // default 3
	Memory bool // nodes talk over an in-memory network, not over loopback TCP

	// Mesos is what runs beside the nodes. Zero fields get the timing of a test.
	Mesos localmesos.Options
	// Master is another Mesos that the nodes use, as host:port. Cluster.Mesos then
	// runs beside them for nobody.
	Master string
	// Conf are spark.* properties of all nodes.
	Conf map[string]string
	// Backends lets the nodes host applications in client mode. TuneHost changes how,
	// after the test's timing was set.
	Backends bool
	TuneHost func(id string, h *host.Config)
	// Tune changes the configuration of a node after the test's timing was set.
	Tune func(id string, d *dispatcher.Config, r *raftstore.Config)

	Logger *slog.Logger // default: discards
}

// Profile of the timers between nodes: slow enough for a busy machine. A crash
// is noticed without them.
var Profile = raftstore.Profile{Name: "test", Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 200 * time.Millisecond}

// Cluster is a running one. All methods are safe for concurrent use.
type Cluster struct {
	Mesos   *localmesos.Mesos
	Journal *Journal
	History *History

	opts  Options
	net   *faultnet.Net
	nodes []*Node
	http  *http.Client
	traps traps
}

// Start starts Mesos and all nodes. It does not wait for a leader.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{
		opts: opts, History: &History{},
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second},
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.Journal, err = newJournal(filepath.Join(opts.Dir, "journal")); err != nil {
		return nil, err
	}
	if c.Mesos, err = localmesos.Start(ctx, mesosOptions(opts)); err != nil {
		return nil, err
	}
	var base raftstore.Transport = raftstore.TCP{}
	if opts.Memory {
		base = &raftstore.MemNetwork{}
	}
	c.net = faultnet.New(base)
	if err := c.plan(); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if err := n.Start(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// mesosOptions fills in the timing of a test: two agents of 16 CPUs, and updates
// that come again soon.
func mesosOptions(opts Options) localmesos.Options {
	o := opts.Mesos
	if o.Agents == 0 && len(o.AgentOptions) == 0 {
		o.Agents = 2
	}
	if o.Resources == "" {
		o.Resources = "cpus:16;mem:65536;disk:8192;ports:[31000-31999]"
	}
	setDefault(&o.WorkDir, filepath.Join(opts.Dir, "mesos"))
	setDefault(&o.HeartbeatInterval, 500*time.Millisecond)
	setDefault(&o.UpdateRetry, 100*time.Millisecond)
	setDefault(&o.AllocationInterval, 5*time.Millisecond)
	setDefault(&o.KillGracePeriod, time.Second)
	return o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// plan chooses the addresses of all nodes, which every node must know before the
// first one starts.
func (c *Cluster) plan() error {
	for i := range c.opts.Nodes {
		id := fmt.Sprintf("n%d", i+1)
		addr := id
		if !c.opts.Memory {
			var err error
			if addr, err = loopback(i); err != nil {
				return err
			}
		}
		master := c.opts.Master
		if master == "" {
			master = c.Mesos.Addr()
		}
		p, err := newProxy(master)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, &Node{
			ID: id, c: c, addr: addr, dir: filepath.Join(c.opts.Dir, id), mesos: p, disk: &disk{},
		})
	}
	return nil
}

// hosts makes each address of this process different: on Linux all of 127/8 is
// this machine, so a port of a host of one's own cannot be taken by anybody
// while its node is down.
var hosts = struct {
	sync.Mutex
	a, b, n int
}{a: 2 + rand.IntN(250), b: rand.IntN(256)}

func loopback(i int) (string, error) {
	if runtime.GOOS == "linux" {
		hosts.Lock()
		defer hosts.Unlock()
		hosts.n++
		return fmt.Sprintf("127.%d.%d.%d:%d", hosts.a, hosts.b, 1+hosts.n%250, 7200+hosts.n/250), nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// Node by its number, from 0.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Nodes are all nodes, those that are down included.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Running are the nodes that are up.
func (c *Cluster) Running() []*Node {
	var up []*Node
	for _, n := range c.nodes {
		if n.Up() {
			up = append(up, n)
		}
	}
	return up
}

// Others are the running nodes but one.
func (c *Cluster) Others(n *Node) []*Node {
	var out []*Node
	for _, o := range c.Running() {
		if o != n {
			out = append(out, o)
		}
	}
	return out
}

// Close heals what is broken and ends everything: nodes first, like crashes, then
// Mesos with its tasks.
func (c *Cluster) Close() error {
	c.traps.releaseAll()
	for _, n := range c.nodes {
		n.disk.set(diskMode{})
	}
	if c.net != nil {
		c.net.Heal()
	}
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(n.Crash)
	}
	wg.Wait()
	var err error
	if c.Mesos != nil {
		c.Mesos.SetFaults(localmesos.Faults{})
		c.Mesos.Release()
		err = c.Mesos.Close()
	}
	for _, n := range c.nodes {
		n.mesos.close()
	}
	c.http.CloseIdleConnections()
	return err
}

// peers is the first membership.
func (c *Cluster) peers() []node.Peer {
	var out []node.Peer
	for _, n := range c.nodes {
		out = append(out, node.Peer{ID: n.ID, Raft: n.addr})
	}
	return out
}

// ErrDown says that a node is not running.
var ErrDown = errors.New("node is down")

func mkdir(dir string) error { return os.MkdirAll(dir, 0o755) }
