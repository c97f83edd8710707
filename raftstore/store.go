package raftstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Store is one node of a replicated machine. All methods are safe for
// concurrent use.
type Store struct {
	cfg         Config
	log         *slog.Logger
	incarnation string // new with every Open: tells a restarted process from the one that died
	metrics     *metrics

	dir   *dataDir
	bolt  *raftboltdb.BoltStore
	votes *voteFile
	disk  *watchedLog
	snaps *snapshotStore
	fsm   *fsm
	mux   *mux
	trans transport
	raft  *raft.Raft

	futures    chan *pending // to awaitFutures
	answered   chan struct{} // closed when awaitFutures has ended
	reads      readRounds
	leadership leadership
	peers      *peerClients
	mesh       *mesh
	detector   detector

	gate    gate           // calls under way; closed first
	tasks   sync.WaitGroup // RunWhileLeader calls
	bg      sync.WaitGroup // our goroutines
	closing chan struct{}  // callers that still wait give up
	stopped chan struct{}  // our goroutines end
	crashed atomic.Bool
	closer  sync.Once
	ended   chan struct{} // everything is released
	endErr  error
}

// Open starts a node and returns when it runs; use WaitLeader to wait until
// the cluster does. ctx is only for opening. The machine must be empty: its
// state comes from the newest snapshot and the log.
//
// Errors: ErrLocked, ErrWrongNode, ErrWrongVersion, ErrAddrInUse, or a
// description of what is wrong with cfg.
func Open(ctx context.Context, cfg Config, m Machine) (_ *Store, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, log: cfg.Logger.With("node", cfg.NodeID), incarnation: newIncarnation(),
		futures: make(chan *pending, 1024), answered: make(chan struct{}),
		closing: make(chan struct{}), stopped: make(chan struct{}), ended: make(chan struct{}),
	}
	s.gate.idle = make(chan struct{})
	s.leadership.init()
	s.detector.store = s
	s.peers = newPeerClients(s)
	s.mesh = newMesh(s)

	// What is opened is undone in reverse order when a later step fails.
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()
	if s.metrics, err = newMetrics(cfg, s); err != nil {
		return nil, err
	}
	undo = append(undo, func() { s.metrics.unregister() })
	if err = s.openNetwork(); err != nil {
		return nil, err
	}
	undo = append(undo, func() { s.mux.cut(); s.mux.wait() })
	if s.dir, err = openDataDir(cfg.DataDir, cfg.NodeID); err != nil {
		return nil, err
	}
	undo = append(undo, s.dir.close)
	if s.bolt, err = s.dir.openLog(false); err != nil {
		return nil, err
	}
	undo = append(undo, func() { s.bolt.Close() })
	if s.votes, err = s.dir.openVotes(); err != nil {
		return nil, err
	}
	undo = append(undo, func() { s.votes.close() })
	if err = checkVotes(s.bolt, s.votes); err != nil {
		return nil, err
	}
	if s.snaps, err = s.dir.openSnapshots(cfg); err != nil {
		return nil, err
	}
	if err = s.openRaft(m, &undo); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

func newIncarnation() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (s *Store) openNetwork() (err error) {
	var files *tlsFiles
	if s.cfg.TLS != nil {
		if files, err = newTLSFiles(*s.cfg.TLS); err != nil {
			return err
		}
	}
	if s.mux, err = newMux(s.cfg, files); err != nil {
		return err
	}
	s.cfg.AdvertiseAddr = s.mux.advertise
	for i, p := range s.cfg.Peers {
		if p.ID == s.cfg.NodeID && p.Addr == "" {
			s.cfg.Peers = append([]Peer(nil), s.cfg.Peers...)
			s.cfg.Peers[i].Addr = s.cfg.AdvertiseAddr
		}
	}
	s.mux.resolve = s.memberAt
	s.mux.serve[kindRPC] = s.serveRPC
	s.mux.serve[kindLiveness] = s.serveLiveness
	return nil
}

func (s *Store) openRaft(m Machine, undo *[]func()) error {
	s.fsm = newFSM(m, s.cfg.Hooks, s.mesh.nudge)
	s.fsm.stopping = s.closing
	cached, err := raft.NewLogCache(s.cfg.LogCacheSize, s.bolt)
	if err != nil {
		return fmt.Errorf("raftstore: log cache: %w", err)
	}
	s.disk = newWatchedLog(cached, s.cfg, s.metrics, s.diskFailed)
	*undo = append(*undo, func() { s.disk.close(time.Second) })
	s.trans = transport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: raftStream{s.mux}, MaxPool: 3, Timeout: max(10*s.cfg.Profile.Heartbeat, 2*time.Second),
		Logger: newHclog(s.log), MsgpackUseNewTimeFormat: true,
	})}
	*undo = append(*undo, func() { s.trans.Close() })
	stable := &patientStable{s.votes, s.cfg.Hooks, s.log, s.stopped}
	conf := raftConfig(s.cfg, s.log)
	if err := s.bootstrap(conf, s.disk, stable); err != nil {
		return err
	}
	s.raft, err = raft.NewRaft(conf, s.fsm.forRaft(), s.disk, stable, s.snaps, s.trans)
	if err != nil {
		return fmt.Errorf("raftstore: start raft: %w", err)
	}
	return nil
}

func (s *Store) bootstrap(conf *raft.Config, logs raft.LogStore, stable raft.StableStore) error {
	if len(s.cfg.Peers) == 0 {
		return nil
	}
	err := raft.BootstrapCluster(conf, logs, stable, s.snaps, s.trans, configuration(s.cfg.Peers))
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("raftstore: bootstrap: %w", err)
	}
	return nil
}

func configuration(peers []Peer) (c raft.Configuration) {
	for _, p := range peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Addr)})
	}
	return c
}

func raftConfig(cfg Config, log *slog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = cfg.Profile.Heartbeat, cfg.Profile.Election, cfg.Profile.Lease
	c.CommitTimeout = cfg.CommitTimeout
	c.MaxAppendEntries = 512
	// Callers wait on our side, so raft's enqueue timeout need not be exact.
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	c.TrailingLogs = cfg.TrailingLogs
	c.SnapshotInterval, c.SnapshotThreshold = cfg.SnapshotInterval, cfg.SnapshotThreshold
	c.NoLegacyTelemetry = true
	c.Logger = newHclog(log)
	return c
}

// start begins to serve. Nothing can fail from here on.
func (s *Store) start() {
	events := make(chan raft.Observation, 16)
	s.raft.RegisterObserver(raft.NewObserver(events, false, func(o *raft.Observation) bool {
		switch d := o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		case raft.RequestVoteRequest:
			s.detector.standing.Store(d.Term)
		}
		return false
	}))
	s.bg.Go(s.awaitFutures)
	s.bg.Go(func() { s.watchLeadership(events) })
	s.bg.Go(s.mesh.run)
	s.mux.start()
}

// AppliedIndex is the last log index whose effect the machine shows.
func (s *Store) AppliedIndex() uint64 {
	if s.fsm == nil {
		return 0
	}
	return s.fsm.applied.get()
}

// Address is what other nodes dial to reach this one.
func (s *Store) Address() string { return s.cfg.AdvertiseAddr }

// IsLeader says whether this node believes to lead. Only VerifyLeader knows.
func (s *Store) IsLeader() bool { return s.raft != nil && s.raft.State() == raft.Leader }

// gate counts calls under way and can be closed to new ones.
type gate struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{}
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.closed && g.n == 0 {
		close(g.idle)
	}
}

// close refuses new calls; idle is closed when the last one has left.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		if g.n == 0 {
			close(g.idle)
		}
	}
}
