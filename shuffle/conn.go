package shuffle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// readBuffer holds the small frames of a connection; requests that are larger
// than it take memory from the service's budget.
const readBuffer = 4 << 10

// conn serves one connection with one goroutine: it takes a request, answers
// it, and takes the next. While an answer cannot be written nothing is read, so
// a client that does not take its blocks is not asked for more; and answers are
// gathered until the next read would have to wait.
type conn struct {
	s        *Service
	nc       net.Conn
	remote   string
	in       *wire.Reader
	out      *output
	deadline time.Time // of reads
	inFrame  bool      // a request has begun and its deadline stands

	appID     string          // authenticated as; "" without authentication
	handshake *auth.Handshake // nil: authenticated, or nothing to authenticate
	failures  int             // of handshakes

	streams    map[int64]*stream
	openChunks int64
	head       []byte // of the block to be sent
}

// maxHandshakes is how often a peer may start over: a client with
// spark.network.crypto.enabled tries SASL after its first attempt.
const maxHandshakes = 3

// maxHandshakeFrame is what a peer may send before we know who it is.
const maxHandshakeFrame = 32 << 10

// errHangUp ends a connection after what is queued was sent; the reason is logged.
type errHangUp struct{ reason error }

func (e errHangUp) Error() string { return e.reason.Error() }
func (e errHangUp) Unwrap() error { return e.reason }

func (s *Service) newConn(nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, remote: nc.RemoteAddr().String(), streams: map[int64]*stream{},
		out: newOutput(nc, s.cfg.IdleTimeout, s.cfg.SendfileBytes)}
	c.in = wire.NewReader(bufio.NewReaderSize(connReader{c}, readBuffer), s.cfg.MaxRequestBytes, &s.frames)
	c.in.Started = func() { c.inFrame = true }
	if s.cfg.Auth != nil {
		c.handshake = auth.NewHandshake(s.cfg.Auth)
		c.in.SetMax(min(maxHandshakeFrame, s.cfg.MaxRequestBytes))
		c.deadline = time.Now().Add(s.cfg.AuthTimeout)
		nc.SetReadDeadline(c.deadline)
	}
	return c
}

// connReader reads from the network for a conn: before it waits it sends what
// is gathered, and gives the peer time.
type connReader struct{ c *conn }

func (r connReader) Read(p []byte) (int, error) {
	if err := r.c.out.flush(); err != nil {
		return 0, err
	}
	if err := r.c.extend(); err != nil {
		return 0, err
	}
	return r.c.nc.Read(p)
}

// extend moves the read deadline between requests. It stands still within one,
// so that a request cannot be drawn out, and until the peer has authenticated.
func (c *conn) extend() error {
	if c.inFrame || c.handshake != nil {
		return nil
	}
	now, timeout := time.Now(), c.s.cfg.IdleTimeout
	if c.deadline.Sub(now) > timeout-timeout/8 {
		return nil
	}
	c.deadline = now.Add(timeout)
	return c.nc.SetReadDeadline(c.deadline)
}

// serve runs until the connection ends, and reports why if that is worth a log line.
func (c *conn) serve() error {
	defer c.close()
	for {
		c.inFrame = false
		f, err := c.in.Next()
		if err != nil {
			return c.readFailed(err)
		}
		if err := c.handle(f); err != nil {
			_ = c.out.flush() // the answers before; err says why there are no more
			if errors.As(err, new(errHangUp)) {
				c.linger()
			}
			return err
		}
	}
}

func (c *conn) close() {
	c.in.Close()
	for id := range c.streams {
		c.forget(id)
	}
	c.out.release()
	c.nc.Close()
}

// readFailed answers a refused frame where it can, and sorts out the ends of
// connections that nobody needs to hear about.
func (c *conn) readFailed(err error) error {
	var refused *wire.FrameError
	switch {
	case errors.As(err, &refused):
		c.s.metrics.refused.WithLabelValues(refusal(err)).Inc()
		if refused.Known {
			c.lastWords(refused.RequestID, fmt.Errorf("java.lang.IllegalArgumentException: %w", refused))
			c.linger()
		}
		return err
	case errors.Is(err, wire.ErrMalformed):
		c.s.metrics.refused.WithLabelValues("malformed").Inc()
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.s.metrics.refused.WithLabelValues("timeout").Inc()
		if c.inFrame || c.handshake != nil || len(c.streams) > 0 {
			return fmt.Errorf("peer was silent for too long: %w", err)
		}
		return nil
	case errors.Is(err, auth.ErrTampered):
		c.s.metrics.refused.WithLabelValues("tampered").Inc()
		return err
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return nil
	}
	return err
}

// lastWords answers a request before the connection is closed; the answer may
// be lost with it.
func (c *conn) lastWords(requestID int64, err error) {
	_ = c.fail(requestID, err)
	_ = c.out.flush()
}

// linger lets the peer read the last answer: closing a socket with unread
// input would reset the connection and could destroy it.
func (c *conn) linger() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // on a broken connection there is nobody to say it to
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
}

const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

func refusal(err error) string {
	switch {
	case errors.Is(err, wire.ErrFrameTooLarge):
		return "too_large"
	case errors.Is(err, wire.ErrNoMemory):
		return "no_memory"
	}
	return "malformed"
}

// handle answers one frame. An error ends the connection.
func (c *conn) handle(f wire.Frame) error {
	if c.handshake != nil {
		return c.authenticate(f)
	}
	switch f.Type {
	case wire.ChunkFetchRequest:
		return c.fetchChunk(f.StreamID, f.ChunkIndex)
	case wire.StreamRequest:
		return c.fetchStream(f.Stream)
	case wire.RPCRequest:
		return c.rpc(f)
	case wire.OneWayMessage:
		c.oneWay(f.Body)
		return nil
	case wire.MergedBlockMetaRequest:
		return c.fail(f.RequestID, unsupported("Cannot handle shuffle block merge"))
	case wire.UploadStream:
		err := unsupported("Cannot handle shuffle block merge")
		c.lastWords(f.RequestID, err)
		return errHangUp{err} // its raw bytes follow, and nobody wants them
	}
	return errHangUp{fmt.Errorf("%w: %s is not a request", wire.ErrMalformed, f.Type)}
}

// authenticate feeds the handshake. Nothing else is answered before it is done.
func (c *conn) authenticate(f wire.Frame) error {
	if f.Type != wire.RPCRequest {
		c.s.metrics.auth.WithLabelValues("none", "refused").Inc()
		return errHangUp{fmt.Errorf("%s before authentication", f.Type)}
	}
	reply, err := c.handshake.Receive(f.Body)
	if err != nil {
		c.failures++
		c.s.metrics.auth.WithLabelValues("unknown", "failed").Inc()
		failed := c.fail(f.RequestID, fmt.Errorf("java.lang.IllegalArgumentException: %w", err))
		var e *auth.Error
		if errors.As(err, &e) && e.Fatal || c.failures >= maxHandshakes {
			return errHangUp{err}
		}
		return failed
	}
	if err := c.out.frame(wire.Frame{Type: wire.RPCResponse, RequestID: f.RequestID, Body: reply}); err != nil {
		return err
	}
	if session := c.handshake.Session(); session != nil {
		return c.authenticated(session)
	}
	return nil
}

func (c *conn) authenticated(session *auth.Session) error {
	c.s.metrics.auth.WithLabelValues(session.Mechanism, "ok").Inc()
	c.s.log.Debug("connection authenticated", "remote", c.remote, "app", session.AppID, "mechanism", session.Mechanism)
	c.handshake, c.appID = nil, session.AppID
	c.in.SetMax(c.s.cfg.MaxRequestBytes)
	if session.Channel == nil {
		return nil
	}
	if err := c.out.flush(); err != nil { // the answer itself goes in the clear
		return err
	}
	c.out.channel = session.Channel
	sealed := &sealedReader{c: c}
	ahead := c.in.Reset(sealed)
	sealed.plain = session.Channel.Reader(io.MultiReader(bytes.NewReader(ahead), connReader{c}))
	return nil
}

// sealedReader decrypts. What was gathered must be sent before waiting, also
// when the bytes to decrypt have been read ahead; connReader does both.
type sealedReader struct {
	c     *conn
	plain io.Reader
}

func (r *sealedReader) Read(p []byte) (int, error) { return r.plain.Read(p) }
