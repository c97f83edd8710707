package rest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
)

// exchange is one request and the reply to it.
type exchange struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	route  *route
	arg    string // the id in the path
	user   string // who was authenticated, or empty
	status int    // of the reply; 0: none yet
	inside bool   // holds one of the slots for requests that are worked on
	taken  bool   // the whole body was read
}

var jsonContentType = []string{"application/json;charset=utf-8"}

// reply sends a whole reply with a JSON body.
func (x *exchange) reply(status int, body []byte) {
	x.leave() // before a slow client can hold it
	x.status = status
	h := x.w.Header()
	if body != nil {
		h["Content-Type"] = jsonContentType
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.deadline()
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return
	}
	// A client that went away before its reply is no event of interest here.
	_, _ = x.w.Write(body)
}

// deadline gives the client time to take what is written next. Without it, a
// client that does not read would hold its goroutine for ever. Errors mean that
// the ResponseWriter has no connection behind it.
func (x *exchange) deadline() {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(x.s.cfg.Limits.WriteTimeout))
}

// access that the request needs.
func (x *exchange) access() access { return x.route.accessFor(x.r.Method) }

// replyJSON sends a message of our own API.
func (x *exchange) replyJSON(v any) { x.replyJSONStatus(http.StatusOK, v) }

func (x *exchange) replyJSONStatus(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.failWith(err)
		return
	}
	x.reply(status, append(body, '\n'))
}

// replies are the buffers in which Spark's replies are put together.
var replies = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// replySpark sends what build makes of an empty message with this action.
func (x *exchange) replySpark(status int, action string, build func(*object)) {
	p := replies.Get().(*[]byte)
	o := newObject((*p)[:0], action)
	build(&o)
	*p = o.end()
	x.reply(status, *p)
	if cap(*p) <= keepBuffer {
		replies.Put(p)
	}
}

const keepBuffer = 64 << 10 // a larger buffer is not kept for the next request

var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// body reads the request body. release gives its memory back; the body must not
// be used afterwards. No slot of the server is held meanwhile, so a slow client
// delays nobody.
func (x *exchange) body() (body []byte, release func(), f *failure) {
	limit := x.s.cfg.Limits.MaxBodyBytes
	if x.r.ContentLength > limit {
		return nil, nil, tooLarge(limit)
	}
	if x.r.Header["Expect"] != nil {
		x.deadline() // the first read writes "100 Continue"; the last reply's deadline may be over
	}
	p := bodies.Get().(*[]byte)
	b := (*p)[:0]
	var borrowed int64
	release = func() {
		x.s.bodies.Add(-borrowed)
		if cap(b) <= keepBuffer {
			*p = b[:0]
			bodies.Put(p)
		}
	}
	for {
		if len(b) == cap(b) {
			grown := max(2*int64(cap(b)), 4<<10)
			if grown > keepBuffer {
				borrowed += grown - int64(cap(b))
				if x.s.bodies.Add(grown-int64(cap(b))) > x.s.cfg.Limits.MaxBodyMemory {
					release()
					return nil, nil, overloaded("too many large requests at once")
				}
			}
			b = append(make([]byte, 0, grown), b...)
		}
		n, err := x.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			release()
			return nil, nil, tooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			x.taken = true
			return b, release, nil
		}
		if err != nil {
			release()
			return nil, nil, &failure{
				status: http.StatusBadRequest, outcome: notExecuted,
				message: malformedPrefix + "the body could not be read to its end",
			}
		}
	}
}

// mostDrained is how much of a body is taken in that nobody wants.
const mostDrained = 64 << 20

// drain sends the reply and then takes in what is left of the body. Clients such
// as Spark's write all of it before they read, and a connection that is closed
// on them meanwhile is reset, which loses the reply. The server's ReadTimeout
// bounds the time.
func (x *exchange) drain() {
	if x.taken || x.r.ProtoMajor != 1 || x.r.ContentLength == 0 || x.r.Header["Expect"] != nil {
		return
	}
	if err := http.NewResponseController(x.w).Flush(); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, x.r.Body, mostDrained)
}

// admit takes one of the slots for requests that are worked on; reply gives it
// back.
func (x *exchange) admit() *failure {
	if n := x.s.inFlight.Add(1); n > int64(x.s.cfg.Limits.MaxInFlight) {
		x.s.inFlight.Add(-1)
		return overloaded("the node works on as many requests as it may at once")
	}
	x.inside = true
	return nil
}

func (x *exchange) leave() {
	if x.inside {
		x.inside = false
		x.s.inFlight.Add(-1)
	}
}

// consistency is that which the query asks for.
func (x *exchange) consistency() (dispatcher.Consistency, *failure) {
	if x.r.URL.RawQuery == "" {
		return dispatcher.Linearizable, nil
	}
	switch v := x.r.URL.Query().Get("consistency"); v {
	case "", "linearizable":
		return dispatcher.Linearizable, nil
	case "stale":
		return dispatcher.Stale, nil
	default:
		return 0, badRequest("consistency must be 'linearizable' or 'stale', not '%s'", clip(v))
	}
}

// idempotencyKey is the header of that name, or empty.
func (x *exchange) idempotencyKey() (string, *failure) {
	const most = 255
	values := x.r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(values) > 1 || key == "" || len(key) > most {
		return "", badRequest("Idempotency-Key must come once, with 1 to %d characters", most)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", badRequest("Idempotency-Key must be printable ASCII")
		}
	}
	return key, nil
}

// panicked answers a request whose handler failed by a defect of ours.
func (x *exchange) panicked(p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // it is the value itself that net/http panics with
		x.leave()
		panic(p)
	}
	x.s.log.Error("request handler panicked", "route", x.route.name, "panic", p, "stack", string(debug.Stack()))
	if x.status != 0 {
		x.leave()
		return
	}
	f := &failure{status: http.StatusInternalServerError, message: "Internal server error: a defect; the log of the node has the details."}
	if x.access() == accessWrite {
		f.outcome = outcomeUnknown
	}
	x.fail(f)
}
