package rest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func appRoutes() []*route {
	return []*route{
		{name: "apps", path: "/v1/apps", access: accessWrite, readable: true, methods: with(onGet((*exchange).listApps), http.MethodPost, (*exchange).registerApp)},
		{name: "app", path: "/v1/apps/{id}", access: accessWrite, readable: true, methods: with(onGet((*exchange).getApp), http.MethodDelete, (*exchange).stopApp)},
		{name: "app-executors", path: "/v1/apps/{id}/executors", methods: onGet((*exchange).appExecutors)},
		{name: "app-events", path: "/v1/apps/{id}/events", stream: true, methods: map[string]func(*exchange){http.MethodGet: (*exchange).appEvents}},
		{name: "app-totals", path: "/v1/apps/{id}/totals", access: accessWrite, methods: map[string]func(*exchange){http.MethodPut: (*exchange).setAppTotals}},
		{name: "app-kill", path: "/v1/apps/{id}/kill", access: accessWrite, methods: onPost((*exchange).killExecutors)},
		{name: "app-exclude", path: "/v1/apps/{id}/exclude", access: accessWrite, methods: onPost((*exchange).excludeHost)},
		{name: "app-admit", path: "/v1/apps/{id}/admit", access: accessWrite, methods: onPost((*exchange).admitHost)},
		{name: "app-heartbeat", path: "/v1/apps/{id}/heartbeat", access: accessWrite, methods: onPost((*exchange).heartbeat)},
	}
}

func with(methods map[string]func(*exchange), name string, f func(*exchange)) map[string]func(*exchange) {
	methods[name] = f
	return methods
}

// applications are those of this node, once the request may be worked on.
func (x *exchange) applications() (Applications, *failure) {
	apps := x.s.cfg.Applications
	switch {
	case apps == nil:
		return nil, &failure{
			status: http.StatusNotImplemented, outcome: notExecuted,
			message: "This node does not host applications in client mode: start it with --backends, or ask a node that was.",
		}
	case x.arg != "" && invalidAppID(x.arg) != "":
		return nil, noSuchApp()
	}
	return apps, nil
}

// readApps is applications for a request that only reads.
func (x *exchange) readApps() (Applications, dispatcher.Consistency, *failure) {
	apps, f := x.applications()
	if f != nil {
		return nil, 0, f
	}
	c, f := x.consistency()
	if f == nil {
		f = x.admit()
	}
	return apps, c, f
}

func (x *exchange) listApps() {
	apps, c, f := x.readApps()
	if f != nil {
		x.fail(f)
		return
	}
	list, err := apps.List(x.r.Context(), c)
	if err != nil {
		x.failApp(err)
		return
	}
	if list.Applications == nil {
		list.Applications = []api.AppStatus{}
	}
	for i := range list.Applications {
		complete(&list.Applications[i])
	}
	x.replyJSON(list)
}

func (x *exchange) getApp() {
	apps, c, f := x.readApps()
	if f != nil {
		x.fail(f)
		return
	}
	st, err := apps.Application(x.r.Context(), x.arg, c)
	if err != nil {
		x.failApp(err)
		return
	}
	x.replyJSON(complete(&st))
}

func (x *exchange) appExecutors() {
	apps, c, f := x.readApps()
	if f != nil {
		x.fail(f)
		return
	}
	list, err := apps.Executors(x.r.Context(), x.arg, c)
	if err != nil {
		x.failApp(err)
		return
	}
	if list.Executors == nil {
		list.Executors = []api.AppExecutor{}
	}
	x.replyJSON(list)
}

// complete makes the lists of a status appear even where they are empty.
func complete(st *api.AppStatus) *api.AppStatus {
	if st.Totals == nil {
		st.Totals = []api.ProfileTotal{}
	}
	if st.Exclusions == nil {
		st.Exclusions = []api.AppExclusion{}
	}
	return st
}

// registerApp answers POST /v1/apps.
func (x *exchange) registerApp() {
	apps, f := x.applications()
	if f != nil {
		x.fail(f)
		return
	}
	var a api.Application
	f = x.readInto(&a, func() error { return checkApplication(&a) })
	var wait time.Duration
	if f == nil {
		wait, f = x.waitLimit()
	}
	r, f := x.appRequest(f)
	if f != nil {
		x.fail(f)
		return
	}
	st, known, err := apps.Register(x.r.Context(), a, r)
	if err != nil {
		x.failApp(err)
		return
	}
	if wait > 0 {
		x.leave() // waiting is no work
		st = x.awaitMesos(apps, st, wait)
	}
	x.w.Header().Set("Location", "/v1/apps/"+url.PathEscape(st.ID))
	status := http.StatusCreated
	if known {
		status = http.StatusOK
		x.s.signs.note(st.ID, timeoutOf(st.FailoverTimeoutMs)) // its driver came back
	}
	x.replyJSONStatus(status, complete(&st))
}

// maxWait bounds how long a registration waits for Mesos.
const maxWait = time.Minute

func (x *exchange) waitLimit() (time.Duration, *failure) {
	text := x.r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return 0, badRequest("wait must be a time between 0s and %s, such as 10s", maxWait)
	}
	return d, nil
}

// awaitMesos waits until the application has an id in Mesos or ends, and returns
// what is known of it then.
func (x *exchange) awaitMesos(apps Applications, st api.AppStatus, limit time.Duration) api.AppStatus {
	ctx, cancel := context.WithTimeout(x.r.Context(), limit)
	defer cancel()
	feed := x.s.backend.Feed()
	next := feed.Next()
	for {
		// This node may not know of the registration yet.
		if now, err := apps.Application(ctx, st.ID, dispatcher.Stale); err == nil {
			st = now
		}
		if st.ApplicationID != "" || st.StoppedAt != nil || st.State == api.AppRemoved {
			return st
		}
		for news := false; !news; {
			changes, lost, wake := feed.Since(next, eventBatch)
			if lost {
				next, news = feed.Next(), true
			}
			for i := range changes {
				next = changes[i].Number + 1
				news = news || ofApp(&changes[i], st.ID)
			}
			if news || len(changes) > 0 {
				continue
			}
			select {
			case <-wake:
			case <-ctx.Done():
				return st
			case <-x.s.stopping:
				return st
			}
		}
	}
}

// ofApp tells whether a change is one of an application.
func ofApp(c *fsm.Change, id string) bool {
	return (c.Kind == fsm.ChangeApp || c.Kind == fsm.ChangeExecutor) && c.ID == id
}

// stopApp answers DELETE /v1/apps/{id}.
func (x *exchange) stopApp() {
	apps, f := x.applications()
	reason := strings.ToValidUTF8(x.r.URL.Query().Get("reason"), "\uFFFD")
	if f == nil && len(reason) > maxReason {
		f = badRequest("reason is longer than %d bytes", maxReason)
	}
	r, f := x.appRequest(f)
	if f != nil {
		x.fail(f)
		return
	}
	err := apps.Stop(x.r.Context(), x.arg, reason, r)
	if isRefusal(err, fsm.CodeTerminated) {
		err = nil
	}
	x.acknowledge(err, false)
}

// setAppTotals answers PUT /v1/apps/{id}/totals.
func (x *exchange) setAppTotals() {
	var t api.AppTotals
	x.changeApp(&t, func() error { return checkTotals(&t) }, func(a Applications, r dispatcher.Request) error {
		return a.SetTotals(x.r.Context(), x.arg, t, r)
	})
}

// killExecutors answers POST /v1/apps/{id}/kill.
func (x *exchange) killExecutors() {
	var k api.AppKill
	x.changeApp(&k, func() error { return checkKill(&k) }, func(a Applications, r dispatcher.Request) error {
		err := a.Kill(x.r.Context(), x.arg, k.Executors, r)
		if isRefusal(err, fsm.CodeNotFound) {
			// The application, or an executor? Committed state tells.
			if _, known := a.Application(x.r.Context(), x.arg, dispatcher.Stale); known == nil {
				return &unknownExecutorError{err.Error()}
			}
		}
		return err
	})
}

// excludeHost answers POST /v1/apps/{id}/exclude.
func (x *exchange) excludeHost() {
	var e api.AppExclude
	x.changeApp(&e, func() error { return checkExclude(&e, true) }, func(a Applications, r dispatcher.Request) error {
		return a.Exclude(x.r.Context(), x.arg, e, r)
	})
}

// admitHost answers POST /v1/apps/{id}/admit.
func (x *exchange) admitHost() {
	var e api.AppExclude
	x.changeApp(&e, func() error { return checkExclude(&e, false) }, func(a Applications, r dispatcher.Request) error {
		return a.Admit(x.r.Context(), x.arg, e.Host, r)
	})
}

// changeApp reads what is to be changed into v, changes it, and answers.
func (x *exchange) changeApp(v any, check func() error, do func(Applications, dispatcher.Request) error) {
	apps, f := x.applications()
	if f == nil {
		f = x.readInto(v, check)
	}
	r, f := x.appRequest(f)
	if f != nil {
		x.fail(f)
		return
	}
	x.acknowledge(do(apps, r), true)
}

// appRequest is what identifies the request, once it may be worked on. f is what
// is wrong with it so far.
func (x *exchange) appRequest(f *failure) (dispatcher.Request, *failure) {
	key := ""
	if f == nil {
		key, f = x.idempotencyKey()
	}
	if f == nil {
		f = x.admit()
	}
	if f != nil && f.outcome == "" {
		f.outcome = notExecuted
	}
	return dispatcher.Request{Key: key, User: x.user}, f
}

// acknowledge answers a change that was committed, or failed. alive: its driver
// most likely asked for it.
func (x *exchange) acknowledge(err error, alive bool) {
	if err != nil {
		x.failApp(err)
		return
	}
	if alive {
		x.s.signs.noteSoon(x.arg)
	}
	x.replyJSON(api.AppReceipt{ID: x.arg, Committed: true})
}

// heartbeat answers POST /v1/apps/{id}/heartbeat. A body is ignored.
func (x *exchange) heartbeat() {
	apps, f := x.applications()
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	st, err := apps.Application(x.r.Context(), x.arg, dispatcher.Stale)
	switch {
	case err == nil && st.StoppedAt != nil:
		err = &fsm.RefusedError{Code: fsm.CodeTerminated, Message: "application " + st.ID + " is stopped"}
	case err == nil && time.Since(x.s.signs.heard(x.arg)) < orPresumed(timeoutOf(st.FailoverTimeoutMs))/8:
		// One of just now stands for this one too.
	default: // the application may be known to other nodes only, as yet
		err = x.s.signs.commit(x.r.Context(), x.arg)
	}
	x.acknowledge(err, false)
}

type unknownExecutorError struct{ text string }

func (e *unknownExecutorError) Error() string { return e.text }

func isRefusal(err error, code fsm.Code) bool {
	var refused *fsm.RefusedError
	return errors.As(err, &refused) && refused.Code == code
}

func noSuchApp() *failure {
	return &failure{status: http.StatusNotFound, message: "No application has this id."}
}

// failApp answers with what became of a request about an application.
func (x *exchange) failApp(err error) {
	f := classifyApp(err, x.access() == accessWrite)
	if f.status == http.StatusInternalServerError {
		x.s.log.Error("request failed", "route", x.route.name, "err", err)
	}
	x.fail(f)
}

func classifyApp(err error, write bool) *failure {
	var (
		invalid *AppInvalidError
		unknown *unknownExecutorError
		refused *fsm.RefusedError
	)
	f := &failure{}
	switch {
	case errors.As(err, &invalid):
		f.status, f.message = http.StatusBadRequest, malformedPrefix+invalid.Error()
	case errors.As(err, &unknown):
		f.status, f.message = http.StatusConflict, unknown.Error()
	case errors.Is(err, dispatcher.ErrNotFound), isRefusal(err, fsm.CodeNotFound):
		f = noSuchApp()
	case errors.As(err, &refused) && refused.Code == fsm.CodeTerminated:
		f.status, f.message = http.StatusGone, refused.Error()
	case errors.As(err, &refused) && refused.Code == fsm.CodeMalformed:
		f.status, f.message = http.StatusBadRequest, malformedPrefix+refused.Error()
	case errors.As(err, &refused) && refused.Code == fsm.CodeFrameworkID:
		f.status, f.message = http.StatusConflict, refused.Error()
	default:
		f = classify(err, write)
		if f.outcome == outcomeUnknown && f.status == http.StatusServiceUnavailable {
			f.message = "The outcome is unknown: leadership or the connection to the leader was lost after the request was " +
				"handed over, so it may have been carried out. Send it again with the same Idempotency-Key, or look at " +
				"/v1/apps before sending it again."
		}
		return f
	}
	if write {
		f.outcome = notExecuted
	}
	return f
}
