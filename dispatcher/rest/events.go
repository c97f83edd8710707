package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

const (
	// eventBatch is how many changes are written at once.
	eventBatch = 256
	// catchUp is how long a reader that comes from a node ahead of this one
	// waits until this one has applied as much.
	catchUp = 10 * time.Second
)

var changeTypes = map[fsm.ChangeKind]string{
	fsm.ChangeDriver: api.EventDriver, fsm.ChangeFramework: api.EventFramework,
	fsm.ChangePolicy: api.EventPolicy, fsm.ChangeNode: api.EventNode,
	fsm.ChangeApp: api.EventApp, fsm.ChangeExecutor: api.EventExecutor,
}

// events answers GET /v1/events with a stream of server-sent events. The id of
// an event is the number of its change, which is the same on every node, so a
// reader whose node went away goes on at another one.
func (x *exchange) events() {
	if n := x.s.streams.Add(1); n > int64(x.s.cfg.Limits.MaxEventStreams) {
		x.s.streams.Add(-1)
		x.fail(overloaded("the node has as many event streams as it may"))
		return
	}
	defer x.s.streams.Add(-1)
	feed := x.s.backend.Feed()
	next, f := x.firstChange(feed)
	if f != nil {
		x.fail(f)
		return
	}
	st := &stream{x: x, feed: feed, next: next}
	if st.open() == nil {
		st.run(x.r.Context())
	}
}

// firstChange is the number of the change to begin with.
func (x *exchange) firstChange(feed *fsm.Feed) (uint64, *failure) {
	text := x.r.Header.Get("Last-Event-ID")
	if text == "" {
		text = x.r.URL.Query().Get("since")
	}
	if text == "" {
		return feed.Next(), nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, badRequest("Last-Event-ID and since take the number of a change, as in the id of an event")
	}
	return n + 1, nil
}

// stream is one reader of the feed.
type stream struct {
	x    *exchange
	feed *fsm.Feed
	next uint64
	buf  []byte
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

// run writes until the reader goes away, is too slow, or the server stops.
func (st *stream) run(ctx context.Context) {
	heartbeat := time.NewTicker(st.x.s.cfg.Limits.EventHeartbeat)
	defer heartbeat.Stop()
	var behind <-chan time.Time // set while this node lags behind the reader
	for {
		changes, lost, wake := st.feed.Since(st.next, eventBatch)
		ahead := lost && st.next > st.feed.Next()
		switch {
		case ahead && behind == nil:
			timer := time.NewTimer(catchUp)
			defer timer.Stop()
			behind = timer.C
		case lost && !ahead:
			st.reset()
		case !lost:
			behind = nil
			st.write(changes)
		}
		if len(st.buf) > 0 {
			if st.flush() != nil {
				return
			}
			continue
		}
		select {
		case <-wake:
		case <-heartbeat.C:
			st.buf = append(st.buf, ":\n\n"...)
			if st.flush() != nil {
				return
			}
		case <-behind:
			st.reset()
			behind = nil
		case <-ctx.Done():
			return
		case <-st.x.s.stopping:
			return
		}
	}
}

// reset tells the reader that it missed changes, and goes on with the next one.
func (st *stream) reset() {
	st.next = st.feed.Next()
	st.append(api.Event{Type: api.EventReset, Change: st.next - 1})
}

func (st *stream) write(changes []fsm.Change) {
	for i := range changes {
		st.append(event(&changes[i]))
		st.next = changes[i].Number + 1
	}
}

func (st *stream) append(e api.Event) {
	data, err := json.Marshal(e)
	if err != nil { // a Summary with a number that JSON cannot express
		data = []byte(`{}`)
	}
	st.buf = append(st.buf, "id: "...)
	st.buf = strconv.AppendUint(st.buf, e.Change, 10)
	st.buf = append(append(st.buf, "\nevent: "...), e.Type...)
	st.buf = append(append(st.buf, "\ndata: "...), data...)
	st.buf = append(st.buf, "\n\n"...)
}

// flush sends what has gathered. A reader that does not take it in time is cut
// off; it goes on by Last-Event-ID when it comes back.
func (st *stream) flush() error {
	st.x.deadline()
	if _, err := st.x.w.Write(st.buf); err != nil {
		return err
	}
	st.buf = st.buf[:0]
	return http.NewResponseController(st.x.w).Flush()
}

func event(c *fsm.Change) api.Event {
	e := api.Event{
		Type: changeTypes[c.Kind], Change: c.Number, Index: c.Index, At: timeOf(c.TimeMs), ID: c.ID,
		Event: c.Event, From: c.From, To: c.To, TaskID: c.TaskID, Reason: c.Reason,
	}
	if c.Driver != nil {
		s := summary(c.Driver)
		e.Driver = &s
	}
	return e
}
