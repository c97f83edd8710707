package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const maxReply = 1 << 20

// client is one client with at most one connection. Its methods are for one
// goroutine.
type client struct {
	cfg       *Config
	templates []*template
	at        int // the server it uses

	conn   net.Conn
	undo   func() bool // stops watching ctx
	reader *bufio.Reader
	buf    []byte
	body   bytes.Buffer
}

// unsentError says that a request never left, so nothing came of it.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// statusError is an answer other than 200.
type statusError struct {
	code  int
	reply reply
	text  string
}

func (e *statusError) Error() string {
	if e.reply.Message != "" {
		return fmt.Sprintf("HTTP %d: %s", e.code, e.reply.Message)
	}
	return fmt.Sprintf("HTTP %d: %.200s", e.code, e.text)
}

func (c *client) create(ctx context.Context, key string) (reply, error) {
	return c.do(ctx, func(t *template, b []byte) []byte { return t.appendCreate(b, key) })
}

func (c *client) status(ctx context.Context, id string) (reply, error) {
	return c.do(ctx, func(t *template, b []byte) []byte { return t.appendStatus(b, id) })
}

// do sends one request and reads its answer. After an error of the connection
// the next request goes to the next server.
func (c *client) do(ctx context.Context, write func(*template, []byte) []byte) (reply, error) {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			c.at = (c.at + 1) % len(c.templates)
			return reply{}, unsentError{err}
		}
	}
	deadline := time.Now().Add(c.cfg.Timeout)
	if err := c.conn.SetDeadline(deadline); err != nil {
		c.drop()
		return reply{}, unsentError{err}
	}
	c.buf = write(c.templates[c.at], c.buf[:0])
	if _, err := c.conn.Write(c.buf); err != nil {
		c.drop() // a part may have arrived, but no server acts on a part
		c.at = (c.at + 1) % len(c.templates)
		return reply{}, unsentError{err}
	}
	r, keep, err := c.read()
	if !keep {
		c.drop()
	}
	var refused *statusError
	if err != nil && !errors.As(err, &refused) {
		c.at = (c.at + 1) % len(c.templates)
	}
	return r, err
}

func (c *client) read() (r reply, keep bool, err error) {
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return r, false, err
	}
	defer resp.Body.Close()
	c.body.Reset()
	if _, err := c.body.ReadFrom(io.LimitReader(resp.Body, maxReply)); err != nil {
		return r, false, err
	}
	keep = !resp.Close && !c.cfg.CloseConnections && c.body.Len() < maxReply
	err = json.Unmarshal(c.body.Bytes(), &r)
	if resp.StatusCode != http.StatusOK {
		return r, keep, &statusError{resp.StatusCode, r, c.body.String()}
	}
	return r, keep, err
}

func (c *client) connect(ctx context.Context) error {
	u := c.templates[c.at].base
	dialer := net.Dialer{Timeout: c.cfg.Timeout}
	var conn net.Conn
	var err error
	if u.Scheme == "https" {
		conn, err = (&tls.Dialer{NetDialer: &dialer}).DialContext(ctx, "tcp", address(u))
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", address(u))
	}
	if err != nil {
		return err
	}
	c.conn = conn
	c.undo = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if c.reader == nil {
		c.reader = bufio.NewReaderSize(conn, 8<<10)
	} else {
		c.reader.Reset(conn)
	}
	return nil
}

func (c *client) drop() {
	if c.conn != nil {
		c.undo()
		_ = c.conn.Close()
		c.conn = nil
	}
}
