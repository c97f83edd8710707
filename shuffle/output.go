package shuffle

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

const (
	// gatherSize is how much is gathered before it is written: room for a block
	// of 64 KiB and some small ones.
	gatherSize = 128 << 10
	// maxGathered is the largest block that is gathered when nothing encrypts.
	maxGathered     = 64 << 10
	defaultSendfile = 64 << 10
	// sendPiece is how much of a large block goes out under one write deadline.
	sendPiece = 8 << 20
)

// gatherBuffers keeps the write buffers; a connection holds one only while it
// has something to write, so that idle connections are cheap.
var gatherBuffers = sync.Pool{New: func() any { return new([gatherSize]byte) }}

// output writes frames to one connection: small ones are gathered and written
// together, large blocks go from file to socket inside the kernel.
type output struct {
	nc       net.Conn
	raw      syscall.RawConn // nil: not a TCP connection
	channel  auth.Channel    // nil: clear
	timeout  time.Duration
	sendfile int64
	deadline time.Time
	pooled   *[gatherSize]byte
	buf      []byte
}

func newOutput(nc net.Conn, timeout time.Duration, sendfile int64) *output {
	o := &output{nc: nc, timeout: timeout, sendfile: min(sendfile, maxGathered)}
	if tcp, ok := nc.(*net.TCPConn); ok {
		o.raw, _ = tcp.SyscallConn()
	}
	return o
}

// take makes sure that there is a buffer.
func (o *output) take() {
	if o.pooled == nil {
		o.pooled = gatherBuffers.Get().(*[gatherSize]byte)
		o.buf = o.pooled[:0]
	}
}

// frame queues a frame without raw bytes after it.
func (o *output) frame(f wire.Frame) error {
	o.take()
	o.buf = wire.AppendFrame(o.buf, f)
	if len(o.buf) >= gatherSize {
		return o.flush()
	}
	return nil
}

// errBlock says that a block could not be read before any of it was sent, so
// that a failure can be answered instead.
type errBlock struct{ error }

// block queues head and the block after it. An errBlock leaves the
// connection in step; after any other error it must be closed.
func (o *output) block(head []byte, b blocks.Block) error {
	if o.channel == nil && o.raw != nil && b.Len >= o.sendfile {
		return o.large(head, b)
	}
	o.take()
	if len(o.buf)+len(head)+int(min(b.Len, maxGathered)) > gatherSize {
		if err := o.flush(); err != nil {
			return err
		}
		o.take()
	}
	start := len(o.buf)
	o.buf = append(o.buf, head...)
	for off := int64(0); off < b.Len; {
		room := o.buf[len(o.buf):gatherSize]
		n, err := b.ReadAt(room[:min(int64(len(room)), b.Len-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			if off > 0 {
				return fmt.Errorf("block cut short at %d of %d bytes: %w", off, b.Len, err)
			}
			o.buf = o.buf[:start]
			return errBlock{err}
		}
		off += int64(n)
		o.buf = o.buf[:len(o.buf)+n]
		if off < b.Len {
			if err := o.flush(); err != nil {
				return err
			}
			o.take()
		}
	}
	return nil
}

// large sends what is gathered, marked as having more to come, and the block
// without copying it.
func (o *output) large(head []byte, b blocks.Block) error {
	o.take()
	o.buf = append(o.buf, head...)
	if err := o.extend(); err != nil {
		return err
	}
	if err := writeMore(o.nc, o.raw, o.buf); err != nil {
		return err
	}
	o.release()
	for off := int64(0); off < b.Len; {
		if err := o.extend(); err != nil {
			return err
		}
		n, err := sendfile(o.nc, o.raw, b, off, min(sendPiece, b.Len-off))
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}

// flush writes what is gathered.
func (o *output) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	if err := o.extend(); err != nil {
		return err
	}
	p := o.buf
	if o.channel != nil {
		p = o.channel.Seal(p)
	}
	_, err := o.nc.Write(p)
	o.release()
	return err
}

// release gives the buffer back; large frames made it grow and are dropped.
func (o *output) release() {
	if o.pooled != nil {
		gatherBuffers.Put(o.pooled)
		o.pooled = nil
	}
	o.buf = nil
}

// extend moves the write deadline, if it is worth the effort.
func (o *output) extend() error {
	now := time.Now()
	if o.deadline.Sub(now) > o.timeout-o.timeout/8 {
		return nil
	}
	o.deadline = now.Add(o.timeout)
	return o.nc.SetWriteDeadline(o.deadline)
}
