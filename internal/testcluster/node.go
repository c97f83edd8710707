package testcluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Node is one member: its place on disk and in the network, and, while it is up,
// what runs there.
type Node struct {
	ID string

	c     *Cluster
	addr  string // for the other nodes
	dir   string
	mesos *proxy
	disk  *disk

	life    sync.Mutex // one start, stop or crash at a time
	mu      sync.Mutex
	running *node.Node
}

// Start starts the node on its data.
func (n *Node) Start(ctx context.Context) error {
	n.life.Lock()
	defer n.life.Unlock()
	if n.Up() {
		return fmt.Errorf("%s runs already", n.ID)
	}
	run, err := node.Start(ctx, n.config())
	// A child of this process holds a copy of every socket and lock between its
	// fork and its exec, so both may stay taken for a moment after a crash.
	for tries := 0; (errors.Is(err, raftstore.ErrAddrInUse) || errors.Is(err, raftstore.ErrLocked)) && tries < 400; tries++ {
		time.Sleep(poll)
		run, err = node.Start(ctx, n.config())
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = run
	return nil
}

// config is that of production but for the timing and the hooks.
func (n *Node) config() node.Config {
	conf := map[string]string{
		"spark.mesos.dispatcher.driverMaster": "local[1]",
		"spark.mesos.maxDrivers":              "100000",
		"spark.mesos.retainedDrivers":         "100000",
	}
	maps.Copy(conf, n.c.opts.Conf)
	return node.Config{
		ID: n.ID, DataDir: n.dir, RaftAddr: n.addr, Peers: n.c.peers(), Profile: Profile,
		RESTAddr: "127.0.0.1:0", WebUIAddr: "127.0.0.1:0", Master: n.mesos.addr(), Name: "testcluster",
		Spark: sparkconf.New(conf), Env: func(string) (string, bool) { return "", false }, Version: "test",
		Logger: n.c.opts.Logger, Transport: n.c.net.Node(n.addr), Hooks: raftstore.Hooks{Disk: n.disk.write},
		Failpoint: func(ctx context.Context, name string) error { return n.c.traps.pass(ctx, n, name) },
		Tune: func(d *dispatcher.Config, r *raftstore.Config) {
			d.SuppressAfter, d.ReviveEvery = 200*time.Millisecond, 10*time.Millisecond
			d.KillAgain, d.ReconcileAgain = 100*time.Millisecond, 50*time.Millisecond
			d.Resubscribe, d.SubmitWait = 500*time.Millisecond, 5*time.Second
			d.LaunchQuiet = time.Second
			if n.c.opts.Tune != nil {
				n.c.opts.Tune(n.ID, d, r)
			}
		},
		Backends: n.c.opts.Backends, TuneHost: n.tuneHost,
		TuneMesos: func(d *mesosutil.DriverConfig) {
			d.BackoffMin, d.BackoffMax, d.CallTimeout = 5*time.Millisecond, 200*time.Millisecond, 2*time.Second
		},
		StopWait: 5 * time.Second,
	}
}

func (n *Node) tuneHost(h *host.Config) {
	h.Tune = func(b *backend.Config) {
		b.KillAgain, b.ReconcileAgain, b.LaunchQuiet = 100*time.Millisecond, 50*time.Millisecond, time.Second
		b.Resubscribe, b.ReviveEvery = 500*time.Millisecond, 10*time.Millisecond
	}
	if n.c.opts.TuneHost != nil {
		n.c.opts.TuneHost(n.ID, h)
	}
}

// Up tells whether the node runs.
func (n *Node) Up() bool { return n.Inside() != nil }

// Inside is what runs, nil while the node is down.
func (n *Node) Inside() *node.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running
}

// take is Inside for whoever ends it.
func (n *Node) take() *node.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	run := n.running
	n.running = nil
	return run
}

// Stop ends the node in good order.
func (n *Node) Stop(ctx context.Context) error {
	n.life.Lock()
	defer n.life.Unlock()
	if run := n.take(); run != nil {
		return run.Close(ctx)
	}
	return fmt.Errorf("stop %s: %w", n.ID, ErrDown)
}

// Crash ends the node as SIGKILL would: the connections to the other nodes, to
// clients and to Mesos break, and nothing is flushed or handed over. It is a
// no-op while the node is down.
func (n *Node) Crash() {
	n.life.Lock()
	defer n.life.Unlock()
	if run := n.take(); run != nil {
		n.mesos.drop()
		run.Crash()
	}
}

// Restart is Crash, then Start.
func (n *Node) Restart(ctx context.Context) error {
	n.Crash()
	return n.Start(ctx)
}

// State is the replicated state of the node as it is now.
func (n *Node) State() (*fsm.State, error) {
	run := n.Inside()
	if run == nil {
		return nil, fmt.Errorf("%s: %w", n.ID, ErrDown)
	}
	return run.State(), nil
}

// Leads tells whether the node leads and holds the subscription to Mesos.
func (n *Node) Leads() bool {
	run := n.Inside()
	return run != nil && run.LeaderStatus().Subscribed && run.Store().Status().Ready
}

// Isolate drops everything between this node and the other nodes, silently.
func (n *Node) Isolate() { n.c.net.Isolate(n.addr) }

// Cut drops everything between two nodes, silently.
func (c *Cluster) Cut(a, b *Node) { c.net.Cut(a.addr, b.addr) }

// Heal ends every fault of the network, the one to Mesos included.
func (c *Cluster) Heal() {
	c.net.Heal()
	for _, n := range c.nodes {
		n.mesos.set(proxyOpen)
	}
}

// CutMesos breaks the connections between this node and Mesos; new ones are
// refused until HealMesos.
func (n *Node) CutMesos() { n.mesos.set(proxyRefuse) }

// SilenceMesos holds back every byte between this node and Mesos, while
// connections stay open. HealMesos delivers what was held back.
func (n *Node) SilenceMesos() { n.mesos.set(proxySilent) }

// HeldBack is how many connections hold bytes back because of SilenceMesos.
func (n *Node) HeldBack() int { return n.mesos.heldBack() }

// HealMesos ends CutMesos and SilenceMesos.
func (n *Node) HealMesos() { n.mesos.set(proxyOpen) }

// SlowDisk makes each write of this node's log take longer; 0 ends it.
func (n *Node) SlowDisk(by time.Duration) { n.disk.set(diskMode{slow: by}) }

// HangDisk lets no write of this node's log end until HealDisk.
func (n *Node) HangDisk() { n.disk.set(diskMode{hang: make(chan struct{})}) }

// FailDisk makes each write of this node's log fail.
func (n *Node) FailDisk(err error) { n.disk.set(diskMode{fail: err}) }

// HealDisk ends every fault of the disk.
func (n *Node) HealDisk() { n.disk.set(diskMode{}) }
