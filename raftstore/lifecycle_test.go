package raftstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestRestartOfAllNodes(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	for i := range 50 {
		c.propose(c.nodes[i%3], fmt.Sprint(i))
	}
	before := c.leader().list.bytes()
	for _, nd := range c.nodes {
		c.crash(nd)
	}
	for _, nd := range c.nodes {
		c.open(nd)
	}
	c.leader()
	c.sameState()
	if !bytes.Equal(before, c.nodes[0].list.bytes()) {
		t.Error("state differs after the restart")
	}
}

func TestFollowerRejoinsFromSnapshot(t *testing.T) {
	c := newCluster(t, 3, func(_ int, cfg *raftstore.Config) {
		cfg.SnapshotThreshold, cfg.TrailingLogs, cfg.SnapshotInterval = 20, 5, 20*time.Millisecond
	})
	f := c.followers()[0]
	c.crash(f)
	l := c.leader()
	for i := range 200 {
		c.propose(l, fmt.Sprint(i))
	}
	eventually(t, "the log to be compacted", func() bool { return l.store.Status().SnapshotAt > 100 })
	c.open(f)
	c.sameState()
	if f.store.Status().Restores == 0 {
		t.Error("the follower got the log, not a snapshot; the test is too weak")
	}
	// A node that starts from its snapshot reads as linearizably as others.
	if _, err := f.store.Linearize(timeout(t, 10*time.Second)); err != nil {
		t.Errorf("linearize after restore: %v", err)
	}
	for _, nd := range c.nodes {
		c.crash(nd)
	}
	for _, nd := range c.nodes {
		c.open(nd)
	}
	c.propose(c.leader(), "again")
	c.sameState()
}

func TestJoinRemoveTransfer(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	ctx := timeout(t, 30*time.Second)
	f := c.followers()[0]
	c.propose(f, "one")

	joiner := &node{cfg: raftstore.Config{NodeID: "n4", DataDir: filepath.Join(t.TempDir(), "n4"), BindAddr: "127.0.0.1:0", Logger: testLogger()}}
	c.open(joiner)
	c.nodes = append(c.nodes, joiner)
	at := joiner.store.Address()
	if err := f.store.Join(ctx, raftstore.Peer{ID: "n5", Addr: at}, true); !errors.Is(err, raftstore.ErrWrongNode) && err == nil {
		t.Errorf("join under a wrong id: %v", err)
	}
	if err := f.store.Join(ctx, raftstore.Peer{ID: "n4", Addr: at}, true); err != nil {
		t.Fatalf("join: %v", err)
	}
	if err := f.store.Join(ctx, raftstore.Peer{ID: "n4", Addr: at}, true); err != nil {
		t.Errorf("join again: %v", err)
	}
	c.sameState()
	if _, err := joiner.store.Propose(ctx, []byte("two")); err != nil {
		t.Errorf("propose on the new node: %v", err)
	}
	waitMesh(t, c)

	if err := f.store.Transfer(ctx, "n4"); err != nil {
		t.Fatalf("transfer: %v", err)
	}
	eventually(t, "n4 to lead", func() bool { return joiner.store.Status().Ready })
	if err := f.store.Transfer(ctx, "nobody"); !errors.Is(err, raftstore.ErrUnknownMember) {
		t.Errorf("transfer to nobody: %v", err)
	}
	// The leader removes itself.
	if err := joiner.store.Remove(ctx, "n4"); err != nil {
		t.Fatalf("remove: %v", err)
	}
	c.crash(joiner)
	c.nodes = c.nodes[:3]
	c.propose(c.nodes[0], "three")
	c.sameState()
	if n := len(c.leader().store.Status().Members); n != 3 {
		t.Errorf("%d members after remove, want 3", n)
	}
}

func TestJoinRefusesOtherTimers(t *testing.T) {
	c := newCluster(t, 1, overTCP(t, 1))
	c.leader()
	other := &node{cfg: raftstore.Config{NodeID: "n2", DataDir: filepath.Join(t.TempDir(), "n2"), BindAddr: "127.0.0.1:0",
		Profile: raftstore.WAN, Logger: testLogger()}}
	c.open(other)
	c.nodes = append(c.nodes, other)
	err := c.nodes[0].store.Join(timeout(t, 10*time.Second), raftstore.Peer{ID: "n2", Addr: other.store.Address()}, true)
	if !errors.Is(err, raftstore.ErrTimersDiffer) {
		t.Errorf("join with other timers: %v", err)
	}
}

func TestStatusAndVersions(t *testing.T) {
	c := newCluster(t, 3, func(i int, cfg *raftstore.Config) { cfg.Version = uint32(5 + i) })
	c.propose(c.leader(), "x")
	waitMesh(t, c)
	for _, nd := range c.nodes {
		eventually(t, "all versions known", func() bool { return nd.store.Status().MinVersion == 5 })
		st := nd.store.Status()
		if st.LeaderID == "" || len(st.Members) != 3 || st.Term == 0 || st.LastIndex == 0 {
			t.Errorf("status: %+v", st)
		}
	}
}

func TestSaveAndRestoreSnapshot(t *testing.T) {
	c := newCluster(t, 3)
	for i := range 10 {
		c.propose(c.nodes[0], fmt.Sprint(i))
	}
	ctx := timeout(t, 30*time.Second)
	var archive bytes.Buffer
	if err := c.followers()[0].store.SaveSnapshot(ctx, &archive); err != nil {
		t.Fatal(err)
	}
	want := c.leader().list.bytes()
	c.propose(c.nodes[0], "to be forgotten")

	l := c.leader().store
	damaged := bytes.Clone(archive.Bytes())
	damaged[len(damaged)-40] ^= 1
	for name, bad := range map[string][]byte{
		"damaged": damaged, "truncated": archive.Bytes()[:archive.Len()-1], "empty": nil, "text": []byte("hello, this is no archive"),
	} {
		err := l.RestoreSnapshot(ctx, bytes.NewReader(bad))
		if !errors.Is(err, raftstore.ErrBadSnapshot) && !errors.Is(err, raftstore.ErrWrongVersion) {
			t.Errorf("%s archive: %v", name, err)
		}
	}
	if err := l.RestoreSnapshot(ctx, bytes.NewReader(archive.Bytes())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old state everywhere", func() bool {
		for _, nd := range c.nodes {
			if !bytes.Equal(nd.list.bytes(), want) {
				return false
			}
		}
		return true
	})
	for _, nd := range c.nodes {
		if _, err := nd.store.Linearize(ctx); err != nil {
			t.Errorf("linearize after restore on %s: %v", nd.cfg.NodeID, err)
		}
	}
	c.propose(c.nodes[1], "new")
	c.sameState()
}

func TestOffline(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	for i := range 10 {
		c.propose(c.nodes[0], fmt.Sprint(i))
	}
	c.sameState()
	want := c.nodes[0].list.bytes()
	dir := c.nodes[0].cfg.DataDir
	if _, err := raftstore.Inspect(dir); !errors.Is(err, raftstore.ErrLocked) {
		t.Errorf("inspect of a running node: %v", err)
	}
	for _, nd := range c.nodes {
		c.crash(nd)
	}
	info, err := raftstore.Inspect(dir)
	if err != nil || info.NodeID != "n1" || len(info.Members) != 3 || info.LastIndex < 10 {
		t.Fatalf("inspect: %+v, %v", info, err)
	}
	var archive, state bytes.Buffer
	if err := raftstore.ExportSnapshot(dir, "list", &list{}, &archive); err != nil {
		t.Fatal(err)
	}
	if _, err := raftstore.ReadArchive(bytes.NewReader(archive.Bytes()), io.Discard, "other"); !errors.Is(err, raftstore.ErrBadSnapshot) {
		t.Errorf("archive of another machine: %v", err)
	}
	if _, err := raftstore.ReadArchive(&archive, &state, "list"); err != nil || !bytes.Equal(state.Bytes(), want) {
		t.Errorf("exported state differs (%v)", err)
	}
	// Two nodes are lost for good: the third goes on alone.
	if err := raftstore.RecoverPeers(dir, &list{}, c.nodes[0].cfg.Peers[:1]); err != nil {
		t.Fatal(err)
	}
	c.open(c.nodes[0])
	c.propose(c.nodes[0], "alone")
	if got := c.nodes[0].list.all(); len(got) != 11 {
		t.Errorf("%d commands after recovery, want 11", len(got))
	}
}

func TestRefusedToOpen(t *testing.T) {
	c := newCluster(t, 1, overTCP(t, 1))
	nd := c.nodes[0]
	open := func(change func(*raftstore.Config)) error {
		cfg := nd.cfg
		change(&cfg)
		s, err := raftstore.Open(t.Context(), cfg, &list{})
		if err == nil {
			s.Crash()
		}
		return err
	}
	other := freePort(t)
	elsewhere := func(cfg *raftstore.Config) {
		cfg.BindAddr, cfg.Peers = other, nil
	}
	if err := open(func(*raftstore.Config) {}); !errors.Is(err, raftstore.ErrAddrInUse) {
		t.Errorf("same address: %v", err)
	}
	if err := open(elsewhere); !errors.Is(err, raftstore.ErrLocked) {
		t.Errorf("same directory: %v", err)
	}
	c.crash(nd)
	if err := open(func(cfg *raftstore.Config) { elsewhere(cfg); cfg.NodeID = "n9" }); !errors.Is(err, raftstore.ErrWrongNode) {
		t.Errorf("directory of another node: %v", err)
	}
	meta := filepath.Join(nd.cfg.DataDir, "node.json")
	for text, want := range map[string]error{`{"format":99,"node_id":"n1"}`: raftstore.ErrWrongVersion, "garbage": raftstore.ErrWrongVersion} {
		if err := os.WriteFile(meta, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(elsewhere); !errors.Is(err, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for name, change := range map[string]func(*raftstore.Config){
		"no id":      func(c *raftstore.Config) { c.NodeID = "" },
		"bad id":     func(c *raftstore.Config) { c.NodeID = "a b" },
		"no dir":     func(c *raftstore.Config) { c.DataDir = "" },
		"not a peer": func(c *raftstore.Config) { c.Peers = []raftstore.Peer{{ID: "x", Addr: "y"}} },
		"twice":      func(c *raftstore.Config) { c.Peers = append(c.Peers[:1:1], c.Peers[0]) },
		"odd timers": func(c *raftstore.Config) {
			c.Profile = raftstore.Profile{Name: "x", Heartbeat: 5, Election: 1, Lease: 9}
		},
		"missing TLS":   func(c *raftstore.Config) { c.TLS = &raftstore.TLSConfig{CertFile: "/nowhere"} },
		"missing above": func(c *raftstore.Config) { c.DataDir = "/nowhere/at/all" },
	} {
		if err := open(change); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestClosedStore(t *testing.T) {
	c := newCluster(t, 1)
	s := c.leader().store
	if _, err := s.Propose(t.Context(), bytes.Repeat([]byte("x"), 2<<20)); !errors.Is(err, raftstore.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Propose(ended, nil); !errors.Is(err, context.Canceled) || errors.Is(err, raftstore.ErrOutcomeUnknown) {
		t.Errorf("ended context: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Propose(t.Context(), nil); !errors.Is(err, raftstore.ErrClosed) || errors.Is(err, raftstore.ErrOutcomeUnknown) {
		t.Errorf("propose: %v", err)
	}
	if _, err := s.Linearize(t.Context()); !errors.Is(err, raftstore.ErrClosed) {
		t.Errorf("linearize: %v", err)
	}
	if err := s.WaitLeader(t.Context()); !errors.Is(err, raftstore.ErrClosed) && err != nil {
		t.Errorf("wait leader: %v", err)
	}
	if err := s.RunWhileLeader(t.Context(), nil); !errors.Is(err, raftstore.ErrClosed) {
		t.Errorf("run: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
	if st := s.Status(); st.Role != raftstore.Stopped {
		t.Errorf("status: %+v", st)
	}
}

func TestNotLeaderErrorGivesHint(t *testing.T) {
	err := error(&raftstore.NotLeaderError{LeaderID: "n2", LeaderAddr: "host:1"})
	if !errors.Is(err, raftstore.ErrNotLeader) || !strings.Contains(err.Error(), "n2") {
		t.Error(err)
	}
}
