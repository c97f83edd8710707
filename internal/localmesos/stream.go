package localmesos

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// event is one of the scheduler API or of the executor API.
type event interface {
	Marshal() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

// stream is one subscription: a queue of events that the HTTP handler of the
// SUBSCRIBE call drains. Nobody waits here for a scheduler or executor to read.
type stream struct {
	id    string // none for an executor's
	media encoding.MediaType
	beat  event

	mu     sync.Mutex
	queue  []event
	state  streamState
	silent bool
	wake   chan struct{} // capacity 1
}

type streamState int

const (
	open    streamState = iota
	closing             // what is queued is still sent
	broken              // nothing more is sent
)

func newStream(media encoding.MediaType) *stream {
	return &stream{id: uuid.NewString(), media: media, wake: make(chan struct{}, 1),
		beat: &scheduler.Event{Type: scheduler.Event_HEARTBEAT}}
}

func newExecutorStream(media encoding.MediaType) *stream {
	return &stream{media: media, wake: make(chan struct{}, 1), beat: &execproto.Event{Type: execproto.Event_HEARTBEAT}}
}

func (s *stream) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// push queues an event, which must not change any more.
func (s *stream) push(e event) {
	s.change(func() {
		if s.state != open {
			return
		}
		if s.queue = append(s.queue, e); len(s.queue) > maxStreamEvents {
			s.state = broken
		}
	})
}

func (s *stream) finish() {
	s.change(func() {
		if s.state == open {
			s.state = closing
		}
	})
}
func (s *stream) cut()               { s.change(func() { s.state = broken }) }
func (s *stream) setSilent(on bool)  { s.change(func() { s.silent = on }) }
func (s *stream) silenced() bool     { s.mu.Lock(); defer s.mu.Unlock(); return s.silent }
func (s *stream) isOpen() (yes bool) { s.mu.Lock(); defer s.mu.Unlock(); return s.state == open }

func (s *stream) take() ([]event, streamState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent && s.state == open {
		return nil, open
	}
	q := s.queue
	s.queue = nil
	return q, s.state
}

// serve writes events and heartbeats until the stream ends or the client goes.
// It panics with http.ErrAbortHandler when the stream was cut, so that the
// client sees a broken connection and not a proper end.
func (s *stream) serve(w http.ResponseWriter, gone <-chan struct{}, heartbeat time.Duration) {
	w.Header().Set("Content-Type", string(s.media))
	if s.id != "" {
		w.Header().Set("Mesos-Stream-Id", s.id)
	}
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	records := recordio.NewWriter(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		queue, state := s.take()
		if state == broken {
			panic(http.ErrAbortHandler)
		}
		for _, e := range queue {
			b, err := marshalEvent(e, s.media)
			if err != nil || records.WriteFrame(b) != nil {
				return
			}
		}
		if flush() != nil || state == closing {
			return
		}
		select {
		case <-gone:
			return
		case <-s.wake:
		case <-beat.C:
			if !s.silenced() {
				s.push(s.beat)
			}
		}
	}
}

func marshalEvent(e event, media encoding.MediaType) ([]byte, error) {
	if media == codecs.MediaTypeProtobuf {
		return e.Marshal()
	}
	b, err := e.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return withoutNulls(b)
}

// withoutNulls drops members that are null: mesos-go writes empty lists so,
// Mesos leaves them out.
func withoutNulls(b []byte) ([]byte, error) {
	if !bytes.Contains(b, []byte("null")) {
		return b, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(dropNulls(v))
}

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			} else {
				v[k] = dropNulls(x)
			}
		}
	case []any:
		for i := range v {
			v[i] = dropNulls(v[i])
		}
	}
	return v
}
