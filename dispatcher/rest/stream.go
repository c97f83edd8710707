package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

const (
	// eventBatch is how many changes are looked at, and written, at once.
	eventBatch = 256
	// catchUp is how long a reader that comes from a node ahead of this one
	// waits until this one has applied as much.
	catchUp = 10 * time.Second
	// flushAt is how much gathers before it is sent.
	flushAt = 64 << 10
)

// feedView is what one kind of stream shows of the feed. Its methods run in the
// goroutine of the stream.
type feedView interface {
	// show appends what the reader is to see of a change.
	show(st *stream, c *fsm.Change)
	// reset tells the reader that it missed changes, and sets st.next.
	reset(st *stream)
	// idle is called when the reader has all there is.
	idle(st *stream)
	// tick is called every st.every.
	tick(st *stream)
	// beat appends a heartbeat.
	beat(st *stream)
}

// source is where a stream has its changes from: the feed, or those of it that
// concern the stream. The methods are as the feed's.
type source interface {
	Since(number uint64, limit int) (changes []fsm.Change, lost bool, wake <-chan struct{})
	Next() uint64
}

// stream is one reader of the feed by server-sent events.
type stream struct {
	x     *exchange
	feed  source
	view  feedView
	next  uint64        // number of the change to go on with
	every time.Duration // 0: no ticks
	done  bool          // a view sets it to end the stream behind what is appended
	buf   []byte
	err   error // of the connection
}

func (st *stream) open() error {
	h := st.x.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // for proxies that would hold events back
	st.x.status = http.StatusOK
	// The server's limit for reading a request must not end the stream.
	_ = http.NewResponseController(st.x.w).SetReadDeadline(time.Time{})
	st.buf = append(st.buf, ": changes from "...)
	st.buf = append(strconv.AppendUint(st.buf, st.next, 10), "\n\n"...)
	return st.flush()
}

// run writes until the view says so, the reader goes away or is too slow, or the
// server stops.
func (st *stream) run(ctx context.Context) {
	heartbeat := time.NewTicker(st.x.s.cfg.Limits.EventHeartbeat)
	defer heartbeat.Stop()
	var ticks <-chan time.Time
	if st.every > 0 {
		t := time.NewTicker(st.every)
		defer t.Stop()
		ticks = t.C
	}
	var behind <-chan time.Time // set while this node lags behind the reader
	for {
		changes, lost, wake := st.feed.Since(st.next, eventBatch)
		ahead := lost && st.next > st.feed.Next()
		switch {
		case ahead && behind == nil:
			behind = time.After(catchUp)
		case lost && !ahead:
			st.view.reset(st)
		case !lost:
			behind = nil
			st.show(changes)
			if len(changes) == 0 {
				st.view.idle(st)
			}
		}
		busy := len(changes) > 0 || len(st.buf) > 0
		if st.flush() != nil || st.done {
			return
		}
		var rest <-chan time.Time
		if busy {
			// wake may stay silent although there is more.
			wake, rest = nil, time.After(0)
		}
		select {
		case <-rest:
		case <-wake:
		case <-ticks:
			st.view.tick(st)
		case <-heartbeat.C:
			st.view.beat(st)
		case <-behind:
			st.view.reset(st)
			behind = nil
		case <-ctx.Done():
			return
		case <-st.x.s.stopping:
			return
		}
	}
}

func (st *stream) show(changes []fsm.Change) {
	for i := range changes {
		if st.done {
			return
		}
		st.view.show(st, &changes[i])
		st.next = changes[i].Number + 1
	}
}

// noID is for an event that is one of several with the same position: a reader
// whose connection breaks goes on behind the last event that had an id.
const noID = ^uint64(0)

// append adds an event.
func (st *stream) append(id uint64, name string, event any) {
	data, err := json.Marshal(event)
	if err != nil { // a number that JSON cannot express
		data = []byte(`{}`)
	}
	if id != noID {
		st.buf = append(st.buf, "id: "...)
		st.buf = append(strconv.AppendUint(st.buf, id, 10), '\n')
	}
	st.buf = append(append(st.buf, "event: "...), name...)
	st.buf = append(append(st.buf, "\ndata: "...), data...)
	st.buf = append(st.buf, "\n\n"...)
	if len(st.buf) > flushAt {
		_ = st.flush() // remembered
	}
}

// flush sends what has gathered. A reader that does not take it in time is cut
// off; it goes on by Last-Event-ID when it comes back.
func (st *stream) flush() error {
	if st.err != nil || len(st.buf) == 0 {
		return st.err
	}
	st.x.deadline()
	_, st.err = st.x.w.Write(st.buf)
	st.buf = st.buf[:0]
	if st.err == nil {
		st.err = http.NewResponseController(st.x.w).Flush()
	}
	return st.err
}
