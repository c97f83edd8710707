package shuffle_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// metric reads one value of /metrics.
func metric(s *shuffle.Service, name string) string {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// child is a service in a process of its own.
type child struct {
	cmd  *exec.Cmd
	addr string
	web  string
}

func startChild(t testing.TB, dir, addr string, props map[string]string) *child {
	t.Helper()
	raw, err := json.Marshal(props)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, childEnv+"_ADDR="+addr, childEnv+"_PROPS="+string(raw))
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if n, _ := fmt.Sscan(line, &c.addr, &c.web); n != 2 || err != nil || strings.HasPrefix(line, "failed") {
		t.Fatalf("the service does not start: %q, %v", line, err)
	}
	return c
}

// kill is kill -9.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

func dialAddr(t *testing.T, addr string) *peer.Client {
	t.Helper()
	c, err := peer.Dial(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestKillAndRestartInTheMiddleOfAStream(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	service := startChild(t, dir, "127.0.0.1:0", nil)
	c := dialAddr(t, service.addr)
	e := newExecutor(t, "app", "1")
	e.register(c)
	c.RPC(wire.RegisterDriver{AppID: "app", HeartbeatTimeoutMs: 1000})
	parts := e.output(0, 0, 1000, 2000, 3<<20)
	fetch := wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0, 1, 2}}, false)
	h, err := c.Open(fetch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Chunk(h.StreamID, 0); err != nil {
		t.Fatal(err)
	}
	service.kill()
	if _, err := c.Chunk(h.StreamID, 1); err == nil {
		t.Fatal("answered by a dead process")
	}
	service = startChild(t, dir, service.addr, nil)
	c = dialAddr(t, service.addr)
	_, err = c.Chunk(h.StreamID, 1)
	wantFailure(t, err, "is closed")
	if h, err = c.Open(fetch); err != nil {
		t.Fatal(err)
	}
	for i, want := range parts {
		if got, err := c.Chunk(h.StreamID, int32(i)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("chunk %d after the restart: %d bytes, %v", i, len(got), err)
		}
	}
	// The driver is known too: its heartbeat is taken, on the new connection.
	if _, err := c.RPC(wire.Heartbeat{AppID: "app"}); err != nil {
		t.Fatal(err)
	}
}

func TestRegistrationsThatWereAnsweredSurviveKill(t *testing.T) {
	dir := t.TempDir()
	service := startChild(t, dir, "127.0.0.1:0", nil)
	answered := make(chan string, 1000)
	go func() {
		defer close(answered)
		c, err := peer.Dial(service.addr, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for i := range cap(answered) {
			id := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
			if _, err := c.RPC(wire.RegisterExecutor{AppID: "app", ExecID: id, LocalDirs: []string{"/tmp/blockmgr-" + id}, SubDirs: 64}); err != nil {
				return
			}
			answered <- id
		}
	}()
	var ids []string
	for id := range answered {
		if ids = append(ids, id); len(ids) == 20 {
			service.kill() // while it is storing more
		}
	}
	service = startChild(t, dir, service.addr, nil)
	if _, err := dialAddr(t, service.addr).RPC(wire.GetLocalDirs{AppID: "app", ExecIDs: ids}); err != nil {
		t.Fatalf("of %d answered registrations some are lost: %v", len(ids), err)
	}
}

func TestInterruptedCleanupIsFinishedAfterRestart(t *testing.T) {
	dir := t.TempDir()
	e := newExecutor(t, "app", "1")
	cfg := shuffle.DefaultConfig()
	cfg.Addr, cfg.DataDir, cfg.Log = "127.0.0.1:0", dir, slog.New(slog.DiscardHandler)
	s, err := shuffle.New(cfg) // never serves, so that nothing is deleted
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shuffle.Register(s, e.app, e.id, e.loc.Dirs); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveApplication("app", true); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !exists(e.loc.Dirs[0]) {
		t.Fatal("deleted by whom?")
	}
	start(t, func(c *shuffle.Config) { c.DataDir = dir })
	eventually(t, "the directories are deleted", func() bool { return !exists(e.loc.Dirs[0]) && !exists(e.loc.Dirs[1]) })
}
