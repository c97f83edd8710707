package shuffle_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

func wantFailure(t *testing.T, err error, text string) {
	t.Helper()
	var f *peer.Failure
	if !errors.As(err, &f) || !strings.Contains(f.Text, text) {
		t.Fatalf("got %v, want a failure with %q", err, text)
	}
}

// sizes are around everything that sends a block another way.
var sizes = []int{1, 0, 100, 4 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 1 << 20, 9<<20 + 7}

// security is every way to connect, with the matching server.
var security = []struct {
	name   string
	server *auth.Config
	client *auth.Client
}{
	{"open", nil, nil},
	{"SASL", &auth.Config{}, &auth.Client{}},
	{"SASL encrypted", &auth.Config{}, &auth.Client{Encrypt: true}},
	{"engine v1", &auth.Config{Crypto: true}, &auth.Client{Engine: true, EngineVersion: 1}},
	{"engine v2", &auth.Config{Crypto: true, EngineVersion: 2}, &auth.Client{Engine: true, EngineVersion: 2}},
	{"engine GCM", &auth.Config{Crypto: true, Cipher: auth.AESGCM}, &auth.Client{Engine: true, EngineVersion: 1, Cipher: auth.AESGCM}},
}

func secretOf(app string) (string, bool) { return "secret of " + app, app != "nobody" }

func TestBlocksArriveWhicheverWayTheyAreAskedFor(t *testing.T) {
	for _, sec := range security {
		t.Run(sec.name, func(t *testing.T) {
			if sec.server != nil {
				sec.server.Secrets = secretOf
				sec.client.AppID, sec.client.Secret = "app", "secret of app"
			}
			s := start(t, func(c *shuffle.Config) { c.Auth = sec.server })
			c := dial(t, s, sec.client)
			e := newExecutor(t, "app", "1")
			e.register(c)
			sizes := sizes
			if sec.client != nil && sec.client.Encrypt { // 3DES does about 10 MB/s
				sizes = sizes[:8]
			}
			parts := e.output(7, 3, sizes...)
			other := e.output(7, 1<<33, 5, 6)
			e.write("rdd_1_2", []byte("a cached partition"))

			var reduces []int32
			var names []string
			for i := range parts {
				names = append(names, fmt.Sprintf("shuffle_7_3_%d", i))
				reduces = append(reduces, int32(i))
			}
			ids := wire.NewStringList(names...)
			requests := []struct {
				name string
				m    wire.Message
				want [][]byte
			}{
				{"OpenBlocks", wire.OpenBlocks{AppID: "app", ExecID: "1", BlockIDs: ids}, parts},
				{"FetchShuffleBlocks", wire.NewFetchShuffleBlocks("app", "1", 7, []int64{1 << 33, 3}, [][]int32{{1, 0}, reduces}, false),
					append([][]byte{other[1], other[0]}, parts...)},
				{"FetchShuffleBlocks with an empty list", wire.NewFetchShuffleBlocks("app", "1", 7, []int64{3, 1 << 33}, [][]int32{{}, {0}}, false), other[:1]},
				{"FetchShuffleBlocks in batches", wire.NewFetchShuffleBlocks("app", "1", 7, []int64{3, 1 << 33}, [][]int32{{1, 5}, {0, 2}}, true),
					[][]byte{bytes.Join(parts[1:5], nil), bytes.Join(other, nil)}},
				{"RDD blocks", wire.OpenBlocks{AppID: "app", ExecID: "1", BlockIDs: wire.NewStringList("rdd_1_2")}, [][]byte{[]byte("a cached partition")}},
			}
			ways := map[string]func(int64, int32) ([]byte, error){"chunks": c.Chunk, "streams": c.Stream}
			for _, r := range requests {
				for way, fetch := range ways {
					h, err := c.Open(r.m)
					if err != nil || int(h.NumChunks) != len(r.want) {
						t.Fatalf("%s: %+v, %v, want %d chunks", r.name, h, err, len(r.want))
					}
					for i, want := range r.want {
						got, err := fetch(h.StreamID, int32(i))
						if err != nil || !bytes.Equal(got, want) {
							t.Fatalf("%s, %s, chunk %d: %d bytes, equal %v, %v, want %d", r.name, way, i, len(got), bytes.Equal(got, want), err, len(want))
						}
					}
				}
			}
		})
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	var sizes []int
	var reduces []int32
	for i := range 2000 {
		sizes = append(sizes, (i*7919)%5000)
		reduces = append(reduces, int32(i))
	}
	sizes[1000] = 3 << 20
	parts := e.output(0, 0, sizes...)
	h, err := c.Open(wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{reduces}, false))
	if err != nil {
		t.Fatal(err)
	}
	var frames []wire.Frame
	for i := range parts {
		frames = append(frames, wire.Frame{Type: wire.ChunkFetchRequest, StreamID: h.StreamID, ChunkIndex: int32(i)})
	}
	if err := c.Send(frames...); err != nil {
		t.Fatal(err)
	}
	for i, want := range parts {
		if got, err := c.ChunkReply(h.StreamID, int32(i)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("chunk %d: %d bytes, %v, want %d", i, len(got), err, len(want))
		}
	}
}

// TestGoldenBytes sends what Spark sends, byte by byte, and looks at the bytes
// that come back.
func TestGoldenBytes(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	e.write("rdd_0_0", nil)
	exchange := []struct{ name, send, want string }{
		{"RegisterDriver", "0000000000000025" + "03" + "0000000000000009" + "00000010" + "0400000003617070000000000001d4c0",
			"0000000000000015" + "04" + "0000000000000009" + "00000000"},
		{"Heartbeat, one-way, then RemoveBlocks", "0000000000000015" + "09" + "00000008" + "0500000003617070" +
			"0000000000000031" + "03" + "0000000000000001" + "0000001c" + "0700000003617070000000013100000001000000077264645f305f30",
			"000000000000001a" + "04" + "0000000000000001" + "00000005" + "0800000001"},
		{"MergedBlockMetaRequest", "00000000000000240b000000000000000100000003617070000000000000000000000003",
			"000000000000005f" + "05" + "0000000000000001" + "0000004a" +
				hex.EncodeToString([]byte("java.lang.UnsupportedOperationException: Cannot handle shuffle block merge"))},
	}
	for _, x := range exchange {
		raw, err := hex.DecodeString(x.send)
		if err != nil {
			t.Fatal(x.name, err)
		}
		if err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
		f, err := c.Next()
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if got := hex.EncodeToString(wire.AppendFrame(nil, f)); got != x.want {
			t.Errorf("%s answered\n%s, want\n%s", x.name, got, x.want)
		}
	}
}

func TestRefusalsKeepTheConnection(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	e.output(0, 0, 10)
	open := func(ids ...string) wire.Message {
		return wire.OpenBlocks{AppID: "app", ExecID: "1", BlockIDs: wire.NewStringList(ids...)}
	}
	tests := []struct {
		name string
		m    wire.Message
		text string
	}{
		{"no blocks", open(), "without blocks"},
		{"unknown kind", open("broadcast_0"), "Unexpected block id format: "},
		{"two shuffles at once", open("shuffle_0_0_0", "shuffle_1_0_0"), "Expected shuffleId=0, got:shuffle_1_0_0"},
		{"short id", open("shuffle_0_0"), "Unexpected shuffle block id format: "},
		{"shuffle id among RDD ids", open("rdd_0_0", "shuffle_0_0_0"), "Unexpected block id format: "},
		{"path as id", open("shuffle_0_0_../../etc/passwd"), "Unexpected shuffle block id format"},
		{"batch without bounds", wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{1, 2, 3}}, true), "a start and an end"},
		{"dirs of a stranger", wire.GetLocalDirs{AppID: "app", ExecIDs: []string{"1", "2"}}, "Executor is not registered (appId=app, execId=2)"},
		{"removal for a stranger", wire.RemoveBlocks{AppID: "nobody", ExecID: "1", BlockIDs: []string{"rdd_0_0"}}, "Executor is not registered (appId=nobody, execId=1)"},
		{"diagnosis for a stranger", wire.DiagnoseCorruption{AppID: "app", ExecID: "9", Algorithm: "CRC32"}, "Executor is not registered"},
		{"diagnosis of a missing block", wire.DiagnoseCorruption{AppID: "app", ExecID: "1", ShuffleID: 5, Algorithm: "CRC32"}, "Failed to open file: shuffle_5_0_0.index"},
		{"relative dirs", wire.RegisterExecutor{AppID: "app", ExecID: "2", LocalDirs: []string{"../x"}, SubDirs: 64}, "not an absolute path"},
		{"dot dot", wire.RegisterExecutor{AppID: "app", ExecID: "2", LocalDirs: []string{"/tmp/../etc"}, SubDirs: 64}, `contains ".."`},
		{"timeout of zero", wire.RegisterDriver{AppID: "app"}, "must be positive"},
		{"upload", wire.Unsupported{Type: wire.TagUploadBlock}, "Unexpected message: UploadBlock"},
		{"a reply as request", wire.StreamHandle{}, "Unexpected message: StreamHandle"},
		{"push merge", wire.Unsupported{Type: wire.TagFinalizeShuffleMerge}, "Cannot handle shuffle block merge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.RPC(tt.m)
			wantFailure(t, err, tt.text)
		})
	}
	_, err := c.Call([]byte{99, 1, 2, 3})
	wantFailure(t, err, "Unknown message type: 99")
	_, err = c.Call(nil)
	wantFailure(t, err, "message tag")
	if h, err := c.Open(open("shuffle_0_0_0")); err != nil || h.NumChunks != 1 {
		t.Fatalf("the connection does not work any more: %+v, %v", h, err)
	}
}

func TestChunkRules(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	parts := e.output(0, 0, 10, 20, 30)
	fetch := wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0, 7, 2}}, false)
	h, err := c.Open(fetch)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Chunk(h.StreamID, 1)
	wantFailure(t, err, "Received out-of-order chunk index 1 (expected 0)")
	_, err = c.Chunk(h.StreamID, 3)
	wantFailure(t, err, "Requested chunk index beyond end 3")
	_, err = c.Chunk(h.StreamID, -1)
	wantFailure(t, err, "out-of-order chunk index -1")
	if p, err := c.Chunk(h.StreamID, 0); err != nil || !bytes.Equal(p, parts[0]) {
		t.Fatal(err)
	}
	_, err = c.Chunk(h.StreamID, 1)
	wantFailure(t, err, "partitions 7 to 8 are not in shuffle_0_0_0.index, which has 3")
	if p, err := c.Chunk(h.StreamID, 2); err != nil || !bytes.Equal(p, parts[2]) {
		t.Fatalf("chunk after one that failed: %d bytes, %v, want the block of its own index", len(p), err)
	}
	_, err = c.Chunk(h.StreamID, 0)
	wantFailure(t, err, fmt.Sprintf("Requested chunk not available since streamId %d is closed", h.StreamID))

	h, err = c.Open(fetch)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dial(t, s, nil).Chunk(h.StreamID, 0)
	wantFailure(t, err, "is closed") // the stream of another connection
	for _, name := range []string{"", "x", "1_", "1_2_3", strings.Repeat("1", 1000)} {
		c.Send(wire.Frame{Type: wire.StreamRequest, Stream: name})
		if f, err := c.Next(); err != nil || f.Type != wire.StreamFailure || f.Stream != name {
			t.Fatalf("stream %.20q: %+v, %v", name, f, err)
		}
	}
	h, err = c.Open(wire.NewFetchShuffleBlocks("app", "2", 0, []int64{0}, [][]int32{{0}}, false))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Chunk(h.StreamID, 0)
	wantFailure(t, err, "Executor is not registered (appId=app, execId=2)")
	if h, err := c.Open(wire.NewFetchShuffleBlocks("app", "1", 0, nil, nil, false)); err != nil || h.NumChunks != 0 {
		t.Fatalf("no blocks: %+v, %v", h, err)
	}
}

func TestOtherRequests(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	part := e.output(0, 0, 100)[0]
	sum := int64(adler32.Checksum(part))
	e.write("shuffle_0_0_0.checksum.ADLER32", binary.BigEndian.AppendUint64(nil, uint64(sum)))
	diagnose := func(sum int64, algorithm string) wire.Message {
		return wire.DiagnoseCorruption{AppID: "app", ExecID: "1", Checksum: sum, Algorithm: algorithm}
	}
	for _, tt := range []struct {
		m, want wire.Message
	}{
		{diagnose(sum, "ADLER32"), wire.CorruptionCause{Cause: wire.CauseChecksumPass}},
		{diagnose(1, "ADLER32"), wire.CorruptionCause{Cause: wire.CauseNetwork}},
		{diagnose(1, "CRC32"), wire.CorruptionCause{Cause: wire.CauseUnknown}},
		{diagnose(1, "MD5"), wire.CorruptionCause{Cause: wire.CauseUnsupportedAlgorithm}},
		{wire.RemoveBlocks{AppID: "app", ExecID: "1", BlockIDs: []string{"shuffle_0_0_0.index", "shuffle_0_0_0.data", "rdd_5_5", "../x"}}, wire.BlocksRemoved{N: 2}},
	} {
		if got, err := c.RPC(tt.m); err != nil || got != tt.want {
			t.Errorf("%+v: %+v, %v, want %+v", tt.m, got, err, tt.want)
		}
	}
	got, err := c.RPC(wire.GetLocalDirs{AppID: "app", ExecIDs: []string{"1"}})
	if dirs, ok := got.(wire.LocalDirs); err != nil || !ok || !slices.Equal(dirs.ExecIDs, []string{"1"}) || !slices.Equal(dirs.Dirs[0], e.loc.Dirs) {
		t.Errorf("local dirs %+v, %v", got, err)
	}
	// An upload is refused and ends the connection, since its bytes follow.
	c.Send(wire.Frame{Type: wire.UploadStream, RequestID: 77, Meta: []byte{12}, ByteCount: 1 << 20})
	if f, err := c.Next(); err != nil || f.Type != wire.RPCFailure || f.RequestID != 77 || !strings.Contains(f.Error, "Cannot handle shuffle block merge") {
		t.Errorf("upload: %+v, %v", f, err)
	}
	if _, err := c.Next(); err != io.EOF {
		t.Errorf("after the upload: %v, want the end", err)
	}
}

func TestAuthenticatedConnectionsKeepToTheirApplication(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.Auth = &auth.Config{Secrets: secretOf, Crypto: true, SASLFallback: true} })
	a := dial(t, s, &auth.Client{AppID: "a", Secret: "secret of a", Engine: true, EngineVersion: 1})
	b := dial(t, s, &auth.Client{AppID: "b", Secret: "secret of b"})
	ea := newExecutor(t, "a", "1")
	ea.register(a)
	ea.output(0, 0, 10)
	h, err := a.Open(wire.NewFetchShuffleBlocks("a", "1", 0, []int64{0}, [][]int32{{0}}, false))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Chunk(h.StreamID, 0)
	wantFailure(t, err, "Unknown stream ID")
	_, err = b.Stream(h.StreamID, 0)
	wantFailure(t, err, "Unknown stream ID")
	for _, m := range []wire.Message{
		wire.NewFetchShuffleBlocks("a", "1", 0, []int64{0}, [][]int32{{0}}, false),
		wire.OpenBlocks{AppID: "a", ExecID: "1", BlockIDs: wire.NewStringList("shuffle_0_0_0")},
		wire.RegisterExecutor{AppID: "a", ExecID: "1", LocalDirs: []string{"/tmp/x"}, SubDirs: 64},
		wire.RegisterDriver{AppID: "a", HeartbeatTimeoutMs: 1},
		wire.RemoveBlocks{AppID: "a", ExecID: "1", BlockIDs: []string{"shuffle_0_0_0.data"}},
		wire.GetLocalDirs{AppID: "a", ExecIDs: []string{"1"}},
		wire.GetLocalDirs{AppID: "a"},
		wire.DiagnoseCorruption{AppID: "a", ExecID: "1", Algorithm: "CRC32"},
	} {
		_, err := b.RPC(m)
		wantFailure(t, err, "Client for b not authorized for application a.")
	}
	if p, err := a.Chunk(h.StreamID, 0); err != nil || len(p) != 10 {
		t.Fatalf("the owner: %d bytes, %v", len(p), err)
	}
}

func TestNothingIsAnsweredBeforeAuthentication(t *testing.T) {
	s := start(t, func(c *shuffle.Config) {
		c.Auth = &auth.Config{Secrets: secretOf, Crypto: true, SASLFallback: true}
		c.AuthTimeout = 200 * time.Millisecond
	})
	t.Run("chunk, stream and one-way requests end the connection", func(t *testing.T) {
		for _, f := range []wire.Frame{{Type: wire.ChunkFetchRequest, StreamID: 1}, {Type: wire.StreamRequest, Stream: "1_0"},
			{Type: wire.OneWayMessage, Body: wire.AppendMessage(nil, wire.Heartbeat{AppID: "a"})}} {
			c := dial(t, s, nil)
			c.Send(f)
			if got, err := c.Next(); err != io.EOF {
				t.Errorf("%s: %+v, %v", f.Type, got, err)
			}
		}
	})
	t.Run("RPCs are taken for handshakes", func(t *testing.T) {
		c := dial(t, s, nil)
		for range 3 {
			_, err := c.RPC(wire.RegisterExecutor{AppID: "a", ExecID: "1", LocalDirs: []string{"/tmp"}, SubDirs: 64})
			wantFailure(t, err, "Expected SaslMessage")
		}
		if _, err := c.Next(); err != io.EOF {
			t.Errorf("after three attempts: %v", err)
		}
	})
	t.Run("large requests are refused", func(t *testing.T) {
		c := dial(t, s, nil)
		_, err := c.Call(make([]byte, 64<<10))
		wantFailure(t, err, "Too large frame")
	})
	t.Run("wrong secrets end the connection", func(t *testing.T) {
		_, err := peer.Dial(s.Addr().String(), &auth.Client{AppID: "a", Secret: "guess", Engine: true})
		wantFailure(t, err, "Authentication failed.")
		_, err = peer.Dial(s.Addr().String(), &auth.Client{AppID: "nobody", Secret: ""})
		wantFailure(t, err, "Authentication failed.")
	})
	t.Run("silence ends it too", func(t *testing.T) {
		if _, err := dial(t, s, nil).Next(); err != io.EOF {
			t.Errorf("got %v", err)
		}
	})
}

func TestSilentApplicationsAreRemovedWithTheirFiles(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.CleanerInterval = 20 * time.Millisecond; c.DataDir = t.TempDir() })
	c := dial(t, s, nil)
	silent, beating, undriven := newExecutor(t, "silent", "1"), newExecutor(t, "beating", "1"), newExecutor(t, "undriven", "1")
	for _, e := range []*executor{silent, beating, undriven} {
		e.register(c)
		e.output(0, 0, 10)
	}
	c.RPC(wire.RegisterDriver{AppID: "beating", HeartbeatTimeoutMs: 60_000})
	c.RPC(wire.RegisterDriver{AppID: "silent", HeartbeatTimeoutMs: 100})
	eventually(t, "the silent application's directories are gone", func() bool {
		return !exists(silent.loc.Dirs[0]) && !exists(silent.loc.Dirs[1])
	})
	for _, e := range []*executor{beating, undriven} {
		if !exists(e.path("shuffle_0_0_0.data")) {
			t.Errorf("%s lost its files", e.app)
		}
	}
	_, err := c.RPC(wire.GetLocalDirs{AppID: "silent", ExecIDs: []string{"1"}})
	wantFailure(t, err, "Executor is not registered")

	if err := s.RemoveApplication("undriven", false); err != nil {
		t.Fatal(err)
	}
	_, err = c.RPC(wire.GetLocalDirs{AppID: "undriven", ExecIDs: []string{"1"}})
	wantFailure(t, err, "Executor is not registered")
	if err := s.RemoveApplication("beating", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the directories of a removed application are gone", func() bool { return !exists(beating.loc.Dirs[0]) })
	if !exists(undriven.path("shuffle_0_0_0.data")) {
		t.Error("removed without cleanup, but the files are gone")
	}
}

func TestHeartbeatsKeepAnApplicationAlive(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.CleanerInterval = 10 * time.Millisecond })
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	c.RPC(wire.RegisterDriver{AppID: "app", HeartbeatTimeoutMs: 2000})
	start := time.Now()
	for time.Since(start) < 3*time.Second {
		if err := c.Send(wire.Frame{Type: wire.OneWayMessage, Body: wire.AppendMessage(nil, wire.Heartbeat{AppID: "app"})}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, err := c.RPC(wire.GetLocalDirs{AppID: "app", ExecIDs: []string{"1"}}); err != nil || !exists(e.loc.Dirs[0]) {
		t.Fatalf("removed although it was beating: %v", err)
	}
	eventually(t, "removed after the last beat", func() bool { return !exists(e.loc.Dirs[0]) })
}

func TestHealthAndMetrics(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.HTTPAddr = "127.0.0.1:0" })
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	e.output(0, 0, 1000)
	h, err := c.Open(wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0}}, false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Chunk(h.StreamID, 0); err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		resp, err := http.Get("http://" + s.HTTPAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", path, resp.Status, raw)
		}
		return string(raw)
	}
	var health struct {
		Status          string
		Apps, Executors int
	}
	if err := json.Unmarshal([]byte(get("/healthz")), &health); err != nil || health.Status != "ok" || health.Executors != 1 {
		t.Errorf("health %+v, %v", health, err)
	}
	text := get("/metrics")
	for _, line := range []string{"ha_dispatcher_shuffle_blocks_served_total 1", "ha_dispatcher_shuffle_block_bytes_total 1000",
		"ha_dispatcher_shuffle_registered_executors 1", "ha_dispatcher_shuffle_connections 1", "ha_dispatcher_shuffle_open_streams 0",
		`ha_dispatcher_shuffle_requests_total{message="RegisterExecutor",outcome="ok"} 1`, "ha_dispatcher_shuffle_request_memory_bytes 0"} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("metrics lack %q", line)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestPropertiesAreRead(t *testing.T) {
	t.Setenv("_SPARK_AUTH_SECRET", "")
	perApp := t.TempDir() + "/secrets"
	os.WriteFile(perApp, []byte("# comment\napp-1 first\n\napp-2   second\n"), 0o600)
	cfg, err := shuffle.FromProperties(map[string]string{
		"spark.shuffle.service.port": "7447", "spark.network.timeout": "300s", "spark.shuffle.cleaner.interval": "1min",
		"spark.shuffle.service.index.cache.size": "10m", "spark.shuffle.maxChunksBeingTransferred": "9223372036854775807",
		"spark.authenticate": "true", "spark.authenticate.secret": "common", "spark.shuffle.service.secretsFile": perApp,
		"spark.network.crypto.enabled": "true", "spark.network.crypto.authEngineVersion": "2",
		"spark.shuffle.service.allowedDirs": "/data, /mnt", "spark.unknown": "ignored",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Addr != ":7447" || cfg.IdleTimeout != 300*time.Second || cfg.CleanerInterval != time.Minute || cfg.IndexCacheBytes != 10<<20 ||
		cfg.MaxChunksInFlight != 0 || !slices.Equal(cfg.AllowedDirs, []string{"/data", "/mnt"}) {
		t.Errorf("read %+v", cfg)
	}
	if cfg.Auth == nil || !cfg.Auth.Crypto || cfg.Auth.EngineVersion != 2 || !cfg.Auth.SASLFallback {
		t.Fatalf("auth %+v", cfg.Auth)
	}
	for app, want := range map[string]string{"app-1": "first", "app-2": "second", "app-3": "common"} {
		if got, ok := cfg.Auth.Secrets(app); !ok || got != want {
			t.Errorf("secret of %s is %q", app, got)
		}
	}
	os.WriteFile(perApp, []byte("app-3 third, added later\napp"), 0o600)
	if got, _ := cfg.Auth.Secrets("app-1"); got != "first" {
		t.Errorf("a damaged file was taken over: %q", got)
	}
	os.WriteFile(perApp, []byte("app-3 third\n"), 0o600)
	if got, _ := cfg.Auth.Secrets("app-3"); got != "third" {
		t.Errorf("the changed file was not read: %q", got)
	}
	_, err = shuffle.FromProperties(map[string]string{"spark.shuffle.service.port": "70000", "spark.network.timeout": "soon",
		"spark.authenticate": "yes", "spark.shuffle.service.index.cache.size": "1.5g", "spark.shuffle.cleaner.interval": "-1"})
	for _, key := range []string{"service.port", "network.timeout", "spark.authenticate", "cache.size", "cleaner.interval"} {
		if !errors.Is(err, shuffle.ErrConfig) || !strings.Contains(err.Error(), key) {
			t.Errorf("error does not name %s: %v", key, err)
		}
	}
	if _, err := shuffle.FromProperties(map[string]string{"spark.authenticate": "true"}); err == nil || !strings.Contains(err.Error(), "there is no secret") {
		t.Errorf("authentication without a secret: %v", err)
	}
	os.Chmod(perApp, 0o644)
	if _, err := shuffle.FromProperties(map[string]string{"spark.authenticate": "true", "spark.shuffle.service.secretsFile": perApp}); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("secrets that everybody can read: %v", err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	cfg := shuffle.DefaultConfig()
	cfg.Addr, cfg.MaxRequestBytes = "127.0.0.1:0", 0
	if _, err := shuffle.New(cfg); !errors.Is(err, shuffle.ErrConfig) {
		t.Errorf("got %v", err)
	}
	cfg = shuffle.DefaultConfig()
	cfg.Addr = start(t, nil).Addr().String()
	if _, err := shuffle.New(cfg); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("port in use: %v", err)
	}
}
