package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// request is one call, whichever servers it takes.
type request struct {
	method string
	path   string // with the query
	body   []byte
	key    string // idempotency key
	// extra is time that the server may take by itself, beside the AttemptTimeout.
	extra time.Duration
}

// repeatable tells whether doing it twice is the same as doing it once.
func (r *request) repeatable() bool { return r.method == http.MethodGet || r.key != "" }

// attempt is what came of one request to one server.
type attempt struct {
	server string
	status int
	body   []byte // of a reply of success
	err    error
	retry  bool // another try is safe and makes sense
	maybe  bool // it may have been carried out
}

const maxReply = 64 << 20

// do sends r until a server answers, or trying on is unsafe or too late.
func (c *Client) do(ctx context.Context, r *request) (*attempt, error) {
	deadline := time.Now().Add(c.cfg.RetryFor)
	var failed []error
	maybe := false
	lacking := 0 // servers in a row that do not offer what is asked for
	for n := 0; ; n++ {
		index := (int(c.good.Load()) + n) % len(c.servers)
		a := c.attempt(ctx, r, c.servers[index])
		maybe = maybe || a.maybe
		if lacking++; a.status != http.StatusNotImplemented {
			lacking = 0
		}
		switch {
		case lacking == len(c.servers):
			return nil, conclude(a.err, maybe)
		case a.err == nil:
			c.good.Store(int64(index))
			return a, nil
		case !a.retry:
			return nil, conclude(a.err, maybe)
		}
		failed = append(failed, a.err)
		lastOfRound := (n+1)%len(c.servers) == 0
		if ctx.Err() != nil || lastOfRound && (time.Now().After(deadline) || !pause(ctx, n/len(c.servers))) {
			// One round of errors says as much as all of them.
			failed = failed[max(0, len(failed)-len(c.servers)):]
			err := fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(failed...))
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", err, ctx.Err())
			}
			return nil, conclude(err, maybe)
		}
	}
}

// conclude adds that an earlier attempt may have been carried out, unless the
// error is an answer that settles it.
func conclude(err error, maybe bool) error {
	var refused *APIError
	settled := errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusUnprocessableEntity)
	if !maybe || settled || errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// pause waits between two rounds, longer each time; false: ctx ended.
func pause(ctx context.Context, round int) bool {
	wait := min(50*time.Millisecond<<min(round, 5), time.Second)
	wait = wait/2 + rand.N(wait/2)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *Client) attempt(ctx context.Context, r *request, server string) *attempt {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AttemptTimeout+r.extra)
	defer cancel()
	a := &attempt{server: server}
	// A request whose header was not written cannot have had any effect.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { sent.Store(true) },
	})
	reply, err := c.send(ctx, r, server, "")
	if err == nil {
		defer reply.Body.Close()
		a.body, err = io.ReadAll(io.LimitReader(reply.Body, maxReply))
	}
	if err != nil {
		a.err = fmt.Errorf("%s: %w", server, err)
		a.maybe = sent.Load() && r.method != http.MethodGet
		a.retry = !a.maybe || r.repeatable()
		return a
	}
	if a.status = reply.StatusCode; a.status != http.StatusOK && a.status != http.StatusCreated {
		a.judge(r, apiError(server, reply.StatusCode, a.body))
	}
	return a
}

// judge decides what a refusal means for trying on.
func (a *attempt) judge(r *request, e *APIError) {
	a.err = e
	a.maybe = e.Outcome == api.OutcomeUnknown && r.method != http.MethodGet
	switch e.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		a.retry = r.repeatable() || e.Outcome == api.OutcomeNotExecuted
	case http.StatusNotImplemented: // by this server; another one may be newer, or have more to offer
		a.retry = true
	}
}

// send sends r once. lastEvent is for event streams.
func (c *Client) send(ctx context.Context, r *request, server, lastEvent string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, server+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "ha-dispatcher")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json;charset=utf-8")
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	if lastEvent != "" {
		req.Header.Set("Last-Event-ID", lastEvent)
	}
	return c.http.Do(req)
}

// get reads path into out.
func (c *Client) get(ctx context.Context, path string, out any) error {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: path})
	if err != nil {
		return err
	}
	return a.decode(out)
}

func (a *attempt) decode(out any) error {
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("client: reply of %s cannot be read: %w", a.server, err)
	}
	return nil
}
