package shuffle_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// childEnv makes the test binary serve instead of testing, so that tests can
// kill a real process.
const childEnv = "SHUFFLE_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		serveAsChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// serveAsChild serves with the Spark properties in the environment and prints
// its two addresses.
func serveAsChild(dir string) {
	var props map[string]string
	if raw := os.Getenv(childEnv + "_PROPS"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &props); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	cfg, err := shuffle.FromProperties(props)
	if err == nil {
		cfg.Addr, cfg.HTTPAddr, cfg.DataDir = os.Getenv(childEnv+"_ADDR"), "127.0.0.1:0", dir
		var s *shuffle.Service
		if s, err = shuffle.New(cfg); err == nil {
			fmt.Println(s.Addr(), s.HTTPAddr())
			err = s.Serve(context.Background())
		}
	}
	fmt.Println("failed:", err)
	os.Exit(1)
}

// start runs a service until the test ends.
func start(t testing.TB, change func(*shuffle.Config)) *shuffle.Service {
	t.Helper()
	cfg := shuffle.DefaultConfig()
	cfg.Addr = "127.0.0.1:0"
	cfg.Log = slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if change != nil {
		change(&cfg)
	}
	s, err := shuffle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func dial(t testing.TB, s *shuffle.Service, handshake *auth.Client) *peer.Client {
	t.Helper()
	c, err := peer.Dial(s.Addr().String(), handshake)
	if err != nil {
		t.Fatal(err)
	}
	c.Conn.SetDeadline(time.Now().Add(time.Minute)) // a hang fails the test
	t.Cleanup(c.Close)
	return c
}

// executor is an executor's directory and what it wrote there.
type executor struct {
	t   testing.TB
	app string
	id  string
	loc *blocks.Location
}

func newExecutor(t testing.TB, app, id string) *executor {
	t.Helper()
	e := &executor{t: t, app: app, id: id, loc: &blocks.Location{SubDirs: 64}}
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), fmt.Sprintf("blockmgr-%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		e.loc.Dirs = append(e.loc.Dirs, dir)
	}
	return e
}

func (e *executor) register(c *peer.Client) {
	e.t.Helper()
	_, err := c.RPC(wire.RegisterExecutor{AppID: e.app, ExecID: e.id, LocalDirs: e.loc.Dirs, SubDirs: 64,
		ShuffleManager: "org.apache.spark.shuffle.sort.SortShuffleManager"})
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *executor) path(name string) string {
	dir, rel := e.loc.Find(name)
	return filepath.Join(dir, rel)
}

func (e *executor) write(name string, p []byte) {
	e.t.Helper()
	if err := os.MkdirAll(filepath.Dir(e.path(name)), 0o755); err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(e.path(name), p, 0o644); err != nil {
		e.t.Fatal(err)
	}
}

// output writes the output of a map task with reduce partitions of these
// sizes, and returns their contents.
func (e *executor) output(shuffle int, mapID int64, sizes ...int) [][]byte {
	e.t.Helper()
	index := make([]byte, 8)
	var data []byte
	var parts [][]byte
	random := rand.NewChaCha8([32]byte{byte(shuffle), byte(mapID)})
	for _, n := range sizes {
		p := make([]byte, n)
		random.Read(p)
		parts = append(parts, p)
		data = append(data, p...)
		index = binary.BigEndian.AppendUint64(index, uint64(len(data)))
	}
	e.write(fmt.Sprintf("shuffle_%d_%d_0.index", shuffle, mapID), index)
	e.write(fmt.Sprintf("shuffle_%d_%d_0.data", shuffle, mapID), data)
	return parts
}

// eventually waits for a condition that another goroutine or process brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
