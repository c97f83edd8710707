package shuffle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// open makes a stream available to this connection.
func (c *conn) open(s *stream) (wire.StreamHandle, error) {
	chunks := max(1, int64(s.total))
	if c.openChunks+chunks > c.s.cfg.MaxOpenChunks {
		c.s.metrics.refused.WithLabelValues("open_chunks").Inc()
		return wire.StreamHandle{}, fmt.Errorf("java.lang.IllegalStateException: %d chunks are open on this connection and %d more would exceed "+
			"spark.shuffle.service.maxOpenChunks=%d", c.openChunks, s.total, c.s.cfg.MaxOpenChunks)
	}
	if !c.s.streams.Acquire(s.bytes) {
		c.s.metrics.refused.WithLabelValues("no_memory").Inc()
		return wire.StreamHandle{}, fmt.Errorf("java.lang.IllegalStateException: %w", wire.ErrNoMemory)
	}
	id := c.s.streamIDs.Add(1)
	handle := wire.StreamHandle{StreamID: id, NumChunks: s.total}
	if s.total == 0 {
		c.s.streams.Release(s.bytes)
		return handle, nil
	}
	c.openChunks += chunks
	c.streams[id] = s
	c.s.metrics.openStreams.Inc()
	return handle, nil
}

func (c *conn) forget(id int64) {
	s := c.streams[id]
	delete(c.streams, id)
	c.openChunks -= int64(s.total)
	c.s.streams.Release(s.bytes)
	c.s.metrics.openStreams.Dec()
}

// errOverload closes the connection without an answer, as Spark does; its
// client then tries again later.
var errOverload = errors.New("too many chunks are being transferred (spark.shuffle.maxChunksBeingTransferred)")

// chunk finds the next block of a stream and advances the stream, whatever
// comes of it. The caller closes the block.
func (c *conn) chunk(id int64, index int32) (blocks.Block, error) {
	s := c.streams[id]
	switch {
	case s == nil && c.appID != "":
		return blocks.Block{}, errors.New("java.lang.SecurityException: Unknown stream ID.")
	case s == nil:
		return blocks.Block{}, fmt.Errorf("java.lang.IllegalStateException: Requested chunk not available since streamId %d is closed", id)
	case index >= s.total:
		return blocks.Block{}, fmt.Errorf("java.lang.IllegalStateException: Requested chunk index beyond end %d", index)
	case index != s.next:
		return blocks.Block{}, fmt.Errorf("java.lang.IllegalStateException: Received out-of-order chunk index %d (expected %d)", index, s.next)
	}
	b, err := c.find(s)
	s.next++
	s.sent += b.Len
	if s.next == s.total {
		c.s.access.stream(c, id, s)
		c.forget(id)
	}
	return b, err
}

func (c *conn) find(s *stream) (blocks.Block, error) {
	e, ok := c.s.registry.Executor(s.app, s.exec)
	if !ok {
		return blocks.Block{}, notRegistered(s.app, s.exec)
	}
	b, err := s.find(c.s.store, e)
	if err != nil {
		return b, fmt.Errorf("java.lang.RuntimeException: %w", err)
	}
	if s.next%touchEvery == 0 {
		e.Touch(c.s.now())
	}
	return b, nil
}

// touchEvery is how many chunks of a stream are one sign of life: reading the
// clock for each would cost a twentieth of a small one.
const touchEvery = 64

func notRegistered(app, exec string) error {
	return fmt.Errorf("java.lang.RuntimeException: Executor is not registered (appId=%s, execId=%s)", app, exec)
}

func (c *conn) fetchChunk(id int64, index int32) error {
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	b, err := c.chunk(id, index)
	if err == nil {
		defer b.Close()
		c.head = wire.AppendChunkHeader(c.head[:0], id, index, b.Len)
		err = c.out.block(c.head, b)
		if err == nil {
			c.s.metrics.sent(b.Len)
			return nil
		}
		if !errors.As(err, new(errBlock)) {
			return err
		}
	}
	c.s.failed(c, "chunk", err)
	return c.out.frame(wire.Frame{Type: wire.ChunkFetchFailure, StreamID: id, ChunkIndex: index, Error: err.Error()})
}

// fetchStream is fetchChunk for blocks that a client wants to write to disk:
// the block follows the frame instead of being in it.
func (c *conn) fetchStream(name string) error {
	leave, err := c.enter()
	if err != nil {
		return err
	}
	defer leave()
	id, index, err := parseStreamName(name)
	var b blocks.Block
	if err == nil {
		b, err = c.chunk(id, index)
	}
	if err == nil {
		defer b.Close()
		c.head = wire.AppendFrame(c.head[:0], wire.Frame{Type: wire.StreamResponse, Stream: name, ByteCount: b.Len})
		err = c.out.block(c.head, b)
		if err == nil {
			c.s.metrics.sent(b.Len)
			return nil
		}
		if !errors.As(err, new(errBlock)) {
			return err
		}
	}
	c.s.failed(c, "stream", err)
	return c.out.frame(wire.Frame{Type: wire.StreamFailure, Stream: name, Error: err.Error()})
}

// maxStreamName bounds "<stream>_<chunk>": two decimal numbers.
const maxStreamName = 64

func parseStreamName(name string) (id int64, index int32, err error) {
	stream, chunk, ok := strings.Cut(name, "_")
	id, err1 := strconv.ParseInt(stream, 10, 64)
	n, err2 := strconv.ParseInt(chunk, 10, 32)
	if !ok || err1 != nil || err2 != nil || len(name) > maxStreamName {
		return 0, 0, fmt.Errorf("java.lang.IllegalArgumentException: Stream '%.64s' was not found.", name)
	}
	return id, int32(n), nil
}

// enter counts a chunk in flight until leave is called.
func (c *conn) enter() (leave func(), err error) {
	n := c.s.inFlight.Add(1)
	if limit := c.s.cfg.MaxChunksInFlight; limit > 0 && n > limit {
		c.s.inFlight.Add(-1)
		c.s.metrics.refused.WithLabelValues("chunks_in_flight").Inc()
		return nil, errOverload
	}
	return c.s.leave, nil
}
