package rest

import (
	"errors"
	"strconv"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// appEvents answers GET /v1/apps/{id}/events: the live executors, then what
// changes, until the application is over.
func (x *exchange) appEvents() {
	apps, c, f := x.readApps()
	if f != nil {
		x.fail(f)
		return
	}
	if n := x.s.appStreams.Add(1); n > int64(x.s.cfg.Limits.MaxAppStreams) {
		x.s.appStreams.Add(-1)
		x.fail(overloaded("the node has as many event streams of applications as it may"))
		return
	}
	defer x.s.appStreams.Add(-1)
	v := &appView{apps: apps, id: x.arg, opened: time.Now()}
	if v.observer, f = x.observer(); f != nil {
		x.fail(f)
		return
	}
	v.sub = x.s.router.subscribe(x.arg) // before anything is read, so that nothing is missed
	defer v.sub.close()
	st := &stream{x: x, feed: v.sub, view: v}
	if f := v.begin(st, c); f != nil {
		x.fail(f)
		return
	}
	x.leave()
	st.every = min(max(v.timeout/8, 50*time.Millisecond), 5*time.Second)
	v.tick(st)
	if st.flush() == nil {
		st.run(x.r.Context())
	}
}

// observer tells whether the reader does not speak for the driver.
func (x *exchange) observer() (bool, *failure) {
	switch v := x.r.URL.Query().Get("observer"); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("observer must be 'true' or 'false', not '%s'", clip(v))
	}
}

// appView is what the stream of one application shows.
type appView struct {
	apps     Applications
	id       string
	sub      *subscription
	observer bool
	timeout  time.Duration // after which a driver that is not heard is given up
	opened   time.Time
	led      time.Time // a leader was known
	checked  bool      // whether it was over before
}

// begin finds where to begin, and opens the stream there.
func (v *appView) begin(st *stream, c dispatcher.Consistency) *failure {
	next, given, f := st.x.position()
	if f != nil {
		return f
	}
	ctx := st.x.r.Context()
	var executors api.AppExecutors
	var err error
	if !given {
		executors, err = v.apps.Executors(ctx, v.id, c)
	}
	var status api.AppStatus
	if err == nil {
		status, err = v.apps.Application(ctx, v.id, dispatcher.Stale)
	}
	if given && errors.Is(err, dispatcher.ErrNotFound) { // this node may lag behind
		status, err = v.apps.Application(ctx, v.id, dispatcher.Linearizable)
	}
	if err != nil {
		return classifyApp(err, false)
	}
	v.timeout = orPresumed(timeoutOf(status.FailoverTimeoutMs))
	if given {
		st.next = next
		_ = st.open() // a failure is remembered
		return nil
	}
	st.next = executors.Change + 1
	_ = st.open()
	v.snapshot(st, &executors, &status, false)
	return nil
}

// snapshot shows how the application stands: its executors, and behind them, as
// the one event with an id, the application.
func (v *appView) snapshot(st *stream, list *api.AppExecutors, status *api.AppStatus, all bool) {
	st.next = list.Change + 1
	for i := range list.Executors {
		e := &list.Executors[i]
		if !all && e.EndedAt != nil {
			continue
		}
		st.append(noID, api.EventExecutor, api.AppEvent{
			Type: api.EventExecutor, Change: list.Change, Event: api.AppEventSnapshot, To: e.State, Reason: e.Reason, Executor: e,
		})
	}
	st.append(list.Change, api.EventApp, api.AppEvent{
		Type: api.EventApp, Change: list.Change, Event: api.AppEventSnapshot, Reason: status.Reason, App: complete(status),
	})
}

func (v *appView) show(st *stream, c *fsm.Change) {
	if !ofApp(c, v.id) {
		return
	}
	e, shown := v.apps.Event(v.id, c)
	if !shown {
		return
	}
	if e.App != nil {
		complete(e.App)
		st.done = e.App.Over()
	}
	st.append(c.Number, e.Type, e)
}

// reset shows everything anew, the executors that are over included, so that the
// reader learns why those ended whose end it missed.
func (v *appView) reset(st *stream) {
	list, err := v.apps.Executors(st.x.r.Context(), v.id, dispatcher.Stale)
	var status api.AppStatus
	if err == nil {
		status, err = v.apps.Application(st.x.r.Context(), v.id, dispatcher.Stale)
	}
	if err != nil { // the application is forgotten; asked again, the reader is told
		st.done = true
		return
	}
	st.append(noID, api.EventReset, api.AppEvent{Type: api.EventReset, Change: list.Change})
	v.snapshot(st, &list, &status, true)
	v.checked = false
}

// beat is a heartbeat that moves the reader's position on: of a quiet application
// in a busy cluster it would else be one that is kept no longer.
func (v *appView) beat(st *stream) {
	st.buf = append(st.buf, ":\nid: "...)
	st.buf = append(strconv.AppendUint(st.buf, st.next-1, 10), "\n\n"...)
}

// idle ends the stream of an application that was over before it began.
func (v *appView) idle(st *stream) {
	st.next = v.sub.position(st.next)
	if v.checked {
		return
	}
	v.checked = true
	status, err := v.apps.Application(st.x.r.Context(), v.id, dispatcher.Stale)
	if err == nil && status.Over() {
		st.append(st.next-1, api.EventApp, api.AppEvent{
			Type: api.EventApp, Change: st.next - 1, Event: api.AppEventSnapshot, Reason: status.Reason, App: complete(&status),
		})
		st.done = true
	}
}

// tick passes a sign of life on, and ends the stream of a node that is cut off
// from the cluster, so that the reader finds another one before the driver is
// given up.
func (v *appView) tick(st *stream) {
	now := time.Now()
	if st.x.s.backend.Leader() != "" || v.led.IsZero() {
		v.led = now
	}
	if now.Sub(v.led) > min(v.timeout/4, 5*time.Second) {
		st.done = true
		return
	}
	if v.observer {
		return
	}
	s := st.x.s.signs
	s.note(v.id, v.timeout)
	heard := s.heard(v.id)
	if heard.Before(v.opened) {
		heard = v.opened
	}
	st.done = st.done || now.Sub(heard) > v.timeout/2
}
