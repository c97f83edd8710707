package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore/faultnet"
)

// The list of commands as a sequential model: append answers the new length, a
// read sees the whole length. An append with unknown outcome may have happened
// at any time after its call, or never.
type listOp struct {
	append bool
	known  bool
	length int
}

var listModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{0} },
	Step: func(state, in, _ any) []any {
		n, op := state.(int), in.(listOp)
		switch {
		case op.append && !op.known:
			return []any{n, n + 1}
		case op.append && op.length == n+1:
			return []any{n + 1}
		case !op.append && op.length == n:
			return []any{n}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
}

// TestHistoryUnderCrashes: clients append and read on all nodes while leaders
// crash and come back. The history must be linearizable, and every
// acknowledged command must be in the log exactly where it was acknowledged.
func TestHistoryUnderCrashes(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	c.leader()
	var (
		stores   [3]atomic.Pointer[node]
		mu       sync.Mutex
		history  []porcupine.Operation
		acked    = map[string]int{} // command -> position
		stop     = make(chan struct{})
		clients  sync.WaitGroup
		began    = time.Now()
		finished atomic.Int64
	)
	for i, nd := range c.nodes {
		stores[i].Store(&node{store: nd.store, list: nd.list})
	}
	for id := range 6 {
		clients.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				nd := stores[(id+k)%3].Load()
				op, cmd := listOp{append: k%3 != 0}, fmt.Sprintf("c%d-%d", id, k)
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				call := time.Since(began)
				var err error
				if op.append {
					var res []byte
					if res, err = nd.store.Propose(ctx, []byte(cmd)); err == nil {
						op.known = true
						fmt.Sscan(string(res), &op.length)
					}
				} else if _, err = nd.store.Linearize(ctx); err == nil {
					op.known, op.length = true, len(nd.list.all())
				}
				cancel()
				ret := time.Since(began)
				if err != nil && (!op.append || !errors.Is(err, raftstore.ErrOutcomeUnknown)) {
					time.Sleep(time.Millisecond)
					continue // surely without effect
				}
				if !op.known {
					ret = 1 << 60 // may take effect any time later
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: len(history), Input: op, Call: int64(call), Return: int64(ret)})
				if op.append && op.known {
					acked[cmd] = op.length
				}
				mu.Unlock()
				finished.Add(1)
			}
		})
	}
	for round := range 4 {
		goal := finished.Load() + 60
		eventually(t, "traffic", func() bool { return finished.Load() >= goal })
		nd := c.nodes[round%3]
		if round%2 == 0 {
			nd = c.leader()
		}
		c.crash(nd)
		goal = finished.Load() + 60
		eventually(t, "traffic without one node", func() bool { return finished.Load() >= goal })
		c.open(nd)
		stores[index(c, nd)].Store(&node{store: nd.store, list: nd.list})
	}
	close(stop)
	clients.Wait()
	c.leader()
	c.propose(c.nodes[0], "last")
	c.sameState()

	all := c.nodes[0].list.all()
	for cmd, pos := range acked {
		if pos < 1 || pos > len(all) || string(all[pos-1]) != cmd {
			t.Fatalf("%s was acknowledged at %d, but is not there", cmd, pos)
		}
	}
	unknown := 0
	for _, op := range history {
		if !op.Input.(listOp).known {
			unknown++
		}
	}
	t.Logf("%d operations, %d acknowledged appends, %d with unknown outcome", len(history), len(acked), unknown)
	if r := porcupine.CheckOperationsTimeout(listModel.ToModel(), history, 30*time.Second); r == porcupine.Illegal {
		t.Fatal("history is not linearizable")
	} else if r == porcupine.Unknown {
		t.Log("the checker ran out of time; the positions above were checked completely")
	}
}

func addr(c *cluster, nd *node) string { return nd.cfg.Peers[index(c, nd)].Addr }

// TestMinorityLeader: a leader cut off from the others acknowledges nothing
// and gives no linearizable read.
func TestMinorityLeader(t *testing.T) {
	fn := faultnet.New(&raftstore.MemNetwork{})
	c := newCluster(t, 3, func(i int, cfg *raftstore.Config) {
		cfg.Transport = fn.Node(cfg.Peers[i].Addr)
	})
	l := c.leader()
	c.propose(l, "before")
	fn.Isolate(addr(c, l))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := l.store.Propose(timeout(t, 5*time.Second), fmt.Appendf(nil, "lost-%d", i))
			if !errors.Is(err, raftstore.ErrOutcomeUnknown) && !errors.Is(err, raftstore.ErrNotLeader) && !errors.Is(err, raftstore.ErrNoLeader) {
				t.Errorf("propose on a cut-off leader: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := l.store.Linearize(timeout(t, 5*time.Second)); err == nil {
				t.Error("linearizable read on a cut-off leader")
			}
		})
	}
	wg.Wait()
	if l.store.VerifyLeader(timeout(t, time.Second)) == nil {
		t.Error("VerifyLeader on a cut-off leader")
	}
	var rest []*node
	for _, nd := range c.nodes {
		if nd != l {
			rest = append(rest, nd)
		}
	}
	c.propose(rest[0], "after")
	fn.Heal()
	c.sameState()
	for _, cmd := range l.list.all() {
		if s := string(cmd); s != "before" && s != "after" {
			t.Errorf("%s is in the log, though a majority never saw it", s)
		}
	}
}

// TestLeaderCutOffWithoutAWord measures the gap when only the timers can tell.
func TestLeaderCutOffWithoutAWord(t *testing.T) {
	fn := faultnet.New(raftstore.TCP{})
	c := newCluster(t, 3, overTCP(t, 3), func(i int, cfg *raftstore.Config) { cfg.Transport = fn.Node(cfg.Peers[i].Addr) })
	var gaps []time.Duration
	for round := range 5 {
		l := c.leader()
		c.propose(l, fmt.Sprint("round ", round))
		c.sameState()
		waitMesh(t, c)
		f := c.followers()[0]
		began := time.Now()
		fn.Isolate(addr(c, l))
		insist(t, f.store, "x")
		gaps = append(gaps, time.Since(began))
		fn.Heal()
	}
	slices.Sort(gaps)
	t.Logf("leader cut off -> next acknowledged command: median %v of %v", gaps[len(gaps)/2], gaps)
}

// TestPlannedStop measures the gap that Close of the leader leaves.
func TestPlannedStop(t *testing.T) {
	c := newCluster(t, 3, overTCP(t, 3))
	var gaps []time.Duration
	for range 5 {
		l := c.leader()
		waitMesh(t, c)
		c.sameState()
		f := c.followers()[0]
		var worst atomic.Int64
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			last := time.Now()
			for {
				select {
				case <-stop:
					return
				default:
				}
				insist(t, f.store, "x")
				worst.Store(max(worst.Load(), int64(time.Since(last))))
				last = time.Now()
			}
		}()
		time.Sleep(20 * time.Millisecond) // let it run
		worst.Store(0)
		if err := l.store.Close(t.Context()); err != nil {
			t.Fatalf("close: %v", err)
		}
		l.store = nil
		c.leader()
		close(stop)
		<-done
		gaps = append(gaps, time.Duration(worst.Load()))
		c.open(l)
	}
	slices.Sort(gaps)
	t.Logf("planned stop of the leader, longest wait of a client: median %v of %v", gaps[len(gaps)/2], gaps)
	c.sameState()
}

// insist repeats a command until it is acknowledged, without pausing long.
func insist(t testing.TB, s *raftstore.Store, cmd string) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := s.Propose(ctx, []byte(cmd))
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("no acknowledgement: %v", err)
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
}
