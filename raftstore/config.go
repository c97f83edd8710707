package raftstore

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Peer is one node: an id that never changes, and its address.
type Peer struct{ ID, Addr string }

// Profile is a set of raft timers. It must be equal on all nodes, because the
// slowest one decides for the cluster. Zero is LAN.
type Profile struct {
	Name      string
	Heartbeat time.Duration // follower waits [Heartbeat, 2*Heartbeat) before it stands for election
	Election  time.Duration // candidate waits this long before it tries again; >= Heartbeat
	Lease     time.Duration // leader steps down after this long without a majority; <= Heartbeat
}

var (
	// LAN is for nodes within a millisecond or two of each other.
	LAN = Profile{"lan", 200 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond}
	// WAN is for slow or distant nodes (hashicorp/raft's defaults).
	WAN = Profile{"wan", time.Second, time.Second, 500 * time.Millisecond}
)

// ParseProfile maps "lan", "wan" or "" (lan) to a Profile.
func ParseProfile(name string) (Profile, error) {
	switch name {
	case "", "lan":
		return LAN, nil
	case "wan":
		return WAN, nil
	}
	return Profile{}, fmt.Errorf("raftstore: unknown timer profile %q, use \"lan\" or \"wan\"", name)
}

func (p Profile) String() string {
	return fmt.Sprintf("%s(%s/%s/%s)", p.Name, p.Heartbeat, p.Election, p.Lease)
}

func (p Profile) sameTimers(q Profile) bool {
	return p.Heartbeat == q.Heartbeat && p.Election == q.Election && p.Lease == q.Lease
}

// Config describes one node. NodeID and DataDir are required; everything else
// has a default.
type Config struct {
	// NodeID names this node, 1 to 63 bytes of [A-Za-z0-9._-]. It is tied to
	// the data directory for ever.
	NodeID string
	// DataDir holds the log, the snapshots and node.json. Created if missing;
	// its parent must exist.
	DataDir string
	// BindAddr is where to listen (host:port); default AdvertiseAddr.
	BindAddr string
	// AdvertiseAddr is what the others dial; default this node's entry in
	// Peers, else the address listened on.
	AdvertiseAddr string
	// Peers is the first membership, the same list on every node. It is used
	// only while the data directory is empty. Leave it empty for a node that
	// will be joined to a running cluster.
	Peers []Peer
	// Profile must be equal on all nodes. Zero is LAN.
	Profile Profile
	// TLS protects and authenticates everything between nodes. Without it
	// anybody who reaches the port can write to the log: leave it nil only on
	// loopback.
	TLS *TLSConfig
	// Version of the command set of this binary, from 1 (0 counts as 1).
	// Status().MinVersion tells the lowest among the members.
	Version uint32
	// MachineName goes into snapshot archives, so that one of another kind is
	// refused. Optional.
	MachineName string

	// MaxCommandBytes limits one command. Default 1 MiB.
	MaxCommandBytes int
	// SnapshotThreshold is the number of entries after which a snapshot is
	// taken. Default 8192.
	SnapshotThreshold uint64
	// SnapshotInterval is how often that is looked at. Default 30 s.
	SnapshotInterval time.Duration
	// TrailingLogs is how many entries stay behind a snapshot, so that a
	// follower which was away briefly needs no snapshot. Default 8192.
	TrailingLogs uint64
	// SnapshotRetain is how many snapshots to keep. Default 2.
	SnapshotRetain int
	// LogCacheSize is the number of entries kept in memory. Default 512.
	LogCacheSize int
	// CommitTimeout is how soon followers learn that the last entries are
	// committed when no others follow. Default 10 ms.
	CommitTimeout time.Duration
	// DiskDeadline limits one write to the log; a leader whose disk does not
	// finish in time gives leadership away. Default 5 * Profile.Heartbeat.
	DiskDeadline time.Duration
	// DisableCrashDetector leaves fail-over to the timers alone.
	DisableCrashDetector bool

	Logger     *slog.Logger          // default slog.Default()
	Registerer prometheus.Registerer // nil: no metrics

	// Transport carries bytes between nodes. Default TCP. For tests: MemNetwork
	// and package faultnet.
	Transport Transport
	// Hooks are for tests; zero in production.
	Hooks Hooks
}

// DiskOp is a write that is about to happen.
type DiskOp struct {
	Kind    string // "append", "truncate", "stable", "snapshot"
	Entries int    // log entries, for "append"
}

// Hooks lets tests break a node from inside.
type Hooks struct {
	// Disk replaces every write to stable storage. It must call write at most
	// once, and may delay it, fail before or after it, or not return for a
	// while. It runs beside raft's goroutines, one call at a time for the log.
	Disk func(op DiskOp, write func() error) error
	// BeforeApply runs on the Apply goroutine before each command.
	BeforeApply func(e Entry)
}

func (h Hooks) disk(op DiskOp, write func() error) error {
	if h.Disk == nil {
		return write()
	}
	return h.Disk(op, write)
}

func (c Config) withDefaults() Config {
	setDefault(&c.Profile, LAN)
	setDefault(&c.Version, 1)
	setDefault(&c.MaxCommandBytes, 1<<20)
	setDefault(&c.SnapshotThreshold, 8192)
	setDefault(&c.SnapshotInterval, 30*time.Second)
	setDefault(&c.TrailingLogs, 8192)
	setDefault(&c.SnapshotRetain, 2)
	setDefault(&c.LogCacheSize, 512)
	setDefault(&c.CommitTimeout, 10*time.Millisecond)
	setDefault(&c.DiskDeadline, 5*c.Profile.Heartbeat)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Transport == nil {
		c.Transport = TCP{}
	}
	for _, p := range c.Peers {
		if p.ID == c.NodeID && c.AdvertiseAddr == "" {
			c.AdvertiseAddr = p.Addr
		}
	}
	setDefault(&c.BindAddr, c.AdvertiseAddr)
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) validate() error {
	if !validID(c.NodeID) {
		return fmt.Errorf("raftstore: node id %q: need 1 to 63 of [A-Za-z0-9._-]", c.NodeID)
	}
	if c.DataDir == "" {
		return errors.New("raftstore: DataDir is required")
	}
	if c.BindAddr == "" {
		return errors.New("raftstore: BindAddr, AdvertiseAddr or an entry of this node in Peers is required")
	}
	p := c.Profile
	if p.Lease <= 0 || p.Lease > p.Heartbeat || p.Heartbeat > p.Election {
		return fmt.Errorf("raftstore: timer profile %v: need 0 < lease <= heartbeat <= election", p)
	}
	if c.MaxCommandBytes < 0 || c.MaxCommandBytes > maxFrame {
		return fmt.Errorf("raftstore: MaxCommandBytes %d: at most %d", c.MaxCommandBytes, maxFrame)
	}
	return c.validatePeers()
}

func (c Config) validatePeers() error {
	if len(c.Peers) == 0 {
		return nil
	}
	ids, addrs := map[string]bool{}, map[string]bool{}
	for _, p := range c.Peers {
		if !validID(p.ID) || ids[p.ID] {
			return fmt.Errorf("raftstore: peer id %q is invalid or listed twice", p.ID)
		}
		if addrs[p.Addr] || (p.Addr == "" && len(c.Peers) > 1) {
			return fmt.Errorf("raftstore: peer address %q is empty or listed twice", p.Addr)
		}
		ids[p.ID], addrs[p.Addr] = true, true
	}
	if !ids[c.NodeID] {
		return fmt.Errorf("raftstore: node %q is not in its own list of peers", c.NodeID)
	}
	return nil
}

// maxFrame bounds what one message between nodes may carry.
const maxFrame = 64 << 20

func validID(id string) bool {
	if len(id) == 0 || len(id) > 63 {
		return false
	}
	for _, r := range id {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
		if !ok {
			return false
		}
	}
	return true
}
