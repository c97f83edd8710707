package raftstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// What a connection is for. The first byte of each says it; the values are
// part of the wire protocol and never reused.
const (
	kindRaft     byte = 'R' // hashicorp/raft's network transport
	kindRPC      byte = 'C' // calls between stores, net/rpc
	kindLiveness byte = 'L' // hello, then echo; see liveness.go
)

const (
	protocolVersion  = 1
	handshakeTimeout = 5 * time.Second
	maxConns         = 1024
)

// mux owns the node's one port and every connection in or out of it, so that
// closing it leaves nothing behind.
type mux struct {
	id        string
	advertise string
	transport Transport
	tls       *tlsFiles
	log       *slog.Logger
	ln        net.Listener
	raftConns chan net.Conn
	serve     map[byte]func(conn net.Conn, from string)
	resolve   func(addr string) string // member id at an address, "" if unknown

	closed chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
}

func newMux(cfg Config, files *tlsFiles) (*mux, error) {
	ln, err := cfg.Transport.Listen(cfg.BindAddr)
	if err != nil {
		return nil, fmt.Errorf("raftstore: listen on %s: %w", cfg.BindAddr, err)
	}
	m := &mux{
		id: cfg.NodeID, advertise: cfg.AdvertiseAddr, transport: cfg.Transport, tls: files,
		log: cfg.Logger, ln: ln,
		raftConns: make(chan net.Conn), closed: make(chan struct{}),
		serve: map[byte]func(net.Conn, string){}, conns: map[net.Conn]struct{}{},
		resolve: func(string) string { return "" },
	}
	if m.advertise == "" {
		m.advertise = ln.Addr().String()
	}
	m.serve[kindRaft] = m.offerRaft
	return m, nil
}

// start begins to accept; serve and resolve must be set before.
func (m *mux) start() {
	m.wg.Go(m.acceptLoop)
}

func (m *mux) acceptLoop() {
	delay := time.Duration(0)
	for {
		conn, err := m.ln.Accept()
		if err == nil {
			delay = 0
			if m.full() {
				conn.Close()
				continue
			}
			if !m.track(conn) {
				conn.Close()
				return
			}
			m.wg.Go(func() { m.accepted(conn) })
			continue
		}
		select {
		case <-m.closed:
			return
		default:
		}
		// Out of file descriptors, most likely: wait a little, do not spin.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		m.log.Error("raftstore: accept failed", "error", err)
		select {
		case <-m.closed:
			return
		case <-time.After(delay):
		}
	}
}

func (m *mux) accepted(raw net.Conn) {
	defer m.untrack(raw)
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	conn, kind, from, err := m.greet(raw)
	if err != nil {
		raw.Close()
		if !errors.Is(err, io.EOF) {
			m.log.Warn("raftstore: connection refused", "remote", raw.RemoteAddr().String(), "error", err)
		}
		return
	}
	raw.SetDeadline(time.Time{})
	tc := &muxConn{Conn: conn, done: make(chan struct{})}
	m.serve[kind](tc, from)
	// raft's handler runs on its own goroutine; keep the connection tracked
	// until it has closed it.
	if kind == kindRaft {
		select {
		case <-tc.done:
		case <-m.closed:
		}
	}
	tc.Close()
}

// greet does TLS and reads the preamble: kind, protocol version, who dials,
// and whom it believes to have dialled ("" = anybody).
func (m *mux) greet(conn net.Conn) (net.Conn, byte, string, error) {
	if m.tls != nil {
		tc := tls.Server(conn, m.tls.server())
		if err := tc.Handshake(); err != nil {
			return nil, 0, "", fmt.Errorf("TLS: %w", err)
		}
		conn = tc
	}
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, 0, "", err
	}
	if m.serve[head[0]] == nil || head[1] != protocolVersion {
		return nil, 0, "", fmt.Errorf("not a raftstore peer, or another protocol version (first bytes % x)", head)
	}
	from, err := readShort(conn)
	if err != nil {
		return nil, 0, "", err
	}
	target, err := readShort(conn)
	if err != nil {
		return nil, 0, "", err
	}
	if target != "" && target != m.id {
		return nil, 0, "", fmt.Errorf("%w: %q dialled %q, but this is %q", ErrWrongNode, from, target, m.id)
	}
	if tc, ok := conn.(*tls.Conn); ok && !names(tc.ConnectionState().PeerCertificates[0], from) {
		return nil, 0, "", fmt.Errorf("%w: certificate does not name node %q", ErrUntrusted, from)
	}
	return conn, head[0], from, nil
}

// dial connects to addr for one purpose. target is the node expected there.
func (m *mux) dial(ctx context.Context, kind byte, addr, target string) (net.Conn, error) {
	raw, err := m.transport.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if !m.track(raw) {
		raw.Close()
		return nil, ErrClosed
	}
	conn, err := m.introduce(ctx, raw, kind, target)
	if err != nil {
		raw.Close()
		m.untrack(raw)
		return nil, err
	}
	return &muxConn{Conn: conn, done: make(chan struct{}), onClose: func() { m.untrack(raw) }}, nil
}

func (m *mux) introduce(ctx context.Context, conn net.Conn, kind byte, target string) (net.Conn, error) {
	deadline := time.Now().Add(handshakeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	conn.SetDeadline(deadline)
	if m.tls != nil {
		cfg, err := m.tls.client(target)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(conn, cfg)
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS with %q: %w", target, err)
		}
		conn = tc
	}
	pre := append([]byte{kind, protocolVersion, byte(len(m.id))}, m.id...)
	pre = append(append(pre, byte(len(target))), target...)
	if _, err := conn.Write(pre); err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

func readShort(r io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	if n[0] > 63 {
		return "", errors.New("node id too long in preamble")
	}
	b := make([]byte, n[0])
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	if n[0] > 0 && !validID(string(b)) {
		return "", errors.New("invalid node id in preamble")
	}
	return string(b), nil
}

func (m *mux) track(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil {
		return false
	}
	m.conns[c] = struct{}{}
	return true
}

// full: a cluster of any sane size is far below.
func (m *mux) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns) >= maxConns
}

func (m *mux) untrack(c net.Conn) {
	m.mu.Lock()
	delete(m.conns, c)
	m.mu.Unlock()
}

// cut closes the port and every connection at once.
func (m *mux) cut() {
	m.mu.Lock()
	conns := m.conns
	m.conns = nil
	if conns != nil {
		close(m.closed)
	}
	m.mu.Unlock()
	m.ln.Close()
	for c := range conns {
		c.Close()
	}
}

func (m *mux) wait() { m.wg.Wait() }

// muxConn tells when it was closed.
type muxConn struct {
	net.Conn
	once    sync.Once
	done    chan struct{}
	onClose func()
}

func (c *muxConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		close(c.done)
		if c.onClose != nil {
			c.onClose()
		}
	})
	return err
}

// The rest makes mux the raft.StreamLayer of hashicorp's NetworkTransport.

func (m *mux) offerRaft(conn net.Conn, _ string) {
	select {
	case m.raftConns <- conn:
	case <-m.closed:
	}
}

type raftStream struct{ *mux }

func (s raftStream) Accept() (net.Conn, error) {
	select {
	case c := <-s.raftConns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close is called when raft shuts down; the mux is closed later, by its owner.
func (s raftStream) Close() error { return nil }

func (s raftStream) Addr() net.Addr { return advertised(s.advertise) }

func (s raftStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dial(ctx, kindRaft, string(addr), s.resolve(string(addr)))
}

type advertised string

func (advertised) Network() string  { return "raftstore" }
func (a advertised) String() string { return string(a) }
