// Package faultnet breaks the network between raftstore nodes of one process,
// over any transport: silent cuts in one or both directions, resets, delay.
//
// Every node gets its own view of the network, so that it is known who dials:
//
//	net := faultnet.New(raftstore.TCP{})
//	cfg.Transport = net.Node("127.0.0.1:9001") // the address it advertises
//	net.Isolate("127.0.0.1:9001")              // not a word in or out
//	net.Heal()
//
// A cut loses bytes and tells nobody: reads wait, writes seem to work, dials
// hang until then or until their context ends, as with a firewall that drops packets.
// Connections that lost bytes are closed by Heal.
package faultnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Net is a network that can be broken. Its methods are safe for concurrent use.
type Net struct {
	base raftstore.Transport

	mu       sync.Mutex
	cut      map[link]bool
	isolated map[string]bool
	delay    map[link]time.Duration
	conns    map[*conn]struct{}
}

type link struct{ from, to string }

// New makes a network on top of another one.
func New(base raftstore.Transport) *Net {
	return &Net{base: base, cut: map[link]bool{}, isolated: map[string]bool{},
		delay: map[link]time.Duration{}, conns: map[*conn]struct{}{}}
}

// Node is the transport of the node that advertises addr.
func (n *Net) Node(addr string) raftstore.Transport { return &view{n, addr} }

// Cut drops everything between two nodes.
func (n *Net) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay drops what from sends to to. Replies still come through on
// connections that exist; new ones cannot be made.
func (n *Net) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = true
}

// Isolate drops everything in and out of one node.
func (n *Net) Isolate(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isolated[addr] = true
}

// Delay makes every write from one node to another wait first. 0 ends it.
func (n *Net) Delay(from, to string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[link{from, to}] = d
}

// Reset breaks the connections between two nodes; new ones can be made.
func (n *Net) Reset(a, b string) {
	n.closeWhere(func(c *conn) bool { return c.is(link{a, b}) || c.is(link{b, a}) })
}

// Heal ends all cuts and isolation, and closes the connections that lost bytes.
func (n *Net) Heal() {
	n.mu.Lock()
	clear(n.cut)
	clear(n.isolated)
	n.mu.Unlock()
	n.closeWhere(func(c *conn) bool { return c.lost.Load() })
}

func (n *Net) closeWhere(match func(*conn) bool) {
	n.mu.Lock()
	var hit []*conn
	for c := range n.conns {
		if match(c) {
			hit = append(hit, c)
		}
	}
	n.mu.Unlock()
	for _, c := range hit {
		c.Close()
	}
}

func (n *Net) blocked(l link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.from != l.to && (n.cut[l] || n.isolated[l.from] || n.isolated[l.to])
}

func (n *Net) delayOf(l link) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delay[l]
}

// view is the network as one node dials into it. Accepted connections need no
// wrapper: the dialling side stops both directions.
type view struct {
	net  *Net
	self string
}

func (v *view) Listen(addr string) (net.Listener, error) { return v.net.base.Listen(addr) }

func (v *view) Dial(ctx context.Context, addr string) (net.Conn, error) {
	out := link{v.self, addr}
	for v.net.blocked(out) || v.net.blocked(link{addr, v.self}) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	base, err := v.net.base.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: base, net: v.net, out: out}
	v.net.mu.Lock()
	v.net.conns[c] = struct{}{}
	v.net.mu.Unlock()
	return c, nil
}

type conn struct {
	net.Conn
	net  *Net
	out  link        // the direction of writes
	lost atomic.Bool // bytes were dropped, so the stream is of no use any more
}

func (c *conn) is(l link) bool { return c.out == l }

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil && (c.lost.Load() || c.net.blocked(link{c.out.to, c.out.from})) {
			c.lost.Store(true)
			continue // dropped; deadlines still work
		}
		if err != nil && c.silenced(err) {
			// The other end was closed, but the news cannot get through.
			c.lost.Store(true)
			c.waitHealed()
		}
		return n, err
	}
}

// silenced: a FIN or RST would have to cross the cut.
func (c *conn) silenced(err error) bool {
	var ne net.Error
	ok := errors.As(err, &ne)
	return (!ok || !ne.Timeout()) && !c.gone() && c.net.blocked(link{c.out.to, c.out.from})
}

func (c *conn) waitHealed() {
	for c.net.blocked(link{c.out.to, c.out.from}) && !c.gone() {
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *conn) gone() bool {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	_, ok := c.net.conns[c]
	return !ok
}

func (c *conn) Write(p []byte) (int, error) {
	if d := c.net.delayOf(c.out); d > 0 {
		time.Sleep(d)
	}
	if c.lost.Load() || c.net.blocked(c.out) {
		if c.gone() {
			return 0, net.ErrClosed
		}
		c.lost.Store(true)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
