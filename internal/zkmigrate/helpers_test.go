package zkmigrate

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	oldUUID  = "11111111-2222-3333-4444-555555555555" // of the Mesos that the samples come from
)

// sample is a tree that the dispatcher of that version of Spark wrote: paths
// below its directory, without their data's Java.
func sample(t testing.TB, version string) map[string][]byte {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "tree-"+version+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[strings.TrimSuffix(h.Name, ".bin")], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// treeOf is what Read would make of a sample.
func treeOf(files map[string][]byte) *Tree {
	t := new(Tree)
	for name, data := range files {
		n := Node{Path: "/d/" + name, ID: path.Base(name), Data: data, Version: 1}
		switch path.Dir(name) {
		case "scheduler":
			t.FrameworkID = n
		case dirQueue:
			t.Queued = append(t.Queued, n)
		case dirLaunched:
			t.Launched = append(t.Launched, n)
		case dirRetry:
			t.Retrying = append(t.Retrying, n)
		}
	}
	return t
}

func dial(t testing.TB, server *zkfixture.Server) *zkconn.Conn {
	t.Helper()
	c, err := zkconn.Dial(context.Background(), zkconn.Config{Servers: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// store writes a sample into ZooKeeper. The directories hold data as well, as
// those that Curator makes do.
func store(t testing.TB, server *zkfixture.Server, dir string, files map[string][]byte) {
	t.Helper()
	c := dial(t, server)
	defer c.Close()
	var mkdir func(at string)
	mkdir = func(at string) {
		if at == "/" {
			return
		}
		mkdir(path.Dir(at))
		if err := c.Create(at, []byte("127.0.0.1")); err != nil && !errors.Is(err, zkconn.ErrNodeExists) {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		at := path.Join(dir, name)
		mkdir(path.Dir(at))
		if err := c.Create(at, data); err != nil {
			t.Fatal(err)
		}
	}
}

// startNode starts a cluster of one node.
func startNode(t testing.TB, master string, conf map[string]string) (*node.Node, *client.Client) {
	t.Helper()
	properties := map[string]string{
		"spark.mesos.dispatcher.awaitMigration": "true", "spark.mesos.executor.home": "/opt/spark",
		"spark.mesos.dispatcher.queue.urgent": "2.5", "spark.home": "/opt/spark",
	}
	for k, v := range conf {
		if properties[k] = v; v == "" {
			delete(properties, k)
		}
	}
	n, err := node.Start(context.Background(), node.Config{
		ID: "n1", DataDir: t.TempDir(), RaftAddr: "127.0.0.1:7001", Peers: []node.Peer{{ID: "n1", Raft: "127.0.0.1:7001"}},
		RESTAddr: "127.0.0.1:0", WebUIAddr: "127.0.0.1:0", Master: master, Name: "new",
		Spark: sparkconf.New(properties), Env: func(string) (string, bool) { return "", false },
		Logger: slog.New(slog.DiscardHandler), Transport: new(raftstore.MemNetwork),
		Tune: func(d *dispatcher.Config, _ *raftstore.Config) {
			d.ReconcileAgain, d.Resubscribe, d.ReviveEvery = 50*time.Millisecond, 500*time.Millisecond, 10*time.Millisecond
		},
		TuneMesos: func(d *mesosutil.DriverConfig) { d.BackoffMin, d.BackoffMax = 5*time.Millisecond, 200*time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Servers: []string{n.RESTURL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n, c
}

func startMesos(t testing.TB, o localmesos.Options) *localmesos.Mesos {
	t.Helper()
	o.UpdateRetry, o.AllocationInterval = 100*time.Millisecond, 5*time.Millisecond
	m, err := localmesos.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func awaitState(t testing.TB, n *node.Node, id string, want ...fsm.DriverState) *fsm.Driver {
	t.Helper()
	var d *fsm.Driver
	eventually(t, id+" becomes one of what it should", func() bool {
		var known bool
		if d, known = n.State().Driver(id); known {
			for _, state := range want {
				if d.State == state {
					return true
				}
			}
		}
		return false
	})
	return d
}

// launchAsOld registers a framework, as the old dispatcher did, launches tasks by
// id, each a shell command, and goes away. It returns the framework's id.
func launchAsOld(t *testing.T, m *localmesos.Mesos, commands map[string]string) string {
	t.Helper()
	info, err := mesosutil.DriverFramework{User: "root", Name: "old", FailoverTimeout: time.Hour, Checkpoint: true}.Info()
	if err != nil {
		t.Fatal(err)
	}
	d, err := mesosutil.NewDriver(mesosutil.DriverConfig{Master: m.Addr(), Framework: info, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	frameworkID, running := "", 0
	for running < len(commands) {
		select {
		case e := <-d.Events():
			switch e := e.(type) {
			case mesosutil.EventSubscribed:
				frameworkID = e.FrameworkID
			case mesosutil.EventOffers:
				launchAll(ctx, t, d, e.Offers[0], commands)
			case mesosutil.EventUpdate:
				if e.Status.GetState() == mesos.TASK_RUNNING {
					running++
				}
				_ = d.Acknowledge(ctx, e.Status.AgentID.GetValue(), e.Status.TaskID.Value, e.Status.UUID)
			}
		case err := <-ended:
			t.Fatalf("the old dispatcher ended early: %v", err)
		}
	}
	cancel()
	<-ended
	return frameworkID
}

func launchAll(ctx context.Context, t *testing.T, d *mesosutil.Driver, o mesos.Offer, commands map[string]string) {
	t.Helper()
	var tasks []mesos.TaskInfo
	for id, command := range commands {
		cpus, mem := 1.0, 64.0
		scalar := mesos.SCALAR
		tasks = append(tasks, mesos.TaskInfo{
			Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: o.AgentID,
			Command: &mesos.CommandInfo{Value: &command},
			Resources: []mesos.Resource{
				{Name: "cpus", Type: &scalar, Scalar: &mesos.Value_Scalar{Value: cpus}, AllocationInfo: o.AllocationInfo},
				{Name: "mem", Type: &scalar, Scalar: &mesos.Value_Scalar{Value: mem}, AllocationInfo: o.AllocationInfo},
			},
		})
		delete(commands, id)
	}
	if err := d.Accept(ctx, []string{o.ID.Value}, tasks, 0); err != nil {
		t.Error(err)
	}
}

// moved is a sample as if it came from the Mesos with this id.
func moved(files map[string][]byte, uuid string) map[string][]byte {
	out := make(map[string][]byte, len(files))
	for name, data := range files {
		out[name] = bytes.ReplaceAll(data, []byte(oldUUID), []byte(uuid))
	}
	return out
}

func lines(all []Line) (ids []string) {
	for _, l := range all {
		ids = append(ids, l.ID[len(l.ID)-4:])
	}
	return ids
}

// noTarget is a cluster that must not be asked.
type noTarget struct{ t *testing.T }

func (n noTarget) Import(context.Context, api.ImportRequest) (*api.ImportResponse, error) {
	n.t.Error("the cluster was asked to import")
	return nil, errors.New("unexpected")
}

func (n noTarget) Cluster(context.Context) (*api.Cluster, error) { return &api.Cluster{}, nil }
