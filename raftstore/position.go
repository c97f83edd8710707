package raftstore

import (
	"context"
	"sync"
	"sync/atomic"
)

// position is a number that only grows, and that one can wait for.
type position struct {
	value   atomic.Uint64
	waiters atomic.Int32
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when value changes while somebody waits
}

func (p *position) get() uint64 { return p.value.Load() }

func (p *position) set(v uint64) {
	p.value.Store(v)
	if p.waiters.Load() == 0 {
		return
	}
	p.mu.Lock()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
}

// wait returns when the position is at least v.
func (p *position) wait(ctx context.Context, v uint64, closed <-chan struct{}) error {
	if p.get() >= v {
		return nil
	}
	// Counted before the channel is taken: a set that comes after sees us.
	p.waiters.Add(1)
	defer p.waiters.Add(-1)
	for {
		p.mu.Lock()
		ch := p.changed
		p.mu.Unlock()
		if p.get() >= v {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return ErrClosed
		}
	}
}
