package mesosutil

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second // a bound for hung tests, never a measure

// fakeMaster does what its test says; unscripted it accepts everything. It
// answers in the codec that it is asked in.
type fakeMaster struct {
	*httptest.Server
	streams chan *fakeStream // each subscription, in order
	stopped chan struct{}

	mu          sync.Mutex
	subscribes  []*scheduler.Call
	headers     []http.Header
	calls       []fakeCall
	onSubscribe func(http.ResponseWriter, *http.Request) bool // true: answered
	onCall      func(http.ResponseWriter, *scheduler.Call) bool
}

type fakeCall struct {
	streamID string
	call     *scheduler.Call
}

// fakeStream is the master's end of one subscription.
type fakeStream struct {
	t      *testing.T
	id     string
	call   *scheduler.Call
	codec  encoding.Codec
	frames chan []byte
	cut    chan struct{} // closed by the test: the stream ends
	ended  chan struct{} // closed when the stream has ended, for whatever reason
}

func startMaster(t *testing.T) *fakeMaster {
	t.Helper()
	m := newMaster(t)
	m.Start()
	return m
}

func newMaster(t *testing.T) *fakeMaster {
	t.Helper()
	m := &fakeMaster{streams: make(chan *fakeStream, 100), stopped: make(chan struct{})}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(t, w, r) }))
	t.Cleanup(func() { close(m.stopped); m.CloseClientConnections(); m.Close() })
	return m
}

func (m *fakeMaster) host() string { return m.Listener.Addr().String() }

func (m *fakeMaster) script(onSubscribe func(http.ResponseWriter, *http.Request) bool, onCall func(http.ResponseWriter, *scheduler.Call) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onSubscribe, m.onCall = onSubscribe, onCall
}

func (m *fakeMaster) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	codec, known := codecs.ByMediaType[encoding.MediaType(r.Header.Get("Content-Type"))]
	call := new(scheduler.Call)
	if r.URL.Path != schedulerPath || !known || codec.NewDecoder(encoding.SourceReader(r.Body)).Decode(call) != nil {
		http.Error(w, "not a scheduler call", http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	onSubscribe, onCall := m.onSubscribe, m.onCall
	m.headers = append(m.headers, r.Header.Clone())
	if call.Type == scheduler.Call_SUBSCRIBE {
		m.subscribes = append(m.subscribes, call)
	} else {
		m.calls = append(m.calls, fakeCall{streamID: r.Header.Get(streamIDHeader), call: call})
	}
	id := "stream-" + strconv.Itoa(len(m.subscribes))
	m.mu.Unlock()

	switch {
	case call.Type != scheduler.Call_SUBSCRIBE:
		if onCall == nil || !onCall(w, call) {
			w.WriteHeader(http.StatusAccepted)
		}
	case onSubscribe == nil || !onSubscribe(w, r):
		s := &fakeStream{t: t, id: id, call: call, codec: codec, frames: make(chan []byte), cut: make(chan struct{}), ended: make(chan struct{})}
		m.stream(w, r, s)
	}
}

func (m *fakeMaster) stream(w http.ResponseWriter, r *http.Request, s *fakeStream) {
	defer close(s.ended)
	w.Header().Set("Content-Type", string(s.codec.Type))
	w.Header().Set(streamIDHeader, s.id)
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	m.streams <- s
	for {
		select {
		case frame := <-s.frames:
			_, _ = w.Write(frame)
			w.(http.Flusher).Flush()
		case <-s.cut:
			return
		case <-r.Context().Done():
			return
		case <-m.stopped:
			return
		}
	}
}

// next waits for the next subscription.
func (m *fakeMaster) next(t *testing.T) *fakeStream {
	t.Helper()
	return receive(t, m.streams, "a SUBSCRIBE")
}

func (m *fakeMaster) seen() []fakeCall {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

func (m *fakeMaster) lastCall(t *testing.T) fakeCall {
	t.Helper()
	calls := m.seen()
	if len(calls) == 0 {
		t.Fatal("the master has seen no call")
	}
	return calls[len(calls)-1]
}

func (m *fakeMaster) subscribeCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subscribes)
}

func (s *fakeStream) send(events ...*scheduler.Event) {
	s.t.Helper()
	for _, ev := range events {
		var frame strings.Builder
		var body strings.Builder
		if err := s.codec.NewEncoder(encoding.SinkWriter(&body)).Encode(ev); err != nil {
			s.t.Fatal(err)
		}
		if err := recordio.NewWriter(&frame).WriteFrame([]byte(body.String())); err != nil {
			s.t.Fatal(err)
		}
		s.raw(frame.String())
	}
}

func (s *fakeStream) raw(frame string) {
	s.t.Helper()
	select {
	case s.frames <- []byte(frame):
	case <-s.ended: // the driver has left: nothing can arrive any more
	case <-time.After(patience):
		s.t.Fatal("the stream takes no more")
	}
}

func subscribedEvent(id string, heartbeat time.Duration) *scheduler.Event {
	seconds := heartbeat.Seconds()
	return &scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: &mesos.FrameworkID{Value: id}, HeartbeatIntervalSeconds: &seconds,
	}}
}

func offersEvent(ids ...string) *scheduler.Event {
	ev := &scheduler.Event{Type: scheduler.Event_OFFERS, Offers: &scheduler.Event_Offers{}}
	for _, id := range ids {
		ev.Offers.Offers = append(ev.Offers.Offers, mesos.Offer{
			ID: mesos.OfferID{Value: id}, FrameworkID: mesos.FrameworkID{Value: "fw"},
			AgentID: mesos.AgentID{Value: "agent"}, Hostname: "host",
		})
	}
	return ev
}

func errorEvent(message string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: message}}
}

func heartbeatEvent() *scheduler.Event { return &scheduler.Event{Type: scheduler.Event_HEARTBEAT} }

// running is a driver under test with what it needs.
type running struct {
	*Driver
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
}

// startDriver runs a driver against the masters with short waits; change
// adapts the configuration.
func startDriver(t *testing.T, masters string, change func(*DriverConfig)) *running {
	t.Helper()
	info, err := DriverFramework{Name: "test", FailoverTimeout: time.Hour}.Info()
	if err != nil {
		t.Fatal(err)
	}
	cfg := DriverConfig{
		Master: masters, Framework: info, BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	d, err := NewDriver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Driver: d, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range d.Events() { // closed when Run has returned
		}
	})
	return r
}

// subscribed is startDriver with the first subscription made.
func subscribed(t *testing.T, m *fakeMaster, change func(*DriverConfig)) (*running, *fakeStream) {
	t.Helper()
	d := startDriver(t, m.host(), change)
	s := m.next(t)
	s.send(subscribedEvent("fw", time.Hour))
	expect[EventSubscribed](d)
	return d, s
}

// expect receives the next event, which must be a T.
func expect[T Event](d *running) T {
	d.t.Helper()
	ev := receive(d.t, d.Events(), "an event")
	got, ok := ev.(T)
	if !ok {
		d.t.Fatalf("got event %#v, want a %T", ev, got)
	}
	return got
}

// end waits for Run to return and for the events to be closed.
func (d *running) end() error {
	d.t.Helper()
	err := receive(d.t, d.done, "the end of Run")
	for ev := range d.Events() {
		d.t.Logf("event at the end: %#v", ev)
	}
	return err
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("closed while waiting for %s", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("no sign of %s", what)
	}
	panic("unreachable")
}

// eventually waits for a condition that has no event.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func deadHost(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func answer(status int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(status); fmt.Fprint(w, text) }
}

func taskNamed(name string) []mesos.TaskInfo { return []mesos.TaskInfo{{Name: name}} }
