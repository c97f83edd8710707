package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

const (
	peerWarmUp = 8000 // a JVM is fast only after a while
	peerCount  = 2000 // of each measurement
)

// peer is Spark's own dispatcher with a ZooKeeper of three nodes.
type peer struct {
	dir  string // copy of its scripts
	work string // of this run
	env  []string
	url  string
	log  string
}

// besidePeer measures the same load against Spark's own dispatcher and against
// three of our nodes, in turns.
func besidePeer(ctx context.Context, s *settings) ([]*table, error) {
	p, err := startPeer(ctx, s)
	if err != nil {
		return nil, err
	}
	defer p.close()
	c, err := startCluster(ctx, s, devcluster.Options{})
	if err != nil {
		return nil, err
	}
	defer c.close()
	leader, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	ours := loadgen.Config{Servers: []string{c.rest(leader)}}
	theirs := loadgen.Config{Servers: []string{p.url}}
	for _, w := range []loadgen.Config{ours, theirs} {
		w.Clients, w.Count = 8, peerWarmUp
		if _, err := load(ctx, w); err != nil {
			return nil, err
		}
	}
	submit := &table{
		name: "peer-submit", title: "Submissions beside Spark's own dispatcher with a ZooKeeper of three nodes",
		header: []string{"clients", "Spark a second", "p50 ms", "p99 ms", "lost", "ours a second", "p50 ms", "p99 ms", "lost", "ratio", "ratio of what is kept"},
	}
	status := &table{
		name: "peer-status", title: "Status reads beside it (ours linearizable)",
		header: []string{"clients", "Spark a second", "p50 ms", "p99 ms", "ours a second", "p50 ms", "p99 ms", "ratio"},
	}
	for _, clients := range clientCounts {
		if err := compare(ctx, s, clients, theirs, ours, submit, status); err != nil {
			return nil, err
		}
	}
	submit.note("Median of %d turns of %d submissions each, 8 properties, kept connections, no offers. Spark's dispatcher is unmodified, "+
		"on an in-memory stand-in for Mesos's library; lost is what it acknowledged and does not know afterwards.", s.rounds, peerCount)
	return []*table{submit, status}, nil
}

func compare(ctx context.Context, s *settings, clients int, theirs, ours loadgen.Config, submit, status *table) error {
	var rates [2]series
	var reads [2]series
	var lost, acknowledged [2]int
	for range s.rounds {
		for i, cfg := range []loadgen.Config{theirs, ours} {
			cfg.Clients, cfg.Count = clients, peerCount
			r, err := load(ctx, cfg)
			if err != nil {
				return err
			}
			rates[i].add(r.Submit)
			v, err := loadgen.Verify(ctx, cfg, r.IDs)
			if err != nil {
				return err
			}
			lost[i] += v.Lost
			acknowledged[i] += v.Acknowledged
			cfg.Mode, cfg.Count = loadgen.Status, 2*peerCount
			if cfg.IDs = knownOf(r.IDs, v); len(cfg.IDs) == 0 {
				return errors.New("nothing of what was acknowledged is known")
			}
			if r, err = load(ctx, cfg); err != nil {
				return err
			}
			reads[i].add(r.Status)
		}
	}
	share := func(i int) float64 { return float64(lost[i]) / float64(acknowledged[i]) }
	their, our := median(rates[0].rate), median(rates[1].rate)
	cells := append([]any{clients}, rates[0].cells()...)
	cells = append(cells, fmt.Sprintf("%.0f %%", 100*share(0)))
	cells = append(append(cells, rates[1].cells()...), fmt.Sprintf("%.0f %%", 100*share(1)), ratio(our, their),
		ratio(our*(1-share(1)), their*(1-share(0))))
	submit.row(cells...)
	cells = append(append([]any{clients}, reads[0].cells()...), reads[1].cells()...)
	status.row(append(cells, ratio(median(reads[1].rate), median(reads[0].rate)))...)
	return nil
}

func knownOf(ids []string, v *loadgen.Verification) []string {
	lost := make(map[string]bool)
	for _, id := range v.LostIDs {
		lost[id] = true
	}
	var known []string
	for _, id := range ids {
		if !lost[id] {
			known = append(known, id)
		}
	}
	return known
}

// startPeer copies the scripts into the cache, where they may leave what they
// make, and starts ZooKeeper and the dispatcher.
func startPeer(ctx context.Context, s *settings) (_ *peer, err error) {
	cache, err := fixture.CacheDir("sparkpeer")
	if err != nil {
		return nil, err
	}
	spark, err := sparkfixture.Find(ctx, sparkfixture.Version3)
	if err != nil {
		return nil, err
	}
	p := &peer{dir: filepath.Join(cache, "peer")}
	for _, cmd := range [][]string{
		{"rm", "-rf", p.dir},
		{"cp", "-r", s.peer, p.dir},
		// Spares the set-up a second download of Spark.
		{"mkdir", "-p", filepath.Join(cache, "spark", "pyspark-3.5.1")},
		{"ln", "-sfn", spark.Home(), filepath.Join(cache, "spark", "pyspark-3.5.1", "deps")},
		{filepath.Join(p.dir, "setup.sh"), cache},
	} {
		if out, err := fixture.Command(ctx, cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	if p.work, err = os.MkdirTemp("", "bench-peer-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	return p, p.start(ctx, filepath.Join(cache, "spark-home"))
}

func (p *peer) start(ctx context.Context, home string) error {
	control := filepath.Join(p.work, "control")
	if err := os.WriteFile(control, []byte("offers=false\n"), 0o600); err != nil {
		return err
	}
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	p.url, p.log = "http://127.0.0.1:"+strconv.Itoa(ports[0]), filepath.Join(p.work, "dispatcher.log")
	p.env = append(os.Environ(), "SPARK_HOME="+home, "WEBUI_PORT="+strconv.Itoa(ports[1]), "ZK_DIR=/bench",
		"STUB_OPTS=-Dstub.mesos.control="+control+" -Dspark.mesos.maxDrivers=10000000 -Dspark.mesos.retainedDrivers=10000000")
	if err := p.script(ctx, "tools/zk.sh", "start", "ensemble", filepath.Join(p.work, "zk")); err != nil {
		return err
	}
	return p.script(ctx, "tools/dispatcher-ctl.sh", "start", "ENSEMBLE", strconv.Itoa(ports[0]), p.log)
}

// script runs one of the peer's scripts. Those that start something leave it
// running with their output, so that goes to a file.
func (p *peer) script(ctx context.Context, name string, args ...string) error {
	path := filepath.Join(p.work, filepath.Base(name)+".log")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.dir, name), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, readFile(path))
	}
	return nil
}

func (p *peer) close() {
	ctx := context.Background() // also when the run was interrupted
	for _, args := range [][]string{
		{"tools/dispatcher-ctl.sh", "stop", p.log},
		{"tools/zk.sh", "stop", "ensemble", filepath.Join(p.work, "zk")},
	} {
		if err := p.script(ctx, args[0], args[1:]...); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.RemoveAll(p.work)
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // after all are chosen, so that no port is chosen twice
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
