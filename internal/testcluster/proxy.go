package testcluster

import (
	"net"
	"sync"
)

type proxyMode int

const (
	proxyOpen proxyMode = iota
	proxyRefuse
	proxySilent
)

// proxy stands between one node and Mesos.
type proxy struct {
	ln     net.Listener
	target string
	work   sync.WaitGroup

	mu      sync.Mutex
	mode    proxyMode
	changed chan struct{} // closed when mode changes
	closed  bool
	held    int // connections whose bytes are held back
	conns   map[net.Conn]struct{}
}

func newProxy(target string) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{ln: ln, target: target, changed: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	p.work.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil || !p.keep(in, out) {
			in.Close()
			if out != nil {
				out.Close()
			}
			continue
		}
		p.work.Go(func() { p.copy(in, out) })
		p.work.Go(func() { p.copy(out, in) })
	}
}

// keep notes a pair of connections unless none may be made.
func (p *proxy) keep(pair ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == proxyRefuse {
		return false
	}
	for _, c := range pair {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *proxy) copy(from, to net.Conn) {
	defer p.forget(from, to)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.pass(from, n) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while nothing is let through; false: the connection is to end. n
// bytes wait.
func (p *proxy) pass(c net.Conn, n int) bool {
	for counted := false; ; {
		p.mu.Lock()
		_, kept := p.conns[c]
		mode, changed := p.mode, p.changed
		if wait := kept && mode == proxySilent && n > 0; wait && !counted {
			p.held++
			counted = true
		} else if !wait && counted {
			p.held--
		}
		p.mu.Unlock()
		if !kept || mode == proxyRefuse {
			return false
		}
		if mode == proxyOpen {
			return true
		}
		<-changed
	}
}

func (p *proxy) forget(pair ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range pair {
		delete(p.conns, c)
		c.Close()
	}
}

func (p *proxy) set(m proxyMode) {
	p.mu.Lock()
	p.mode = m
	p.wakeLocked()
	p.mu.Unlock()
	if m == proxyRefuse {
		p.drop()
	}
}

func (p *proxy) wakeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// drop breaks all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		delete(p.conns, c)
		c.Close()
	}
	p.wakeLocked()
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ln.Close()
	p.drop()
	p.work.Wait()
}

func (p *proxy) heldBack() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}
