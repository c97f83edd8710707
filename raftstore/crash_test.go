package raftstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore/faultnet"
)

// childEnv makes the test binary a node: its value is childConfig as JSON.
const childEnv = "RAFTSTORE_TEST_CHILD"

type childConfig struct {
	NodeID, DataDir string
	Peers           []raftstore.Peer
}

// childMain is a node process. It obeys lines on stdin and ends with stdin:
//
//	ready        -> leader|follower once a leader is known
//	insist CMD   -> ok once CMD is acknowledged
//	fill N SIZE  -> ok after N commands of SIZE bytes
//	count        -> number of applied commands, after a linearizable read
func childMain() {
	var cc childConfig
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &cc); err != nil {
		panic(err)
	}
	ctx := context.Background()
	l := &list{}
	s, err := raftstore.Open(ctx, raftstore.Config{NodeID: cc.NodeID, DataDir: cc.DataDir, Peers: cc.Peers, Logger: testLogger()}, l)
	if err != nil {
		panic(err)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "ready":
			s.WaitLeader(ctx)
			role := "follower"
			if s.IsLeader() {
				role = "leader"
			}
			fmt.Println(role)
		case "insist":
			for {
				if _, err := s.Propose(ctx, []byte(arg)); err == nil {
					break
				}
				time.Sleep(200 * time.Microsecond)
			}
			fmt.Println("ok")
		case "fill":
			n, size := 0, 0
			fmt.Sscan(arg, &n, &size)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					for range n / 20 {
						s.Propose(ctx, make([]byte, size))
					}
				})
			}
			wg.Wait()
			fmt.Println("ok")
		case "count":
			for {
				if _, err := s.Linearize(ctx); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			fmt.Println(len(l.all()))
		}
	}
	s.Close(ctx)
	os.Exit(0)
}

// process is a node in a process of its own.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startProcess(t *testing.T, cc childConfig) *process {
	t.Helper()
	b, err := json.Marshal(cc)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) ask(line string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("%s: process ended", line)
	}
	return p.out.Text()
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// TestFailOverAfterKill: kill -9 of the leader's process, again and again, and
// the time until a surviving follower has a new command acknowledged.
func TestFailOverAfterKill(t *testing.T) {
	const rounds = 5
	dir := t.TempDir()
	var peers []raftstore.Peer
	for i := range 3 {
		peers = append(peers, raftstore.Peer{ID: fmt.Sprintf("n%d", i+1), Addr: freePort(t)})
	}
	procs := make([]*process, 3)
	start := func(i int) {
		procs[i] = startProcess(t, childConfig{peers[i].ID, filepath.Join(dir, peers[i].ID), peers})
	}
	for i := range procs {
		start(i)
		defer func() { procs[i].kill() }()
	}
	var gaps []time.Duration
	sent := 0
	for round := range rounds {
		// Every node is up and connected to the others before the blow.
		leader := -1
		for i, p := range procs {
			p.ask(fmt.Sprintf("insist %d-%d", round, i))
			sent++
			if p.ask("ready") == "leader" {
				leader = i
			}
		}
		if leader < 0 {
			continue // moved while we asked
		}
		began := time.Now()
		procs[leader].cmd.Process.Kill()
		procs[(leader+1+round%2)%3].ask(fmt.Sprintf("insist after-%d", round))
		gaps = append(gaps, time.Since(began))
		sent++
		procs[leader].kill()
		start(leader)
	}
	for _, p := range procs {
		// More is possible: a command whose outcome was unknown was repeated.
		if got, err := strconv.Atoi(p.ask("count")); err != nil || got < sent {
			t.Errorf("a node has %d commands (%v), %d were acknowledged", got, err, sent)
		}
	}
	slices.Sort(gaps)
	t.Logf("kill -9 of the leader -> next acknowledged command: median %v of %v", gaps[len(gaps)/2], gaps)
}

// takeovers reads how often a node's crash detector started an election.
func takeovers(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	return metric(t, reg, "ha_dispatcher_raftstore_crash_takeovers_total")
}

func metric(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() == name {
			found = true
			for _, m := range f.Metric {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}

// faulty puts a breakable network under a cluster, and a registry on each node.
func faulty(fn *faultnet.Net, regs *[]*prometheus.Registry) option {
	return func(i int, cfg *raftstore.Config) {
		reg := prometheus.NewRegistry()
		*regs = append(*regs, reg)
		cfg.Registerer = reg
		cfg.Transport = fn.Node(cfg.Peers[i].Addr)
	}
}

func total(t *testing.T, regs []*prometheus.Registry) (sum float64) {
	for _, r := range regs {
		sum += takeovers(t, r)
	}
	return sum
}

func TestBrokenConnectionIsNoProofOfDeath(t *testing.T) {
	fn := faultnet.New(raftstore.TCP{})
	var regs []*prometheus.Registry
	c := newCluster(t, 3, overTCP(t, 3), faulty(fn, &regs))
	l := c.leader()
	waitMesh(t, c)
	for range 20 {
		for _, f := range c.followers() {
			fn.Reset(f.cfg.Peers[index(c, f)].Addr, l.cfg.Peers[index(c, l)].Addr)
		}
		c.propose(c.nodes[0], "x")
	}
	waitMesh(t, c)
	if n := total(t, regs); n != 0 {
		t.Errorf("%v elections after mere connection resets, want none", n)
	}
}

func TestSilenceIsNoProofOfDeath(t *testing.T) {
	fn := faultnet.New(raftstore.TCP{})
	var regs []*prometheus.Registry
	c := newCluster(t, 3, overTCP(t, 3), faulty(fn, &regs))
	l := c.leader()
	waitMesh(t, c)
	fn.Isolate(l.cfg.Peers[index(c, l)].Addr)
	eventually(t, "another leader, by the timers", func() bool {
		for _, nd := range c.nodes {
			if nd != l && nd.store.Status().Ready {
				return true
			}
		}
		return false
	})
	fn.Heal()
	c.sameState()
	if n := total(t, regs); n != 0 {
		t.Errorf("%v elections by the detector on silence, want none", n)
	}
}

func TestCrashIsDetectedWithinOneProcess(t *testing.T) {
	var regs []*prometheus.Registry
	c := newCluster(t, 3, overTCP(t, 3), faulty(faultnet.New(raftstore.TCP{}), &regs),
		func(_ int, cfg *raftstore.Config) { cfg.Profile = raftstore.WAN })
	l := c.leader()
	waitMesh(t, c)
	c.crash(l)
	c.leader()
	if n := total(t, append(slices.Clone(regs[:index(c, l)]), regs[index(c, l)+1:]...)); n < 1 {
		t.Error("the followers left the fail-over to the timers")
	}
}

func index(c *cluster, nd *node) int { return slices.Index(c.nodes, nd) }

// waitMesh waits until all running nodes are connected to each other.
func waitMesh(t *testing.T, c *cluster) {
	t.Helper()
	eventually(t, "all nodes connected", func() bool {
		for _, nd := range c.running() {
			for _, m := range nd.store.Status().Members {
				if !m.Healthy && c.isRunning(m.ID) {
					return false
				}
			}
		}
		return true
	})
}

func (c *cluster) isRunning(id string) bool {
	return slices.ContainsFunc(c.running(), func(nd *node) bool { return nd.cfg.NodeID == id })
}

// TestResidentMemory prints what a node with 5,000 records of 2 KB takes. The
// state itself is 10 MB of it.
func TestResidentMemory(t *testing.T) {
	dir := t.TempDir()
	peers := []raftstore.Peer{{ID: "n1", Addr: freePort(t)}, {ID: "n2", Addr: freePort(t)}, {ID: "n3", Addr: freePort(t)}}
	var procs []*process
	for _, p := range peers {
		proc := startProcess(t, childConfig{p.ID, filepath.Join(dir, p.ID), peers})
		defer proc.kill()
		procs = append(procs, proc)
	}
	for _, p := range procs {
		p.ask("ready")
	}
	procs[0].ask("fill 5000 2048")
	for i, p := range procs {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Log("no /proc here: ", err)
			return
		}
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") || strings.HasPrefix(line, "RssFile") {
				t.Logf("node %d (%s): %s", i+1, p.ask("ready"), strings.TrimSpace(line))
			}
		}
	}
}
