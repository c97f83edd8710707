package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
)

// agentResources let as many drivers run at once as a story may have.
const agentResources = "cpus:64;mem:131072;disk:131072;ports:[31000-31999]"

// cluster is a running cluster with the directory of all its files.
type cluster struct {
	*devcluster.Cluster
	dir string
}

// start starts three nodes and the embedded Mesos, or the one in opts. When the
// test ends, it stops them, and fails the test if the nodes' logs tell of a data
// race or a panic or if anything is left running.
func start(t *testing.T, opts devcluster.Options) *cluster {
	t.Helper()
	opts.Binary = binary(t)
	if opts.DataDir == "" {
		opts.DataDir = shortDir(t)
	}
	if opts.Resources == "" {
		opts.Resources = agentResources
	}
	opts.Conf = append([]string{
		"spark.mesos.maxDrivers=100000", "spark.mesos.retainedDrivers=100000",
		"spark.mesos.dispatcher.driverMaster=local[2]",
	}, opts.Conf...)
	// Of a killed process that has found a race it can say so, but not exit.
	opts.Env = append(opts.Env, "GORACE=exitcode=66")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := devcluster.Start(ctx, opts)
	if err != nil {
		t.Fatal("start the cluster:", err)
	}
	t.Cleanup(func() {
		began := time.Now()
		c.Close()
		if took := time.Since(began); took > 5*time.Second {
			t.Logf("stopping took %v", took)
		}
		nothingLeft(t, opts.DataDir)
		checkLogs(t, filepath.Join(opts.DataDir, "log"))
	})
	return &cluster{c, opts.DataDir}
}

// shortDir is a temporary directory that is kept when the test fails.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("files are kept in", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}

var alarming = regexp.MustCompile(`WARNING: DATA RACE|(?m:^panic: )|(?m:^fatal error: )`)

func checkLogs(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Error("no logs in", dir, err)
	}
	for _, path := range logs {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if at := alarming.FindIndex(raw); at != nil {
			t.Errorf("%s:\n%s", path, raw[at[0]:min(len(raw), at[0]+6000)])
		}
	}
}

// onEachMesos runs a test on the embedded Mesos and on a real one.
func onEachMesos(t *testing.T, test func(t *testing.T, opts devcluster.Options)) {
	t.Run("embedded", func(t *testing.T) { test(t, devcluster.Options{}) })
	t.Run("real", func(t *testing.T) { test(t, requireRealMesos(t)) })
}

func requireRealMesos(t *testing.T) devcluster.Options {
	t.Helper()
	_, err := realmesos.Build(t.Context())
	fixture.Require(t, "realmesos", err)
	m, err := realmesos.Start(t.Context(), realmesos.Options{Agents: 2, Resources: agentResources})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return devcluster.Options{MesosURL: m.URL()}
}

func (c *cluster) rest(i int) string { return c.Info().Nodes[i].REST }

func (c *cluster) nodes() int { return len(c.Info().Nodes) }

// ready waits until the cluster works, and returns its leader.
func (c *cluster) ready(t *testing.T) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leader, err := c.WaitReady(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return leader
}

func (c *cluster) restart(t *testing.T, i int) {
	t.Helper()
	if err := c.StartNode(i); err != nil {
		t.Fatal(err)
	}
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func address(url string) string { return strings.TrimPrefix(url, "http://") }

// log is what node i has logged.
func (c *cluster) log(t *testing.T, i int) string {
	t.Helper()
	raw, err := os.ReadFile(c.LogFile(c.Info().Nodes[i].ID))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
