package rest

import (
	"strconv"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
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
	st := &stream{x: x, feed: feed, next: next, view: everything{}}
	if st.open() == nil {
		st.run(x.r.Context())
	}
}

// firstChange is the number of the change to begin with.
func (x *exchange) firstChange(feed *fsm.Feed) (uint64, *failure) {
	next, given, f := x.position()
	if f == nil && !given {
		next = feed.Next()
	}
	return next, f
}

// position is the number of the change behind the one that the reader names as
// its last.
func (x *exchange) position() (next uint64, given bool, f *failure) {
	text := x.r.Header.Get("Last-Event-ID")
	if text == "" {
		text = x.r.URL.Query().Get("since")
	}
	if text == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, false, badRequest("Last-Event-ID and since take the number of a change, as in the id of an event")
	}
	return n + 1, true, nil
}

// everything is the view of the feed that GET /v1/events gives.
type everything struct{}

func (everything) reset(st *stream) {
	st.next = st.feed.Next()
	st.append(st.next-1, api.EventReset, api.Event{Type: api.EventReset, Change: st.next - 1})
}

func (everything) show(st *stream, c *fsm.Change) {
	e := event(c)
	st.append(e.Change, e.Type, e)
}

func (everything) idle(*stream) {}

func (everything) tick(*stream) {}

func (everything) beat(st *stream) { st.buf = append(st.buf, ":\n\n"...) }

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
