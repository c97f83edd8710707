package backend

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registrar"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// TestTheShuffleServiceKeepsAnApplicationForAsLongAsItRuns takes the service and
// the registrar of this project: the application is known once an executor runs,
// and its files go after it has stopped.
func TestTheShuffleServiceKeepsAnApplicationForAsLongAsItRuns(t *testing.T) {
	cfg := shuffle.DefaultConfig()
	cfg.Addr, cfg.CleanerInterval, cfg.Log = "127.0.0.1:0", 10*time.Millisecond, slog.New(slog.DiscardHandler)
	service, err := shuffle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- service.Serve(ctx) }()
	defer func() { cancel(); <-served; service.Close() }()

	dir := filepath.Join(t.TempDir(), "blockmgr-1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(service.Addr().String())
	conf := []string{"spark.shuffle.service.enabled", "true", "spark.shuffle.service.port", port,
		"spark.storage.blockManagerHeartbeatTimeoutMs", "200", "spark.executor.heartbeatInterval", "10ms"}
	shuffles, err := registrar.FromProperties(props(conf...))
	if err != nil {
		t.Fatal(err)
	}
	s := suiteWith(t, func(c *Config) { c.Shuffle = shuffles }, conf...)
	o := offerOf("1", execMem, 2)
	o.Hostname = "127.0.0.1"
	s.offer(o)
	s.launched("o1")
	registerExecutor(t, service.Addr().String(), s.ApplicationID(), dir)
	s.update("0", "s1", mesos.TASK_RUNNING)
	eventually(t, "heartbeats of the driver", func() bool {
		page := httptest.NewRecorder()
		service.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return strings.Contains(page.Body.String(), "ha_dispatcher_shuffle_heartbeats_total") &&
			!strings.Contains(page.Body.String(), "ha_dispatcher_shuffle_heartbeats_total 0\n")
	})
	if _, err := os.Lstat(dir); err != nil {
		t.Errorf("the application runs, and its files: %v", err)
	}
	s.Close()
	eventually(t, "the end of the application's files", func() bool { _, err := os.Lstat(dir); return os.IsNotExist(err) })
}

// registerExecutor says what an executor says to its shuffle service.
func registerExecutor(t *testing.T, addr, appID, dir string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := wire.AppendMessage(nil, wire.RegisterExecutor{AppID: appID, ExecID: "0", LocalDirs: []string{dir}, SubDirs: 64})
	if _, err := c.Write(wire.AppendFrame(nil, wire.Frame{Type: wire.RPCRequest, RequestID: 1, Body: body})); err != nil {
		t.Fatal(err)
	}
	reply, err := wire.NewReader(bufio.NewReader(c), 1<<20, nil).Next()
	if err != nil || reply.Type != wire.RPCResponse {
		t.Fatalf("%v %v", reply, err)
	}
}
