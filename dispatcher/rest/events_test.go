package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// reader of an event stream.
type reader struct {
	t     *testing.T
	lines *bufio.Scanner
}

func follow(t *testing.T, addr, query string, header ...string) *reader {
	t.Helper()
	return followPath(t, addr, "/v1/events"+query, header...)
}

func followPath(t *testing.T, addr, path string, header ...string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, %s", r.StatusCode, r.Header)
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	return &reader{t, lines}
}

// next is the next event. Its id and type must be those of its data.
func (r *reader) next() api.Event {
	r.t.Helper()
	fields := map[string]string{}
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" && fields["data"] != "" {
			break
		}
		if name, value, ok := strings.Cut(line, ": "); ok && name != "" {
			fields[name] = value
		}
	}
	var e api.Event
	if err := json.Unmarshal([]byte(fields["data"]), &e); err != nil {
		r.t.Fatalf("%v in %v (%v)", err, fields, r.lines.Err())
	}
	if fields["event"] != e.Type || fields["id"] != fmt.Sprint(e.Change) {
		r.t.Errorf("frame %v around %+v", fields, e)
	}
	return e
}

func TestEventsFollowTheChanges(t *testing.T) {
	n := newNode() // its first change is the framework's
	addr := listen(t, newServer(t, testConfig(), n))
	all := follow(t, addr, "?since=0")
	if e := all.next(); e.Type != api.EventFramework || e.Change != 1 || e.To != "SUBSCRIBED" {
		t.Errorf("first event %+v", e)
	}
	id := n.submitNamed("a", "")
	if e := all.next(); e.Type != api.EventDriver || e.ID != id || e.To != "QUEUED" || e.Driver == nil || e.Driver.Name != "a" {
		t.Errorf("event %+v", e)
	}
	n.apply("", fsm.NumberUpsertNode, &fsmpb.UpsertNode{Node: &fsmpb.Node{Id: "n2"}})
	if e := all.next(); e.Type != api.EventNode || e.ID != "n2" || e.Driver != nil {
		t.Errorf("event %+v", e)
	}
	resumed := follow(t, addr, "?since=0", "Last-Event-ID", "2")
	if e := resumed.next(); e.Change != 3 {
		t.Errorf("resumed behind 2 with %+v", e)
	}
}

func TestWithoutAPositionEventsBeginNow(t *testing.T) {
	n := newNode()
	addr := listen(t, newServer(t, testConfig(), n))
	r := follow(t, addr, "")
	n.submitNamed("a", "")
	if e := r.next(); e.Change != 2 {
		t.Errorf("first event %+v", e)
	}
}

func TestAReaderThatFellBehindIsTold(t *testing.T) {
	n := newNode()
	for i := range 8300 { // more than the feed keeps
		n.apply("", fsm.NumberUpsertNode, &fsmpb.UpsertNode{Node: &fsmpb.Node{Id: "n2", Version: fmt.Sprint(i)}})
	}
	addr := listen(t, newServer(t, testConfig(), n))
	last := n.state.Feed().Next() - 1
	r := follow(t, addr, "?since=0")
	if e := r.next(); e.Type != api.EventReset || e.Change != last {
		t.Fatalf("first event %+v, want a reset to %d", e, last)
	}
	n.apply("", fsm.NumberUpsertNode, &fsmpb.UpsertNode{Node: &fsmpb.Node{Id: "n3"}})
	if e := r.next(); e.Change != last+1 || e.Type != api.EventNode {
		t.Errorf("event after the reset %+v", e)
	}
}

// A reader that was at a node ahead of this one waits for it to catch up.
func TestAReaderAheadOfTheNodeMissesNothing(t *testing.T) {
	n := newNode()
	addr := listen(t, newServer(t, testConfig(), n))
	r := follow(t, addr, "", "Last-Event-ID", "3")
	for range 4 {
		n.submitNamed("a", "")
	}
	if e := r.next(); e.Change != 4 || e.Type != api.EventDriver {
		t.Errorf("event %+v, want change 4", e)
	}
}

func TestHeartbeatsKeepAStreamAlive(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.EventHeartbeat = 5 * time.Millisecond
	cfg.Limits.ReadTimeout = 50 * time.Millisecond // must not end the stream
	n := newNode()
	addr := listen(t, newServer(t, cfg, n))
	r := follow(t, addr, "")
	for beats := 0; beats < 30; {
		if !r.lines.Scan() {
			t.Fatalf("the stream ended after %d heartbeats: %v", beats, r.lines.Err())
		}
		if r.lines.Text() == ":" {
			beats++
		}
	}
	n.submitNamed("a", "")
	if e := r.next(); e.Type != api.EventDriver {
		t.Errorf("event %+v", e)
	}
}

func TestASlowReaderIsCut(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.WriteTimeout = 100 * time.Millisecond
	n := newNode()
	s := newServer(t, cfg, n)
	addr := listen(t, s)
	c := dial(t, addr)
	fmt.Fprintf(c, "GET /v1/events?since=0 HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, "the stream is open", func() bool { return s.streams.Load() == 1 })
	name := strings.Repeat("x", 100_000)
	eventually(t, "the stream is cut", func() bool {
		n.submitNamed(name, "")
		return s.streams.Load() == 0
	})
}

func TestStreamsAreLimitedAndEndWithTheServer(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxEventStreams = 1
	s := newServer(t, cfg, newNode())
	addr := listen(t, s)
	r := follow(t, addr, "")
	second, err := http.Get("http://" + addr + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, second.Body)
	second.Body.Close()
	if second.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the second stream: status %d", second.StatusCode)
	}
	for _, since := range []string{"x", "-1", "1e3"} {
		if w := do(s, "GET", "/v1/events?since="+since, ""); w.Code != 503 && w.Code != 400 {
			t.Errorf("since=%s: status %d", since, w.Code)
		}
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown with an open stream: %v", err)
	}
	for r.lines.Scan() {
	}
}
