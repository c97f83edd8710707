package raftstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childMain() // a node of crash_test.go; does not return
	}
	goleak.VerifyTestMain(m)
}

// list is the machine of these tests: it keeps every command in order and
// answers with the number of commands so far. Immutable prefixes make
// snapshots O(1).
type list struct {
	mu   sync.Mutex
	cmds [][]byte
}

func (l *list) Apply(e raftstore.Entry) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cmds = append(l.cmds, e.Data)
	return fmt.Appendf(nil, "%d", len(l.cmds))
}

func (l *list) all() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cmds[:len(l.cmds):len(l.cmds)]
}

func (l *list) Snapshot() (raftstore.Snapshot, error) { return listSnapshot(l.all()), nil }

func (l *list) Restore(r io.Reader) error {
	cmds, err := readList(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.cmds = cmds
	l.mu.Unlock()
	return nil
}

func (l *list) CheckSnapshot(r io.Reader) error {
	_, err := readList(r)
	return err
}

func readList(r io.Reader) (cmds [][]byte, err error) {
	for {
		var n [4]byte
		if _, err := io.ReadFull(r, n[:]); err == io.EOF {
			return cmds, nil
		} else if err != nil {
			return nil, err
		}
		b := make([]byte, binary.BigEndian.Uint32(n[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		cmds = append(cmds, b)
	}
}

// bytes is the snapshot in one piece, for comparing nodes.
func (l *list) bytes() []byte {
	var b bytes.Buffer
	listSnapshot(l.all()).WriteTo(&b)
	return b.Bytes()
}

type listSnapshot [][]byte

func (s listSnapshot) Release() {}
func (s listSnapshot) WriteTo(w io.Writer) (total int64, err error) {
	for _, c := range s {
		n, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(c))), c...))
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// node is one member of a test cluster; store and machine change when it is
// restarted.
type node struct {
	cfg   raftstore.Config
	store *raftstore.Store
	list  *list
}

type cluster struct {
	t     testing.TB
	peers []raftstore.Peer
	nodes []*node
}

type option func(i int, cfg *raftstore.Config)

// newCluster runs n nodes over an in-memory network, or over TCP if an option
// says so.
func newCluster(t testing.TB, n int, opts ...option) *cluster {
	t.Helper()
	c := &cluster{t: t}
	mem := &raftstore.MemNetwork{}
	for i := range n {
		id := fmt.Sprintf("n%d", i+1)
		c.peers = append(c.peers, raftstore.Peer{ID: id, Addr: id})
	}
	dir := t.TempDir()
	for i, p := range c.peers {
		cfg := raftstore.Config{
			NodeID: p.ID, DataDir: filepath.Join(dir, p.ID), Peers: c.peers, Transport: mem, Logger: testLogger(),
		}
		c.nodes = append(c.nodes, &node{cfg: cfg})
		for _, o := range opts {
			o(i, &c.nodes[i].cfg)
		}
	}
	t.Cleanup(c.close)
	for _, nd := range c.nodes {
		c.open(nd)
	}
	return c
}

func testLogger() *slog.Logger {
	if os.Getenv("RAFTSTORE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// overTCP gives every node a free loopback port.
func overTCP(t testing.TB, n int) option {
	peers := make([]raftstore.Peer, n)
	for i := range peers {
		peers[i] = raftstore.Peer{ID: fmt.Sprintf("n%d", i+1), Addr: freePort(t)}
	}
	return func(_ int, cfg *raftstore.Config) { cfg.Transport, cfg.Peers = nil, peers }
}

func freePort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (c *cluster) open(nd *node) {
	c.t.Helper()
	nd.list = &list{}
	s, err := raftstore.Open(c.t.Context(), nd.cfg, nd.list)
	if err != nil {
		c.t.Fatalf("open %s: %v", nd.cfg.NodeID, err)
	}
	nd.store = s
}

func (c *cluster) close() {
	var wg sync.WaitGroup
	for _, nd := range c.nodes {
		if nd.store != nil {
			wg.Go(func() { nd.store.Crash() })
		}
	}
	wg.Wait()
}

func (c *cluster) crash(nd *node) {
	nd.store.Crash()
	nd.store = nil
}

func (c *cluster) running() (out []*node) {
	for _, nd := range c.nodes {
		if nd.store != nil {
			out = append(out, nd)
		}
	}
	return out
}

// leader waits until one running node leads and is ready.
func (c *cluster) leader() *node {
	c.t.Helper()
	var found *node
	eventually(c.t, "a ready leader", func() bool {
		for _, nd := range c.running() {
			if st := nd.store.Status(); st.Ready && nd.store.VerifyLeader(c.t.Context()) == nil {
				found = nd
				return true
			}
		}
		return false
	})
	return found
}

func (c *cluster) followers() (out []*node) {
	l := c.leader()
	for _, nd := range c.running() {
		if nd != l {
			out = append(out, nd)
		}
	}
	return out
}

// propose insists until a command is acknowledged.
func (c *cluster) propose(nd *node, cmd string) {
	c.t.Helper()
	eventually(c.t, "acknowledge "+cmd, func() bool {
		_, err := nd.store.Propose(timeout(c.t, 10*time.Second), []byte(cmd))
		return err == nil
	})
}

// sameState waits until all running nodes have equal bytes.
func (c *cluster) sameState() {
	c.t.Helper()
	eventually(c.t, "equal state on all nodes", func() bool {
		first := c.running()[0].list.bytes()
		for _, nd := range c.running() {
			if !bytes.Equal(first, nd.list.bytes()) {
				return false
			}
		}
		return true
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
