package testcluster

import (
	"context"
	"errors"
	"sync"
)

// Action is what happens to the node that comes to an armed failpoint.
type Action int

// The actions.
const (
	CrashThere Action = iota // the node crashes and does nothing more
	HoldThere                // it waits there until Trap.Release
	FailThere                // it gets ErrInjected
)

// ErrInjected is the error of FailThere.
var ErrInjected = errors.New("injected by the test")

// Trap is one armed failpoint. It snaps once.
type Trap struct {
	name    string
	only    *Node // nil: whoever comes first
	action  Action
	caught  chan struct{} // closed when somebody came
	done    chan struct{} // closed when the crash is over
	release chan struct{}
	once    sync.Once
	node    *Node
}

// Caught is closed when a node has come to the place.
func (t *Trap) Caught() <-chan struct{} { return t.caught }

// Wait waits until a node has come to the place and, with CrashThere, is down.
// It returns the node.
func (t *Trap) Wait(ctx context.Context) (*Node, error) {
	wait := t.caught
	if t.action == CrashThere {
		wait = t.done
	}
	select {
	case <-wait:
		return t.node, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), errors.New("nobody came to "+t.name))
	}
}

// Release lets go whoever is held.
func (t *Trap) Release() { t.once.Do(func() { close(t.release) }) }

// traps are the armed failpoints of a cluster.
type traps struct {
	mu    sync.Mutex
	armed []*Trap
	all   []*Trap
}

// Arm sets a trap at a failpoint of package dispatcher for whichever node comes
// there first.
func (c *Cluster) Arm(name string, a Action) *Trap { return c.traps.arm(name, nil, a) }

// Arm sets a trap for this node alone.
func (n *Node) Arm(name string, a Action) *Trap { return n.c.traps.arm(name, n, a) }

func (ts *traps) arm(name string, only *Node, a Action) *Trap {
	t := &Trap{
		name: name, only: only, action: a,
		caught: make(chan struct{}), done: make(chan struct{}), release: make(chan struct{}),
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.armed, ts.all = append(ts.armed, t), append(ts.all, t)
	return t
}

// take is the trap that n walks into at name, disarmed, or nil.
func (ts *traps) take(n *Node, name string) *Trap {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for i, t := range ts.armed {
		if t.name == name && (t.only == nil || t.only == n) {
			ts.armed = append(ts.armed[:i:i], ts.armed[i+1:]...)
			t.node = n
			return t
		}
	}
	return nil
}

// releaseAll disarms all traps, lets go whoever is held, and waits for crashes
// under way.
func (ts *traps) releaseAll() {
	ts.mu.Lock()
	ts.armed = nil
	var crashes []*Trap
	for _, t := range ts.all {
		t.Release()
		if t.node != nil && t.action == CrashThere {
			crashes = append(crashes, t)
		}
	}
	ts.mu.Unlock()
	for _, t := range crashes {
		<-t.done
	}
}

// pass is what the node calls at each failpoint.
func (ts *traps) pass(ctx context.Context, n *Node, name string) error {
	t := ts.take(n, name)
	if t == nil {
		return nil
	}
	close(t.caught)
	switch t.action {
	case CrashThere:
		go func() {
			n.Crash()
			close(t.done)
		}()
		<-ctx.Done() // a dead process goes no further
		return ctx.Err()
	case HoldThere:
		select {
		case <-t.release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ErrInjected
}

// DisarmAll takes back every trap that has not snapped, lets go whoever is held,
// and waits for crashes under way.
func (c *Cluster) DisarmAll() { c.traps.releaseAll() }
