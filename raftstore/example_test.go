package raftstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// registers is a replicated set of named values: "name=value" sets one and
// answers with the value before.
type registers struct {
	mu     sync.RWMutex
	values map[string]string
}

func (r *registers) Apply(e raftstore.Entry) []byte {
	name, value, _ := strings.Cut(string(e.Data), "=")
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.values[name]
	next := make(map[string]string, len(r.values)+1) // copy on write: snapshots are free
	for k, v := range r.values {
		next[k] = v
	}
	next[name] = value
	r.values = next
	return []byte(before)
}

func (r *registers) Get(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.values[name]
}

func (r *registers) Snapshot() (raftstore.Snapshot, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return registersSnapshot(r.values), nil
}

func (r *registers) Restore(from io.Reader) error {
	var values map[string]string
	if err := json.NewDecoder(from).Decode(&values); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = values
	return nil
}

type registersSnapshot map[string]string

func (s registersSnapshot) Release() {}

func (s registersSnapshot) WriteTo(w io.Writer) (int64, error) {
	b, err := json.Marshal(s) // sorts the keys, so equal states give equal bytes
	if err != nil {
		return 0, err
	}
	return io.Copy(w, bytes.NewReader(b))
}

// Three nodes in one process share a register.
func Example() {
	dir, err := os.MkdirTemp("", "registers")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	network := &raftstore.MemNetwork{} // leave Transport out for TCP
	peers := []raftstore.Peer{{ID: "a", Addr: "a"}, {ID: "b", Addr: "b"}, {ID: "c", Addr: "c"}}
	machines := make([]*registers, len(peers))
	stores := make([]*raftstore.Store, len(peers))
	for i, p := range peers {
		machines[i] = &registers{}
		stores[i], err = raftstore.Open(ctx, raftstore.Config{
			NodeID: p.ID, DataDir: filepath.Join(dir, p.ID), Peers: peers, Transport: network,
			Profile: raftstore.WAN, // patient timers, for a busy machine
			Logger:  slog.New(slog.DiscardHandler),
		}, machines[i])
		if err != nil {
			panic(err)
		}
		defer stores[i].Close(ctx)
	}

	// Any node takes commands; here the first, once it knows a leader.
	if err := stores[0].WaitLeader(ctx); err != nil {
		panic(err)
	}
	for _, cmd := range []string{"colour=red", "colour=green"} {
		before, err := stores[0].Propose(ctx, []byte(cmd))
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, before: %q\n", cmd, before)
	}

	// Any node answers; Linearize makes sure that it is up to date.
	if _, err := stores[2].Linearize(ctx); err != nil {
		panic(err)
	}
	fmt.Println("node c reads", machines[2].Get("colour"))
	// Output:
	// colour=red, before: ""
	// colour=green, before: "red"
	// node c reads green
}
