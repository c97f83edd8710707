package raftstore_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// count is the cheapest machine there is, so that the log is what is measured.
type count struct{ n atomic.Uint64 }

func (c *count) Apply(raftstore.Entry) []byte          { c.n.Add(1); return nil }
func (c *count) Snapshot() (raftstore.Snapshot, error) { return listSnapshot(nil), nil }
func (c *count) Restore(io.Reader) error               { return nil }

type bareFSM struct{ n atomic.Uint64 }

func (f *bareFSM) Apply(*raft.Log) any                  { f.n.Add(1); return nil }
func (f *bareFSM) Snapshot() (raft.FSMSnapshot, error)  { return f, nil }
func (f *bareFSM) Restore(io.ReadCloser) error          { return nil }
func (f *bareFSM) Persist(sink raft.SnapshotSink) error { return nil }
func (f *bareFSM) Release()                             {}

// bareCluster is hashicorp/raft with raft-boltdb and the settings of this
// package, and nothing else.
func bareCluster(b *testing.B) *raft.Raft {
	b.Helper()
	var conf raft.Configuration
	type member struct {
		cfg   *raft.Config
		log   *raftboltdb.BoltStore
		trans *raft.NetworkTransport
		snaps raft.SnapshotStore
	}
	var members []member
	dir := b.TempDir()
	for i := range 3 {
		id := fmt.Sprint("b", i)
		log, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, id),
			BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}, MsgpackUseNewTimeFormat: true})
		if err != nil {
			b.Fatal(err)
		}
		trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 10*time.Second, hclog.NewNullLogger())
		if err != nil {
			b.Fatal(err)
		}
		cfg := raft.DefaultConfig()
		cfg.LocalID = raft.ServerID(id)
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = time.Second, time.Second, 500*time.Millisecond
		cfg.CommitTimeout, cfg.MaxAppendEntries, cfg.BatchApplyCh = 10*time.Millisecond, 512, true
		cfg.Logger, cfg.NoLegacyTelemetry = hclog.NewNullLogger(), true
		conf.Servers = append(conf.Servers, raft.Server{ID: cfg.LocalID, Address: trans.LocalAddr()})
		members = append(members, member{cfg, log, trans, raft.NewInmemSnapshotStore()})
	}
	var rafts []*raft.Raft
	for _, m := range members {
		cache, err := raft.NewLogCache(512, m.log)
		if err != nil {
			b.Fatal(err)
		}
		if err := raft.BootstrapCluster(m.cfg, cache, m.log, m.snaps, m.trans, conf); err != nil {
			b.Fatal(err)
		}
		r, err := raft.NewRaft(m.cfg, &bareFSM{}, cache, m.log, m.snaps, m.trans)
		if err != nil {
			b.Fatal(err)
		}
		rafts = append(rafts, r)
		b.Cleanup(func() {
			r.Shutdown().Error()
			m.trans.CloseStreams()
			m.log.Close()
		})
	}
	var leader *raft.Raft
	eventually(b, "a bare leader", func() bool {
		for _, r := range rafts {
			if r.State() == raft.Leader && r.Barrier(0).Error() == nil {
				leader = r
				return true
			}
		}
		return false
	})
	return leader
}

func storeCluster(b *testing.B, reg prometheus.Registerer) (leader, follower *raftstore.Store) {
	b.Helper()
	dir := b.TempDir()
	peers := overTCPPeers(b)
	var stores []*raftstore.Store
	for _, p := range peers {
		cfg := raftstore.Config{NodeID: p.ID, DataDir: filepath.Join(dir, p.ID), Peers: peers, Logger: testLogger(), Registerer: reg,
			Profile: raftstore.WAN} // a busy machine must not cause elections here
		s, err := raftstore.Open(context.Background(), cfg, &count{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(s.Crash)
		stores = append(stores, s)
	}
	eventually(b, "a leader", func() bool {
		for i, s := range stores {
			if s.Status().Ready {
				leader, follower = s, stores[(i+1)%3]
				return true
			}
		}
		return false
	})
	return leader, follower
}

func overTCPPeers(b *testing.B) (peers []raftstore.Peer) {
	for i := range 3 {
		peers = append(peers, raftstore.Peer{ID: fmt.Sprintf("n%d", i+1), Addr: freePort(b)})
	}
	return peers
}

// rate runs clients for a while and returns commands per second.
func rate(b *testing.B, clients int, d time.Duration, propose func([]byte) error) float64 {
	b.Helper()
	cmd := make([]byte, 512)
	var n atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range clients {
		wg.Go(func() {
			for time.Since(began) < d {
				if err := propose(cmd); err != nil {
					b.Errorf("propose: %v", err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// BenchmarkPropose compares Propose with bare hashicorp/raft: 512-byte
// commands, three nodes over loopback TCP in this process, in turns so that
// both see the same machine. ns/op means nothing here; look at the rates.
func BenchmarkPropose(b *testing.B) {
	for _, clients := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			bare := bareCluster(b)
			leader, follower := storeCluster(b, nil)
			ctx := context.Background()
			on := func(s *raftstore.Store) func([]byte) error {
				return func(cmd []byte) error { _, err := s.Propose(ctx, cmd); return err }
			}
			onBare := func(cmd []byte) error { return bare.Apply(cmd, 0).Error() }
			var sumBare, sumStore, sumForward float64
			turns := 0
			for b.Loop() {
				for range 3 {
					sumBare += rate(b, clients, 500*time.Millisecond, onBare)
					sumStore += rate(b, clients, 500*time.Millisecond, on(leader))
					sumForward += rate(b, clients, 500*time.Millisecond, on(follower))
					turns++
				}
			}
			b.ReportMetric(sumBare/float64(turns), "bare/s")
			b.ReportMetric(sumStore/float64(turns), "store/s")
			b.ReportMetric(sumForward/float64(turns), "forwarded/s")
			b.ReportMetric(sumStore/sumBare, "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkLinearize: reads that share rounds.
func BenchmarkLinearize(b *testing.B) {
	leader, follower := storeCluster(b, nil)
	for name, s := range map[string]*raftstore.Store{"leader": leader, "follower": follower} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", name, clients), func(b *testing.B) {
				var sum float64
				turns := 0
				for b.Loop() {
					sum += rate(b, clients, 500*time.Millisecond, func([]byte) error { _, err := s.Linearize(context.Background()); return err })
					turns++
				}
				b.ReportMetric(sum/float64(turns), "reads/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
