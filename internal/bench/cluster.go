package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

// tooSmall is an agent on which no driver fits: submissions stay in the queue, so
// that the path of a submission is measured and not how fast this machine starts
// processes.
const tooSmall = "cpus:0.1;mem:16;disk:64"

// keepAll lets nothing be refused or forgotten.
var keepAll = []string{
	"spark.mesos.maxDrivers=10000000", "spark.mesos.retainedDrivers=10000000",
	"spark.mesos.dispatcher.driverMaster=local[1]",
}

// cluster of three processes and the embedded Mesos.
type cluster struct {
	*devcluster.Cluster
	dir string
}

func startCluster(ctx context.Context, s *settings, opts devcluster.Options) (_ *cluster, err error) {
	if opts.DataDir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	opts.Binary = s.binary
	opts.Conf = append(opts.Conf, keepAll...)
	if opts.Resources == "" {
		opts.Resources = tooSmall
	}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := devcluster.Start(starting, opts)
	if err != nil {
		os.RemoveAll(opts.DataDir)
		return nil, err
	}
	return &cluster{c, opts.DataDir}, nil
}

func (c *cluster) close() {
	c.Close()
	os.RemoveAll(c.dir)
}

func (c *cluster) rest(i int) string { return c.Info().Nodes[i].REST }

// leader waits until all nodes are well, and returns the one that leads.
func (c *cluster) leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.WaitReady(ctx)
}

// cpu is the processor time that the nodes have used; it tells what a request
// costs even where other work slows the machine down.
func (c *cluster) cpu() (sum time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	for _, n := range c.Info().Nodes {
		stat := readFile(fmt.Sprintf("/proc/%d/stat", n.PID))
		// The name of the program, in brackets, may hold anything.
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		if len(fields) < 13 {
			continue
		}
		for _, f := range fields[11:13] { // utime, stime
			n, _ := strconv.Atoi(f)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// load runs a load that must not fail.
func load(ctx context.Context, cfg loadgen.Config) (*loadgen.Report, error) {
	r, err := loadgen.Run(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for _, st := range []*loadgen.Stats{r.Submit, r.Status} {
		if st != nil && st.Refused+st.Unknown > 0 {
			return r, fmt.Errorf("%d requests were refused and %d have an unknown outcome: %s", st.Refused, st.Unknown, st.FirstError)
		}
	}
	return r, ctx.Err()
}
