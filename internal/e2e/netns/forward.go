package netns

import (
	"io"
	"net"
	"sync"
)

// Forwarder passes connections on to another address: what listens on loopback
// only becomes reachable from a network.
type Forwarder struct {
	ln     net.Listener
	target string
	mu     sync.Mutex
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

// Forward listens on host, on a free port, and passes connections on to target.
func Forward(host, target string) (*Forwarder, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	f := &Forwarder{ln: ln, target: target, conns: make(map[net.Conn]bool)}
	f.wg.Go(f.accept)
	return f, nil
}

// Addr is where it listens.
func (f *Forwarder) Addr() string { return f.ln.Addr().String() }

// Close ends it with all its connections.
func (f *Forwarder) Close() {
	_ = f.ln.Close()
	f.mu.Lock()
	for c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *Forwarder) accept() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.serve(c) })
	}
}

func (f *Forwarder) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	up, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	if !f.hold(c) || !f.hold(up) {
		return
	}
	defer f.release(c, up)
	f.wg.Go(func() { pass(up, c) })
	pass(c, up)
}

// pass copies until one side ends, and then ends both.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func (f *Forwarder) hold(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		return false
	}
	f.conns[c] = true
	return true
}

func (f *Forwarder) release(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.conns, c)
	}
}
