package zkmaster_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// stands puts a master at addr up for election; the result withdraws it.
func stands(t *testing.T, server *zkfixture.Server, addr string) (resign func()) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := zkconn.Dial(context.Background(), zkconn.Config{Servers: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create("/mesos", nil); err != nil {
		t.Log(err) // the second one finds it
	}
	info := fmt.Sprintf(`{"address":{"hostname":%q,"ip":%q,"port":%s},"hostname":%q,"pid":"master@%s","port":%s}`, host, host, port, host, addr, port)
	if _, err := c.CreateEphemeral("/mesos/json.info_", []byte(info)); err != nil {
		t.Fatal(err)
	}
	return c.Close
}

func TestANodeFollowsTheElectionAndItsDriversGetTheURL(t *testing.T) {
	server := zkfixture.Require(t)
	mesos, err := localmesos.Start(t.Context(), localmesos.Options{Standbys: []string{"127.0.0.1:0"}, UpdateRetry: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mesos.Close() })
	resign := stands(t, server, mesos.Addrs()[0])
	defer stands(t, server, mesos.Addrs()[1])()

	// A spark-submit that writes down how it was called.
	home, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	script := "#!/bin/sh\necho \"$@\" >> " + seen + "\nexec sleep 1000\n"
	if err := os.MkdirAll(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bin", "spark-submit"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	jar := filepath.Join(home, "app.jar")
	if err := os.WriteFile(jar, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const password = "not-to-be-shown"
	master := "zk://user:" + password + "@" + server.Addr() + "/mesos"
	n, err := node.Start(context.Background(), node.Config{
		ID: "n1", DataDir: t.TempDir(), RaftAddr: "127.0.0.1:7001", Peers: []node.Peer{{ID: "n1", Raft: "127.0.0.1:7001"}},
		RESTAddr: "127.0.0.1:0", WebUIAddr: "127.0.0.1:0", Master: master, Name: "zk",
		Spark: sparkconf.New(map[string]string{"spark.mesos.executor.home": home, "spark.home": home}),
		Env:   func(string) (string, bool) { return "", false }, Logger: slog.New(slog.DiscardHandler), Transport: new(raftstore.MemNetwork),
		Tune: func(d *dispatcher.Config, _ *raftstore.Config) {
			d.ReconcileAgain, d.ReviveEvery = 50*time.Millisecond, 10*time.Millisecond
		},
		TuneMesos: func(d *mesosutil.DriverConfig) { d.BackoffMin, d.BackoffMax = 5*time.Millisecond, 100*time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(context.Background()) })

	subscribedAt := func(addr string) func() bool {
		return func() bool {
			fw := n.State().Framework()
			return n.LeaderStatus().Subscribed && fw.State == fsm.FrameworkSubscribed && strings.HasSuffix(fw.Master, addr)
		}
	}
	eventually(t, "subscribed to the leading master", subscribedAt(mesos.Addrs()[0]))
	run := func() {
		t.Helper()
		r, err := n.Service().Submit(t.Context(), launch.Submission{
			AppResource: "file://" + jar, MainClass: "Main", Properties: map[string]string{"spark.app.name": "a", "spark.driver.memory": "64m"},
		}, dispatcher.Request{})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the driver runs", func() bool {
			d, _ := n.State().Driver(r.DriverID)
			return d.State == fsm.DriverRunning
		})
	}
	run()
	eventually(t, "spark-submit was called", func() bool {
		text, _ := os.ReadFile(seen)
		return strings.Contains(string(text), "--master mesos://"+master+" ")
	})

	// The first master loses its office, and for a moment there is none.
	mesos.StopMaster()
	eventually(t, "the node says that it is not subscribed, and not how it would log in", func() bool {
		_, checks := n.Ready()
		text := fmt.Sprint(checks)
		if strings.Contains(text, password) {
			t.Fatal(text)
		}
		return strings.Contains(text, "not subscribed to mesos at zk://user:***@")
	})
	resign()
	if err := mesos.FailoverTo(t.Context(), mesos.Addrs()[1]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "subscribed to the next master", subscribedAt(mesos.Addrs()[1]))
	run()
	if c := n.State().Counts(); c.Active != 2 {
		t.Errorf("%+v; two drivers should run", c)
	}
}
