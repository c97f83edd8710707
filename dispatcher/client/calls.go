package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// Submit submits a driver. The fields Action and, where it is empty,
// ClientSparkVersion are filled in; maps and slices may be nil. key makes
// repeating it safe; it may be empty.
//
// Errors: *APIError, with Status 200 when the dispatcher refused in Spark's way
// (queue full, not ready); ErrOutcomeUnknown; ErrUnavailable.
func (c *Client) Submit(ctx context.Context, r api.CreateRequest, key string) (*api.SubmissionResponse, error) {
	r.Action = api.ActionCreate
	if r.ClientSparkVersion == "" {
		r.ClientSparkVersion = "3.5.1"
	}
	if r.AppArgs == nil {
		r.AppArgs = []string{}
	}
	if r.EnvironmentVariables == nil {
		r.EnvironmentVariables = map[string]string{}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return c.change(ctx, &request{method: http.MethodPost, path: "/v1/submissions/create", body: body, key: key})
}

// Kill ends a driver. It returns when the kill is committed, before the driver's
// task has ended. key makes repeating it safe; it may be empty.
//
// Errors as with Submit; a driver that does not exist or has ended already is an
// *APIError with Status 200.
func (c *Client) Kill(ctx context.Context, id, key string) (*api.SubmissionResponse, error) {
	return c.change(ctx, &request{method: http.MethodPost, path: "/v1/submissions/kill/" + url.PathEscape(id), key: key})
}

func (c *Client) change(ctx context.Context, r *request) (*api.SubmissionResponse, error) {
	a, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	reply := new(api.SubmissionResponse)
	if err := a.decode(reply); err != nil {
		// The status was that of success, so it was most likely carried out.
		return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	if !reply.Success {
		return reply, &APIError{Server: a.server, Status: http.StatusOK, Message: reply.Message, Outcome: api.OutcomeNotExecuted}
	}
	return reply, nil
}

// Status asks for a driver in Spark's protocol. Errors: ErrNotFound; *APIError;
// ErrUnavailable.
func (c *Client) Status(ctx context.Context, id string) (*api.SubmissionResponse, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: "/v1/submissions/status/" + url.PathEscape(id)})
	if err != nil {
		return nil, err
	}
	reply := new(api.SubmissionResponse)
	if err := a.decode(reply); err != nil {
		return nil, err
	}
	switch {
	case reply.DriverState == "NOT_FOUND":
		return reply, fmt.Errorf("%w: %s", ErrNotFound, id)
	case !reply.Success:
		return reply, &APIError{Server: a.server, Status: http.StatusOK, Message: reply.Message}
	}
	return reply, nil
}

// Get returns all that is known of a driver. Errors: ErrNotFound (as *APIError);
// *APIError; ErrUnavailable.
func (c *Client) Get(ctx context.Context, id string) (*api.Driver, error) {
	d := new(api.Driver)
	if err := c.get(ctx, "/v1/drivers/"+url.PathEscape(id), d); err != nil {
		return nil, err
	}
	return d, nil
}

// Cluster returns the cluster as the node that answers sees it.
func (c *Client) Cluster(ctx context.Context) (*api.Cluster, error) {
	out := new(api.Cluster)
	if err := c.get(ctx, "/v1/cluster", out); err != nil {
		return nil, err
	}
	return out, nil
}

// ListOptions filter drivers. What is zero filters nothing.
type ListOptions struct {
	States       []string
	Queue, Name  string
	Text         string // part of id, name, main class or user
	Since, Until time.Time
	Limit        int    // of a page, at most 1000; 0: the server's default
	Cursor       string // NextCursor of the page before
	Stale        bool   // any node's knowledge will do
}

func (o ListOptions) query() string {
	q := url.Values{}
	for _, s := range o.States {
		q.Add("state", s)
	}
	for name, v := range map[string]string{"queue": o.Queue, "name": o.Name, "q": o.Text, "cursor": o.Cursor} {
		if v != "" {
			q.Set(name, v)
		}
	}
	for name, t := range map[string]time.Time{"since": o.Since, "until": o.Until} {
		if !t.IsZero() {
			q.Set(name, strconv.FormatInt(t.UnixMilli(), 10))
		}
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Stale {
		q.Set("consistency", "stale")
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// List returns one page of drivers, the latest first.
func (c *Client) List(ctx context.Context, o ListOptions) (*api.DriverList, error) {
	out := new(api.DriverList)
	if err := c.get(ctx, "/v1/drivers"+o.query(), out); err != nil {
		return nil, err
	}
	return out, nil
}

// Drivers goes through all pages. An error is the last thing it yields.
func (c *Client) Drivers(ctx context.Context, o ListOptions) iter.Seq2[api.Summary, error] {
	return func(yield func(api.Summary, error) bool) {
		for {
			page, err := c.List(ctx, o)
			if err != nil {
				yield(api.Summary{}, err)
				return
			}
			for _, d := range page.Drivers {
				if !yield(d, nil) {
					return
				}
			}
			if o.Cursor = page.NextCursor; o.Cursor == "" {
				return
			}
		}
	}
}
