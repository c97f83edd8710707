// Package peer is a client of an external shuffle service, packet by packet:
// what the registrar talks through, and what tests of the service and
// measurements beside others are made with. It pipelines as deep as its caller
// likes and checks nothing that it was not asked to.
package peer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// Client is one connection. One goroutine may send while another one reads;
// beyond that it is not safe for concurrent use.
type Client struct {
	Conn    net.Conn
	frames  *wire.Reader
	buf     *bufio.Reader
	channel auth.Channel
	nextID  int64
	out     []byte
}

// readBuffer is large so that reading blocks costs few system calls.
const readBuffer = 256 << 10

// maxFrame is more than any block in a test.
const maxFrame = 1 << 30

// Failure is a failure that the service answered.
type Failure struct{ Text string }

func (f *Failure) Error() string { return f.Text }

// Dial connects, and authenticates if handshake is not nil.
func Dial(addr string, handshake *auth.Client) (*Client, error) {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := New(nc, readBuffer, maxFrame)
	if handshake == nil {
		return c, nil
	}
	if err := c.Authenticate(handshake); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// New makes a client of a connection. buffer is the size of what is read at
// once, largest that of a frame.
func New(nc net.Conn, buffer int, largest int64) *Client {
	c := &Client{Conn: nc, buf: bufio.NewReaderSize(nc, buffer)}
	c.frames = wire.NewReader(c.buf, largest, nil)
	return c
}

// Authenticate does the handshake; it must be the first thing on a connection.
func (c *Client) Authenticate(handshake *auth.Client) error {
	channel, err := handshake.Run(func(body []byte) ([]byte, error) { return c.Call(body) })
	if err != nil {
		return err
	}
	if channel != nil {
		c.channel = channel
		c.frames.Reset(channel.Reader(c.Conn)) // the server never speaks first: nothing was read ahead
	}
	return nil
}

// Close closes the connection.
func (c *Client) Close() { c.Conn.Close() }

// Write sends bytes as they are, encrypted if the connection is.
func (c *Client) Write(p []byte) error {
	if c.channel != nil {
		p = c.channel.Seal(bytes.Clone(p))
	}
	_, err := c.Conn.Write(p)
	return err
}

// Send sends frames, in one write.
func (c *Client) Send(frames ...wire.Frame) error {
	c.out = c.out[:0]
	for _, f := range frames {
		c.out = wire.AppendFrame(c.out, f)
	}
	return c.Write(c.out)
}

// Next reads a frame; it is valid until the next call.
func (c *Client) Next() (wire.Frame, error) { return c.frames.Next() }

// Call sends the body of an RPC and gives the body of its answer.
func (c *Client) Call(body []byte) ([]byte, error) {
	c.nextID++
	if err := c.Send(wire.Frame{Type: wire.RPCRequest, RequestID: c.nextID, Body: body}); err != nil {
		return nil, err
	}
	f, err := c.Next()
	switch {
	case err != nil:
		return nil, err
	case f.RequestID != c.nextID:
		return nil, fmt.Errorf("answer to request %d, not %d", f.RequestID, c.nextID)
	case f.Type == wire.RPCFailure:
		return nil, &Failure{f.Error}
	case f.Type != wire.RPCResponse:
		return nil, fmt.Errorf("%s instead of an answer", f.Type)
	}
	return bytes.Clone(f.Body), nil
}

// RPC sends a message and decodes the answer; nil for an empty one.
func (c *Client) RPC(m wire.Message) (wire.Message, error) {
	raw, err := c.Call(wire.AppendMessage(nil, m))
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	return wire.DecodeMessage(raw)
}

// Open asks for a stream.
func (c *Client) Open(m wire.Message) (wire.StreamHandle, error) {
	answer, err := c.RPC(m)
	if err != nil {
		return wire.StreamHandle{}, err
	}
	h, ok := answer.(wire.StreamHandle)
	if !ok {
		return h, fmt.Errorf("%T instead of a stream handle", answer)
	}
	return h, nil
}

// Chunk fetches one chunk of a stream.
func (c *Client) Chunk(stream int64, index int32) ([]byte, error) {
	if err := c.Send(wire.Frame{Type: wire.ChunkFetchRequest, StreamID: stream, ChunkIndex: index}); err != nil {
		return nil, err
	}
	return c.ChunkReply(stream, index)
}

// ChunkReply reads the answer to a chunk request that was sent before.
func (c *Client) ChunkReply(stream int64, index int32) ([]byte, error) {
	f, err := c.Next()
	switch {
	case err != nil:
		return nil, err
	case f.StreamID != stream || f.ChunkIndex != index:
		return nil, fmt.Errorf("%s for chunk %d of %d, not %d of %d", f.Type, f.ChunkIndex, f.StreamID, index, stream)
	case f.Type == wire.ChunkFetchFailure:
		return nil, &Failure{f.Error}
	}
	return bytes.Clone(f.Body), nil
}

// Stream fetches one chunk the other way, for blocks that go to disk.
func (c *Client) Stream(stream int64, index int32) ([]byte, error) {
	name := fmt.Sprintf("%d_%d", stream, index)
	if err := c.Send(wire.Frame{Type: wire.StreamRequest, Stream: name}); err != nil {
		return nil, err
	}
	f, err := c.Next()
	switch {
	case err != nil:
		return nil, err
	case f.Type == wire.StreamFailure:
		return nil, &Failure{f.Error}
	case f.Type != wire.StreamResponse || f.Stream != name:
		return nil, fmt.Errorf("%s for %q instead of stream %q", f.Type, f.Stream, name)
	}
	p := make([]byte, f.ByteCount)
	_, err = io.ReadFull(c.frames.Raw(), p)
	return p, err
}

// SkipChunk reads past the answer to a chunk request without keeping it and
// returns the number of its bytes: the cheapest thing a client can do.
func (c *Client) SkipChunk() (int64, error) {
	c.frames.Raw() // done with the frame before, which may still be in the buffer
	head, err := c.buf.Peek(wire.ChunkHeaderSize)
	if err != nil {
		return 0, err
	}
	if wire.FrameType(head[8]) != wire.ChunkFetchSuccess {
		f, err := c.Next()
		if err == nil {
			err = errors.New(f.Error)
		}
		return 0, err
	}
	var length int64
	for _, b := range head[:8] {
		length = length<<8 | int64(b)
	}
	for left := length; left > 0; {
		n, err := c.buf.Discard(int(min(left, 1<<30)))
		if err != nil {
			return 0, err
		}
		left -= int64(n)
	}
	return length - wire.ChunkHeaderSize, nil
}

// Buffered is the number of bytes that can be read without waiting, beyond the
// last frame, which becomes invalid.
func (c *Client) Buffered() int {
	c.frames.Raw()
	return c.buf.Buffered()
}
