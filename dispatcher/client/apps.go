package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// RegisterApp registers an application in client mode, or finds it again: known.
// Give it an id or a key, so that repeating it is safe. It waits up to wait (at
// most a minute) until Mesos knows the application, so that its ApplicationID is
// there; afterwards it returns without.
//
// Errors: *APIError, with ErrConflict when the id is taken by other content and
// ErrStopped when its application is stopped; ErrNotOffered; ErrOutcomeUnknown;
// ErrUnavailable.
func (c *Client) RegisterApp(ctx context.Context, a api.Application, key string, wait time.Duration) (st *api.AppStatus, known bool, err error) {
	if a.Properties == nil {
		a.Properties = map[string]string{}
	}
	if key == "" && a.ID != "" {
		key = NewKey() // within this call; the id makes it harmless beyond
	}
	body, err := json.Marshal(a)
	if err != nil {
		return nil, false, fmt.Errorf("client: %w", err)
	}
	r := &request{method: http.MethodPost, path: "/v1/apps", body: body, key: key, extra: wait}
	if wait > 0 {
		r.path += "?wait=" + url.QueryEscape(wait.String())
	}
	reply, err := c.do(ctx, r)
	if err != nil {
		return nil, false, err
	}
	st = new(api.AppStatus)
	if err := reply.decode(st); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return st, reply.status == http.StatusOK, nil
}

// Apps are the applications that are registered, and the latest that are over.
// With stale, any node's knowledge will do.
func (c *Client) Apps(ctx context.Context, stale bool) (*api.AppList, error) {
	out := new(api.AppList)
	return out, c.get(ctx, "/v1/apps"+consistency(stale), out)
}

// App is how an application stands. Errors: ErrNotFound (as *APIError); *APIError;
// ErrNotOffered; ErrUnavailable.
func (c *Client) App(ctx context.Context, id string) (*api.AppStatus, error) {
	out := new(api.AppStatus)
	return out, c.get(ctx, appPath(id, ""), out)
}

// AppExecutors are the executors of an application that live, and the latest that
// are over. Errors as with App.
func (c *Client) AppExecutors(ctx context.Context, id string) (*api.AppExecutors, error) {
	out := new(api.AppExecutors)
	return out, c.get(ctx, appPath(id, "/executors"), out)
}

// SetAppTotals says how many executors are wanted in all; it replaces what was
// wanted before. Do not call it twice at once for one application.
//
// It and the changes below return when what was asked for is committed; from
// then on it is carried out, whatever node fails. They are repeated by themselves
// where an answer got lost. Errors: ErrNotFound, ErrConflict and ErrStopped (as
// *APIError); *APIError; ErrNotOffered; ErrOutcomeUnknown; ErrUnavailable.
func (c *Client) SetAppTotals(ctx context.Context, id string, t api.AppTotals) error {
	if t.Totals == nil {
		t.Totals = []api.ProfileTotal{}
	}
	return c.changeApp(ctx, http.MethodPut, appPath(id, "/totals"), t)
}

// KillExecutors ends executors. Those that are over already are no error; with
// one that the application never had, none is killed (ErrConflict).
func (c *Client) KillExecutors(ctx context.Context, id string, executors ...string) error {
	return c.changeApp(ctx, http.MethodPost, appPath(id, "/kill"), api.AppKill{Executors: executors})
}

// ExcludeHost keeps further executors off a host.
func (c *Client) ExcludeHost(ctx context.Context, id string, e api.AppExclude) error {
	return c.changeApp(ctx, http.MethodPost, appPath(id, "/exclude"), e)
}

// AdmitHost takes an exclusion back.
func (c *Client) AdmitHost(ctx context.Context, id, host string) error {
	return c.changeApp(ctx, http.MethodPost, appPath(id, "/admit"), api.AppExclude{Host: host})
}

// AppHeartbeat says that the driver of an application lives. It is needed only
// while no stream of AppEvents is open.
func (c *Client) AppHeartbeat(ctx context.Context, id string) error {
	return c.changeApp(ctx, http.MethodPost, appPath(id, "/heartbeat"), nil)
}

// StopApp stops an application, with its executors. One that is stopped already
// is no error.
func (c *Client) StopApp(ctx context.Context, id, reason string) error {
	query := ""
	if reason != "" {
		query = "?reason=" + url.QueryEscape(reason)
	}
	return c.changeApp(ctx, http.MethodDelete, appPath(id, query), nil)
}

// changeApp makes a change with a key of its own, so that an attempt that was
// delayed does not undo a later change.
func (c *Client) changeApp(ctx context.Context, method, path string, change any) error {
	r := &request{method: method, path: path, key: NewKey()}
	if change != nil {
		var err error
		if r.body, err = json.Marshal(change); err != nil {
			return fmt.Errorf("client: %w", err)
		}
	}
	_, err := c.do(ctx, r)
	return err
}

// AppEventsOptions say which events AppEvents yields.
type AppEventsOptions struct {
	// Since is the number of the last change known; 0 begins with a snapshot of the
	// application.
	Since uint64
	// Observer: the caller does not speak for the driver, so that its stream does
	// not keep the application alive.
	Observer bool
}

// AppEvents yields how an application stands (each live executor, then the
// application, all with the Event api.AppEventSnapshot) and then its changes,
// until it is over, ctx ends or the caller stops. When a server goes away it goes
// on at another one where it was; a snapshot that was cut short is begun again.
// After an event of type api.EventReset, changes were missed: a snapshot follows,
// which has the executors that ended lately, too.
//
// An error is the last thing it yields, as with Events; ErrNotFound and
// ErrNotOffered among them.
func (c *Client) AppEvents(ctx context.Context, id string, o AppEventsOptions) iter.Seq2[api.AppEvent, error] {
	return func(yield func(api.AppEvent, error) bool) {
		f := &follower[api.AppEvent]{c: c, path: appPath(id, "/events"), last: o.Since}
		if o.Since == 0 {
			f.last = FromNow
		}
		if o.Observer {
			f.path += "?observer=true"
		}
		f.yield = func(e api.AppEvent) bool {
			return yield(e, nil) && (e.App == nil || !e.App.Over())
		}
		if err := f.run(ctx); err != nil {
			yield(api.AppEvent{}, err)
		}
	}
}

func appPath(id, rest string) string { return "/v1/apps/" + url.PathEscape(id) + rest }

func consistency(stale bool) string {
	if stale {
		return "?consistency=stale"
	}
	return ""
}
