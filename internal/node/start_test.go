package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// single is the configuration of a cluster of one, whose Mesos is not there.
func single(t *testing.T) node.Config {
	return node.Config{
		ID: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), RaftAddr: "n1", Peers: []node.Peer{{ID: "n1", Raft: "n1"}},
		Transport: &raftstore.MemNetwork{}, RESTAddr: "127.0.0.1:0", WebUIAddr: "127.0.0.1:0", Master: closedPort(t),
		Spark: sparkconf.New(nil), Env: func(string) (string, bool) { return "", false },
		Logger: slog.New(slog.DiscardHandler), Version: "test",
	}
}

// closedPort is an address on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func start(t *testing.T, cfg node.Config) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	return do(t, http.MethodGet, url, "")
}

func do(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // no connection outlives the test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
	}
}

const create = `{"action":"CreateSubmissionRequest","appArgs":[],"appResource":"","clientSparkVersion":"3.5.1","environmentVariables":{},` +
	`"sparkProperties":{"spark.app.name":"d","spark.mesos.dispatcher.command":"true"}}`

// TestMesosIsNotThere: the node serves, and says what is missing, in the words
// that Spark's clients know.
func TestMesosIsNotThere(t *testing.T) {
	cfg := single(t)
	n := start(t, cfg)
	var body string
	eventually(t, "readyz to tell why", func() bool {
		var status int
		status, body = get(t, n.WebURL()+"/readyz")
		if status != http.StatusServiceUnavailable {
			t.Fatalf("readyz: %d %s", status, body)
		}
		return strings.Contains(body, "connection refused")
	})
	if !strings.Contains(body, "not subscribed to mesos at "+cfg.Master) {
		t.Errorf("readyz: %s", body)
	}
	if status, body := get(t, n.WebURL()+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d %s", status, body)
	}
	for path, method := range map[string]string{
		"/v1/submissions/create": http.MethodPost, "/v1/submissions/kill/driver-1": http.MethodPost, "/v1/submissions/status/driver-1": http.MethodGet,
	} {
		text := ""
		if strings.HasSuffix(path, "create") {
			text = create
		}
		status, body := do(t, method, n.RESTURL()+path, text)
		var answer api.SubmissionResponse
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		if status != http.StatusOK || answer.Success || answer.Message != "Scheduler is not ready to take requests" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestMesosComesLater: it appears on the very port after a while.
func TestMesosComesLater(t *testing.T) {
	cfg := single(t)
	n := start(t, cfg)
	eventually(t, "the first failure", func() bool { return n.LeaderStatus().Err != nil })
	m, err := localmesos.Start(t.Context(), localmesos.Options{Addr: cfg.Master})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	eventually(t, "ready", func() bool {
		status, _ := get(t, n.WebURL()+"/readyz")
		return status == http.StatusOK
	})
	if status, body := do(t, http.MethodPost, n.RESTURL()+"/v1/submissions/create", create); status != 200 || !strings.Contains(body, `"success" : true`) {
		t.Errorf("%d %s", status, body)
	}
	n.Crash()
}

func TestPortInUse(t *testing.T) {
	for _, which := range []string{"REST", "web"} {
		t.Run(which, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			cfg := single(t)
			if which == "REST" {
				cfg.RESTAddr = ln.Addr().String()
			} else {
				cfg.WebUIAddr = ln.Addr().String()
			}
			_, err = node.Start(t.Context(), cfg)
			if !errors.Is(err, node.ErrPortInUse) || !strings.Contains(err.Error(), ln.Addr().String()) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(cfg.DataDir); err == nil {
				t.Error("a node that could not start has left data behind")
			}
		})
	}
	t.Run("raft", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		cfg := single(t)
		cfg.Transport, cfg.RaftAddr = nil, ln.Addr().String()
		cfg.Peers = []node.Peer{{ID: "n1", Raft: cfg.RaftAddr}}
		if _, err = node.Start(t.Context(), cfg); !errors.Is(err, raftstore.ErrAddrInUse) {
			t.Errorf("%v", err)
		}
	})
}

// used is a configuration on whose data a node has run.
func used(t *testing.T) node.Config {
	t.Helper()
	cfg := single(t)
	n, err := node.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestDataOfAnotherNode(t *testing.T) {
	cfg := used(t)
	cfg.ID, cfg.RaftAddr, cfg.Peers = "n2", "n2", []node.Peer{{ID: "n2", Raft: "n2"}}
	_, err := node.Start(t.Context(), cfg)
	if !errors.Is(err, raftstore.ErrWrongNode) || !strings.Contains(err.Error(), "n1") {
		t.Errorf("%v", err)
	}
}

func TestDataOfAnotherVersion(t *testing.T) {
	cfg := used(t)
	path := filepath.Join(cfg.DataDir, "node.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var meta map[string]any
	if err := json.Unmarshal(raw, &meta); err != nil {
		t.Fatal(err)
	}
	for key := range meta {
		if strings.EqualFold(key, "format") || strings.EqualFold(key, "version") {
			meta[key] = 99
		}
	}
	if raw, err = json.Marshal(meta); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Start(t.Context(), cfg); !errors.Is(err, raftstore.ErrWrongVersion) {
		t.Errorf("%v", err)
	}
}

func TestDataInUse(t *testing.T) {
	cfg := single(t)
	start(t, cfg)
	cfg.Transport = &raftstore.MemNetwork{}
	if _, err := node.Start(t.Context(), cfg); !errors.Is(err, raftstore.ErrLocked) {
		t.Errorf("%v", err)
	}
}

// TestBadConfiguration: everything wrong is named at once.
func TestBadConfiguration(t *testing.T) {
	cfg := single(t)
	cfg.Spark = sparkconf.New(map[string]string{
		"spark.mesos.maxDrivers": "many", "spark.mesos.cluster.retry.wait.max": "-3", "spark.mesos.rejectOfferDuration": "soon",
		"spark.mesos.dispatcher.queue.fast": "very",
	})
	_, err := node.Start(t.Context(), cfg)
	if err == nil {
		t.Fatal("started")
	}
	for _, key := range []string{"spark.mesos.maxDrivers", "spark.mesos.cluster.retry.wait.max", "spark.mesos.rejectOfferDuration", "spark.mesos.dispatcher.queue.fast"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named: %v", key, err)
		}
	}
	for name, spoil := range map[string]func(*node.Config){
		"secret in clear": func(c *node.Config) {
			c.Spark = sparkconf.New(map[string]string{"spark.authenticate.secret": "s3cret"})
		},
		"no master":             func(c *node.Config) { c.Master = "" },
		"master without a host": func(c *node.Config) { c.Master = "zk://" },
		"REST without a port":   func(c *node.Config) { c.RESTAddr = "127.0.0.1" },
		"REST open to all":      func(c *node.Config) { c.RESTAddr = "0.0.0.0:0" },
		"not among the peers":   func(c *node.Config) { c.Peers = []node.Peer{{ID: "n2", Raft: "n2"}} },
		"a peer twice":          func(c *node.Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"strange id":            func(c *node.Config) { c.ID = "n 1"; c.Peers[0].ID = "n 1" },
		"secret, no principal":  func(c *node.Config) { c.Spark = sparkconf.New(map[string]string{"spark.mesos.secret": "x"}) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := single(t)
			spoil(&cfg)
			n, err := node.Start(t.Context(), cfg)
			if err == nil {
				n.Crash()
				t.Fatal("started")
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the secret is told: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestNobodyLeads: the only node of two that is up serves, and says what it
// lacks.
func TestNobodyLeads(t *testing.T) {
	cfg := single(t)
	cfg.Peers = append(cfg.Peers, node.Peer{ID: "n2", Raft: "n2"})
	n := start(t, cfg)
	status, body := get(t, n.WebURL()+"/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "a majority of the nodes must be up") {
		t.Errorf("%d %s", status, body)
	}
}

func TestCloseTwiceAndCrashAfterClose(t *testing.T) {
	n, err := node.Start(t.Context(), single(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	n.Crash()
	select {
	case <-n.Done():
	default:
		t.Error("Done is open after Close")
	}
}
