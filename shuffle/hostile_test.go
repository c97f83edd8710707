package shuffle_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

func rpcHead(length int64) []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(length))
	p = append(p, byte(wire.RPCRequest))
	return binary.BigEndian.AppendUint64(p, 42)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestHugeFramesAreRefusedWithAReason(t *testing.T) {
	s := start(t, nil)
	before := heap()
	for _, length := range []int64{17 << 20, 192 << 20, 1<<31 - 1, 1 << 40, 1<<63 - 1} {
		c := dial(t, s, nil)
		c.Write(rpcHead(length))
		f, err := c.Next()
		if err != nil || f.Type != wire.RPCFailure || f.RequestID != 42 || !strings.Contains(f.Error, "Too large frame") {
			t.Errorf("%d bytes: %+v, %v", length, f, err)
		}
		if _, err := c.Next(); err != io.EOF {
			t.Errorf("%d bytes: the connection goes on: %v", length, err)
		}
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestUnfinishedFramesShareABudget(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.MemoryBytes = 64 << 20; c.MaxRequestBytes = 192 << 20 })
	honest := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(honest)
	part := e.output(0, 0, 5000)[0]
	before := heap()
	refused := make(chan string, 8)
	for range cap(refused) { // each sends most of a request of 192 MiB and never the rest
		c := dial(t, s, nil)
		go func() {
			c.Write(rpcHead(192 << 20))
			junk := make([]byte, 1<<20)
			for range 150 {
				if c.Write(junk) != nil {
					break
				}
			}
		}()
		go func() {
			f, err := c.Next()
			if err != nil {
				refused <- err.Error() // the answer can be lost in the reset that follows it
				return
			}
			refused <- f.Error
		}()
	}
	eventually(t, "all but those that fit are refused", func() bool { return len(refused) >= 7 })
	if grown := heap() - before; grown > 120<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	h, err := honest.Open(wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0}}, false))
	if err != nil {
		t.Fatalf("an honest client cannot work: %v", err)
	}
	if p, err := honest.Chunk(h.StreamID, 0); err != nil || !bytes.Equal(p, part) {
		t.Fatalf("an honest client got %d bytes, %v", len(p), err)
	}
}

func TestOpenStreamsAreBounded(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.MaxOpenChunks = 1000; c.MemoryBytes = 128 << 10 })
	c := dial(t, s, nil)
	open := wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{make([]int32, 400)}, false)
	for range 2 {
		if _, err := c.Open(open); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Open(open)
	wantFailure(t, err, "maxOpenChunks")
	eventually(t, "all connections together hit the budget", func() bool {
		_, err := dial(t, s, nil).Open(open)
		if err == nil {
			return false
		}
		wantFailure(t, err, "no memory left for large requests")
		return true
	})
	c.Close()
	eventually(t, "a closed connection gives its share back", func() bool {
		_, err := dial(t, s, nil).Open(open)
		return err == nil
	})
}

func TestHalfOpenAndSlowPeersAreDropped(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.IdleTimeout = 300 * time.Millisecond })
	t.Run("silent", func(t *testing.T) {
		if _, err := dial(t, s, nil).Next(); err != io.EOF {
			t.Errorf("got %v", err)
		}
	})
	t.Run("half a frame", func(t *testing.T) {
		c := dial(t, s, nil)
		c.Write(rpcHead(1000))
		if _, err := c.Next(); err != io.EOF {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a frame drawn out", func(t *testing.T) {
		c := dial(t, s, nil)
		c.Write(rpcHead(1 << 20))
		for start := time.Now(); c.Write([]byte{0}) == nil; time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 20*time.Second {
				t.Fatal("a byte now and then keeps a request open for ever")
			}
		}
	})
	t.Run("takes nothing of its answer", func(t *testing.T) {
		e := newExecutor(t, "app", "1")
		e.output(0, 0, 64<<20)
		c := dial(t, s, nil)
		e.register(c)
		h, err := c.Open(wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0}}, false))
		if err != nil {
			t.Fatal(err)
		}
		c.Send(wire.Frame{Type: wire.ChunkFetchRequest, StreamID: h.StreamID})
		eventually(t, "the connection is dropped", func() bool { return metric(s, "ha_dispatcher_shuffle_connections") == "0" })
	})
}

func TestBlocksInFlightAreBounded(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.MaxChunksInFlight = 1 })
	e := newExecutor(t, "app", "1")
	stuck, other := dial(t, s, nil), dial(t, s, nil)
	e.register(stuck)
	e.output(0, 0, 64<<20)
	fetch := wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0}}, false)
	for i, c := range []*peer.Client{stuck, other} {
		h, err := c.Open(fetch)
		if err != nil {
			t.Fatal(err)
		}
		c.Send(wire.Frame{Type: wire.ChunkFetchRequest, StreamID: h.StreamID})
		if i == 0 {
			eventually(t, "the first block is on its way", func() bool { return metric(s, "ha_dispatcher_shuffle_chunks_in_flight") == "1" })
		}
	}
	if _, err := other.Next(); err != io.EOF {
		t.Errorf("a block beyond the bound: %v, want the connection closed", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := start(t, func(c *shuffle.Config) { c.MaxConnections = 1 })
	first := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(first)
	if f, err := dial(t, s, nil).Next(); err == nil {
		t.Errorf("second connection: %+v", f)
	}
	e.register(first)
	first.Close()
	eventually(t, "there is room again", func() bool {
		_, err := dial(t, s, nil).RPC(wire.GetLocalDirs{AppID: "app", ExecIDs: []string{"1"}})
		return err == nil
	})
}

func TestFilesThatVanishGiveAFailure(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s, nil)
	e := newExecutor(t, "app", "1")
	e.register(c)
	e.output(0, 0, 10, 10)
	h, err := c.Open(wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0, 1}}, false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Chunk(h.StreamID, 0); err != nil {
		t.Fatal(err)
	}
	e.write("shuffle_0_0_0.data", []byte("short"))
	_, err = c.Chunk(h.StreamID, 1)
	wantFailure(t, err, "its data file has 5")
	if strings.Contains(err.Error(), e.loc.Dirs[0]) {
		t.Errorf("the failure tells the directory: %v", err)
	}
}

// FuzzConnection feeds a service what a hostile client could send. It must
// neither crash nor hang, and the connection must end with its input.
func FuzzConnection(f *testing.F) {
	f.Add(wire.AppendFrame(nil, wire.Frame{Type: wire.RPCRequest, Body: wire.AppendMessage(nil, wire.OpenBlocks{AppID: "app", ExecID: "1", BlockIDs: wire.NewStringList("shuffle_0_0_0")})}))
	f.Add(wire.AppendFrame(nil, wire.Frame{Type: wire.RPCRequest, Body: wire.AppendMessage(nil, wire.NewFetchShuffleBlocks("app", "1", 0, []int64{0}, [][]int32{{0, 1}}, true))}))
	f.Add(wire.AppendFrame(nil, wire.Frame{Type: wire.ChunkFetchRequest, StreamID: 1}))
	f.Add(wire.AppendFrame(nil, wire.Frame{Type: wire.StreamRequest, Stream: "1_0"}))
	f.Add(wire.AppendFrame(nil, wire.Frame{Type: wire.OneWayMessage, Body: wire.AppendMessage(nil, wire.Heartbeat{AppID: "app"})}))
	f.Add(rpcHead(1 << 40))
	s := start(f, func(c *shuffle.Config) { c.IdleTimeout = time.Second; c.MaxRequestBytes = 64 << 10 })
	setup := dial(f, s, nil)
	e := newExecutor(f, "app", "1")
	e.register(setup)
	e.output(0, 0, 10, 20)
	f.Fuzz(func(t *testing.T, p []byte) {
		nc, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		nc.Write(p)
		nc.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, nc); err != nil && context.Cause(t.Context()) == nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("the connection does not end: %v", err)
		}
	})
}
