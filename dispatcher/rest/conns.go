package rest

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connTable keeps the number of connections below a limit. When there are too
// many it closes the one that has been quiet for longest: one between two
// requests or one that has not sent a request yet. So clients that only hold
// connections open cannot keep others out.
type connTable struct {
	max int

	mu    sync.Mutex
	open  map[net.Conn]*list.Element // nil element: in a request
	quiet *list.List                 // of net.Conn, the longest quiet one first
}

func newConnTable(most int) *connTable {
	return &connTable{max: most, open: make(map[net.Conn]*list.Element), quiet: list.New()}
}

// changed is a ConnState callback of http.Server.
func (t *connTable) changed(c net.Conn, state http.ConnState) {
	if victim := t.track(c, state); victim != nil {
		// The server's goroutine for it notices, and reports StateClosed.
		_ = victim.Close()
	}
}

func (t *connTable) track(c net.Conn, state http.ConnState) (victim net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.open[c]; e != nil {
		t.quiet.Remove(e)
		t.open[c] = nil
	}
	switch state {
	case http.StateNew, http.StateIdle:
		t.open[c] = t.quiet.PushBack(c)
	case http.StateActive:
		t.open[c] = nil
	case http.StateClosed, http.StateHijacked:
		delete(t.open, c)
	}
	if len(t.open) <= t.max || t.quiet.Len() == 0 {
		return nil
	}
	e := t.quiet.Front()
	victim = e.Value.(net.Conn)
	t.quiet.Remove(e)
	delete(t.open, victim)
	return victim
}
