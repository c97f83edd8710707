// Command machine replicates a state machine of its own with package raftstore:
// named counters. Start it three times:
//
//	P=n1=127.0.0.1:7301,n2=127.0.0.1:7302,n3=127.0.0.1:7303
//	machine -id n1 -data /tmp/n1 -peers $P
//
// and likewise n2 and n3. Then type, to any of them:
//
//	add visits 3    adds, and answers with the sum
//	get visits      answers with the sum of all that was acknowledged
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// counters is the state. It is never changed in place, so that a snapshot is a
// pointer.
type counters struct {
	Sums map[string]int64
	Seen map[string]int64 // request id → answer: a repeated request counts once
}

// machine makes counters out of the log.
type machine struct {
	mu    sync.RWMutex
	state counters
}

type command struct {
	Request, Name string
	Add           int64
}

// Apply is deterministic: all that it needs is in the command.
func (m *machine) Apply(e raftstore.Entry) []byte {
	var c command
	if err := json.Unmarshal(e.Data, &c); err != nil {
		return []byte("error: not a command")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sum, repeated := m.state.Seen[c.Request]
	if !repeated {
		next := counters{maps.Clone(m.state.Sums), maps.Clone(m.state.Seen)}
		if next.Sums == nil {
			next = counters{make(map[string]int64), make(map[string]int64)}
		}
		sum = next.Sums[c.Name] + c.Add
		next.Sums[c.Name], next.Seen[c.Request] = sum, sum
		m.state = next
	}
	return strconv.AppendInt(nil, sum, 10)
}

func (m *machine) sum(name string) int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.Sums[name]
}

// Snapshot captures the state in O(1).
func (m *machine) Snapshot() (raftstore.Snapshot, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return snapshot(m.state), nil
}

// Restore replaces the state.
func (m *machine) Restore(r io.Reader) error {
	var state counters
	if err := json.NewDecoder(r).Decode(&state); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = state
	return nil
}

type snapshot counters

func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	data, err := json.Marshal(s) // sorts the keys: equal states give equal bytes
	if err != nil {
		return 0, err
	}
	return io.Copy(w, bytes.NewReader(data))
}

func (snapshot) Release() {}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	set := flag.NewFlagSet("machine", flag.ContinueOnError)
	id := set.String("id", "", "this node")
	data := set.String("data", "", "directory of this node's log")
	all := set.String("peers", "", "all nodes, as id=host:port,…")
	if err := set.Parse(args); err != nil {
		return err
	}
	var peers []raftstore.Peer
	for item := range strings.SplitSeq(*all, ",") {
		name, addr, _ := strings.Cut(item, "=")
		peers = append(peers, raftstore.Peer{ID: name, Addr: addr})
	}
	m := &machine{}
	store, err := raftstore.Open(ctx, raftstore.Config{
		NodeID: *id, DataDir: *data, Peers: peers, Logger: slog.New(slog.DiscardHandler),
	}, m)
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = store.Close(bounded) // hands leadership over
	}()
	if err := store.WaitLeader(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "started")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fmt.Fprintln(out, answer(ctx, store, m, strings.Fields(lines.Text())))
	}
	return lines.Err()
}

func answer(ctx context.Context, store *raftstore.Store, m *machine, words []string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch {
	case len(words) == 3 && words[0] == "add":
		n, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return "error: " + err.Error()
		}
		return add(ctx, store, command{uuid.NewString(), words[1], n})
	case len(words) == 2 && words[0] == "get":
		// The state here is at least as new as all that was acknowledged anywhere.
		if err := await(ctx, store, func() error { _, err := store.Linearize(ctx); return err }); err != nil {
			return "error: " + err.Error()
		}
		return strconv.FormatInt(m.sum(words[1]), 10)
	}
	return "error: there are add NAME N and get NAME"
}

// add repeats the command until it is known to be in: its request id makes that
// harmless.
func add(ctx context.Context, store *raftstore.Store, c command) string {
	data, err := json.Marshal(c)
	if err != nil {
		return "error: " + err.Error()
	}
	var sum []byte
	err = await(ctx, store, func() (err error) { sum, err = store.Propose(ctx, data); return err })
	if err != nil {
		return "error: " + err.Error()
	}
	return string(sum)
}

// await tries again for as long as there is no leader, or no answer.
func await(ctx context.Context, store *raftstore.Store, try func() error) error {
	for {
		err := try()
		again := errors.Is(err, raftstore.ErrNoLeader) || errors.Is(err, raftstore.ErrNotLeader) || errors.Is(err, raftstore.ErrOutcomeUnknown)
		if !again || store.WaitLeader(ctx) != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // the leader that is known may have just lost its office
	}
}
