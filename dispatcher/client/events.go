package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// FromNow makes Events begin with the next change.
const FromNow = ^uint64(0)

const (
	// silence is after how long without even a heartbeat a stream counts as
	// broken; servers send one every 15 s.
	silence = time.Minute
	// maxEvent is the longest line of a stream that is taken.
	maxEvent = 4 << 20
)

// Events yields the changes behind number since (FromNow: those that come; 0:
// all that are kept) until ctx ends or the caller stops. When a server goes
// away it goes on at another one where it was, without a gap. An event of type
// api.EventReset says that changes were missed all the same, because the reader
// was too slow: read the lists again.
//
// An error is the last thing it yields: that of ctx, an *APIError that trying
// on does not mend, or ErrUnavailable when no server could be reached for
// Config.RetryFor.
func (c *Client) Events(ctx context.Context, since uint64) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		f := &follower[api.Event]{c: c, path: "/v1/events", last: since}
		f.yield = func(e api.Event) bool { return yield(e, nil) }
		if err := f.run(ctx); err != nil {
			yield(api.Event{}, err)
		}
	}
}

// follower is one reader of events, over any number of connections.
type follower[T any] struct {
	c    *Client
	path string
	// last is the id of the last event seen, or FromNow. An event without an id is
	// one of several that are to be read again together.
	last  uint64
	yield func(T) bool
	alive time.Time // when a server was last heard
}

var errStopped = errors.New("the caller stopped")

func (f *follower[T]) run(ctx context.Context) error {
	f.alive = time.Now()
	lacking := 0 // servers in a row that do not offer the stream
	for n := 0; ; n++ {
		heard := f.alive
		index := (int(f.c.good.Load()) + n) % len(f.c.servers)
		err := f.follow(ctx, f.c.servers[index])
		var refused *APIError
		if lacking++; !errors.Is(err, ErrNotOffered) {
			lacking = 0
		}
		switch {
		case errors.Is(err, errStopped):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError || lacking == len(f.c.servers):
			return err
		case time.Since(f.alive) > max(f.c.cfg.RetryFor, 0) && (n+1) >= len(f.c.servers):
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if f.alive != heard {
			n = 0
		}
		pause(ctx, n/len(f.c.servers))
	}
}

// follow reads one stream until it breaks.
func (f *follower[T]) follow(ctx context.Context, server string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(f.c.cfg.AttemptTimeout, cancel)
	defer watchdog.Stop()
	position := ""
	if f.last != FromNow {
		position = strconv.FormatUint(f.last, 10)
	}
	reply, err := f.c.send(ctx, &request{method: http.MethodGet, path: f.path}, server, position)
	if err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
		return apiError(server, reply.StatusCode, body)
	}
	lines := bufio.NewScanner(reply.Body)
	lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
	var id, data string
	for lines.Scan() {
		f.alive = time.Now()
		watchdog.Reset(silence)
		line := lines.Text()
		switch name, value, _ := strings.Cut(line, ": "); {
		case strings.HasPrefix(line, ": changes from "):
			f.begin(strings.TrimPrefix(line, ": changes from "))
		case name == "id":
			id = value
		case name == "data":
			data = value
		case line == "":
			if err := f.event(id, data); err != nil {
				return err
			}
			id, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	return fmt.Errorf("%s: the stream ended", server)
}

// begin takes down where a stream of changes begins, so that one that breaks
// before its first event can be continued as well. One of an application begins
// with a snapshot, which has to be read to its end first.
func (f *follower[T]) begin(first string) {
	if _, changes := any(f).(*follower[api.Event]); !changes {
		return
	}
	if n, err := strconv.ParseUint(first, 10, 64); err == nil && n > 0 && f.last == FromNow {
		f.last = n - 1
	}
}

// event takes what came before a blank line. An id without data moves the position
// on.
func (f *follower[T]) event(id, data string) error {
	var e T
	if data != "" {
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("client: event cannot be read: %w", err)
		}
	}
	if n, err := strconv.ParseUint(id, 10, 64); err == nil {
		f.last = n
	}
	if data != "" && !f.yield(e) {
		return errStopped
	}
	return nil
}
