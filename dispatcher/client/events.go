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
		f := &follower{c: c, last: since, yield: yield}
		if err := f.run(ctx); err != nil {
			yield(api.Event{}, err)
		}
	}
}

// follower is one reader of events, over any number of connections.
type follower struct {
	c     *Client
	last  uint64 // number of the last change seen, or FromNow
	yield func(api.Event, error) bool
	alive time.Time // when a server was last heard
}

var errStopped = errors.New("the caller stopped")

func (f *follower) run(ctx context.Context) error {
	f.alive = time.Now()
	for n := 0; ; n++ {
		heard := f.alive
		index := (int(f.c.good.Load()) + n) % len(f.c.servers)
		err := f.follow(ctx, f.c.servers[index])
		var refused *APIError
		switch {
		case errors.Is(err, errStopped):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
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
func (f *follower) follow(ctx context.Context, server string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(f.c.cfg.AttemptTimeout, cancel)
	defer watchdog.Stop()
	position := ""
	if f.last != FromNow {
		position = strconv.FormatUint(f.last, 10)
	}
	reply, err := f.c.send(ctx, &request{method: http.MethodGet, path: "/v1/events"}, server, position)
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
	var data string
	for lines.Scan() {
		f.alive = time.Now()
		watchdog.Reset(silence)
		line := lines.Text()
		switch name, value, _ := strings.Cut(line, ": "); {
		case strings.HasPrefix(line, ": changes from "):
			f.begin(strings.TrimPrefix(line, ": changes from "))
		case name == "data":
			data = value
		case line == "" && data != "":
			if err := f.event(data); err != nil {
				return err
			}
			data = ""
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	return fmt.Errorf("%s: the stream ended", server)
}

// begin takes down where a stream begins, so that one that breaks before its
// first event can be continued as well.
func (f *follower) begin(first string) {
	if n, err := strconv.ParseUint(first, 10, 64); err == nil && n > 0 && f.last == FromNow {
		f.last = n - 1
	}
}

func (f *follower) event(data string) error {
	var e api.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return fmt.Errorf("client: event cannot be read: %w", err)
	}
	f.last = e.Change
	if !f.yield(e, nil) {
		return errStopped
	}
	return nil
}
