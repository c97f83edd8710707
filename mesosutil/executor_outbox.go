package mesosutil

import (
	"container/list"
	"context"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

// outbox holds the updates that the agent has not acknowledged, in the order in
// which they were made: those that it was sent, then those that it was not.
type outbox struct {
	maxCount, maxBytes int

	mu     sync.Mutex
	sent   *list.List // of *outgoing
	unsent *list.List
	byUUID map[string]*list.Element
	bytes  int
	ended  bool
	wake   chan struct{} // capacity 1: there is something to send
	freed  chan struct{} // closed, and replaced, when updates were acknowledged
}

type outgoing struct {
	status  mesos.TaskStatus
	size    int
	home    *list.List // sent or unsent
	retryAt time.Time  // of one that was sent
	pause   time.Duration
}

func newOutbox(maxCount, maxBytes int) *outbox {
	return &outbox{maxCount: maxCount, maxBytes: maxBytes, sent: list.New(), unsent: list.New(),
		byUUID: map[string]*list.Element{}, wake: make(chan struct{}, 1), freed: make(chan struct{})}
}

// add queues an update, waiting for room. One that is larger than the limit
// goes through alone.
func (o *outbox) add(ctx context.Context, s mesos.TaskStatus, size int) error {
	for {
		o.mu.Lock()
		switch {
		case o.ended:
			o.mu.Unlock()
			return ErrExecutorDone
		case len(o.byUUID) == 0, len(o.byUUID) < o.maxCount && o.bytes+size <= o.maxBytes:
			u := &outgoing{status: s, size: size, home: o.unsent}
			o.byUUID[string(s.UUID)] = o.unsent.PushBack(u)
			o.bytes += size
			o.mu.Unlock()
			o.rouse()
			return nil
		}
		freed := o.freed
		o.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// acknowledged forgets an update.
func (o *outbox) acknowledged(uuid []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e, ok := o.byUUID[string(uuid)]; ok {
		u := e.Value.(*outgoing)
		delete(o.byUUID, string(uuid))
		u.home.Remove(e)
		o.bytes -= u.size
		o.broadcast()
	}
}

func (o *outbox) broadcast() {
	close(o.freed)
	o.freed = make(chan struct{})
}

// all are the updates for a SUBSCRIBE, which counts as having sent them.
func (o *outbox) all(retry time.Duration) (updates []executor.Call_Update) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for e := o.unsent.Front(); e != nil; e = o.unsent.Front() {
		o.move(e, retry)
	}
	for e := o.sent.Front(); e != nil; e = e.Next() {
		u := e.Value.(*outgoing)
		u.retryAt, u.pause = time.Now().Add(retry), retry
		updates = append(updates, executor.Call_Update{Status: u.status})
	}
	return updates
}

func (o *outbox) move(e *list.Element, retry time.Duration) {
	u := o.unsent.Remove(e).(*outgoing)
	u.home, u.retryAt, u.pause = o.sent, time.Now().Add(retry), retry
	o.byUUID[string(u.status.UUID)] = o.sent.PushBack(u)
}

// next is the update to send now, or how long there is none unless wake says
// otherwise.
func (o *outbox) next() (u *outgoing, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.unsent.Front(); e != nil {
		return e.Value.(*outgoing), 0
	}
	wait = time.Hour
	for e := o.sent.Front(); e != nil; e = e.Next() {
		u := e.Value.(*outgoing)
		left := time.Until(u.retryAt)
		if left <= 0 {
			return u, 0
		}
		wait = min(wait, left)
	}
	return nil, wait
}

// taken notes that the agent has taken an update, which it will acknowledge.
func (o *outbox) taken(u *outgoing, retry time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.byUUID[string(u.status.UUID)]
	switch {
	case !ok: // acknowledged by now
	case u.home == o.unsent:
		o.move(e, retry)
	default:
		u.pause = min(2*u.pause, maxExecutorRetry)
		u.retryAt = time.Now().Add(u.pause)
	}
}

// flush waits until nothing is left.
func (o *outbox) flush(ctx context.Context) error {
	for {
		o.mu.Lock()
		empty, ended, freed := len(o.byUUID) == 0, o.ended, o.freed
		o.mu.Unlock()
		switch {
		case empty:
			return nil
		case ended:
			return ErrExecutorDone
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.broadcast()
}
