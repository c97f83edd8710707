package loadgen_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a dispatcher as far as a load generator sees it; it loses each
// submission whose number loses() picks.
type server struct {
	loses func(n int64) bool
	n     atomic.Int64
	conns atomic.Int64
	known sync.Map
	keys  sync.Map
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, isStatus := strings.CutPrefix(r.URL.Path, "/v1/submissions/status/"); isStatus {
		_, known := s.known.Load(id)
		state := "QUEUED"
		if !known {
			state = "NOT_FOUND"
		}
		fmt.Fprintf(w, `{"driverState":%q,"success":%t}`, state, known)
		return
	}
	var body struct{ SparkProperties map[string]string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.SparkProperties) != 8 {
		http.Error(w, fmt.Sprint(err, body), http.StatusBadRequest)
		return
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		s.keys.Store(key, true)
	}
	n := s.n.Add(1)
	id := fmt.Sprintf("driver-20260101000000-%04d", n)
	if s.loses == nil || !s.loses(n) {
		s.known.Store(id, true)
	}
	fmt.Fprintf(w, `{"submissionId":%q,"success":true}`, id)
}

func start(t *testing.T, s *server) string {
	t.Helper()
	h := httptest.NewUnstartedServer(s)
	h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	h.Start()
	t.Cleanup(h.Close)
	return h.URL
}

func mustRun(t *testing.T, cfg loadgen.Config) *loadgen.Report {
	t.Helper()
	r, err := loadgen.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	s := &server{}
	url := start(t, s)
	r := mustRun(t, loadgen.Config{Servers: []string{url}, Clients: 7, Count: 100, IdempotencyKeys: true})
	if r.Submit.OK != 100 || len(r.IDs) != 100 || r.Status != nil || s.n.Load() != 100 {
		t.Errorf("%+v, %d arrived", r.Submit, s.n.Load())
	}
	if got := s.conns.Load(); got > 7 {
		t.Errorf("%d connections for 7 clients", got)
	}
	keys := 0
	s.keys.Range(func(any, any) bool { keys++; return true })
	if keys != 100 {
		t.Errorf("%d different keys", keys)
	}
	if l := r.Submit.Latency; !(l.P50 <= l.P90 && l.P90 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max) {
		t.Errorf("latencies are not in order: %+v", l)
	}
}

func TestWithoutKeepAliveEachRequestHasItsConnection(t *testing.T) {
	s := &server{}
	url := start(t, s)
	mustRun(t, loadgen.Config{Servers: []string{url}, Clients: 2, Count: 20, CloseConnections: true})
	if s.conns.Load() != 20 {
		t.Errorf("%d connections for 20 requests", s.conns.Load())
	}
}

func TestLostSubmissionsAreFound(t *testing.T) {
	s := &server{loses: func(n int64) bool { return n%10 == 0 }}
	cfg := loadgen.Config{Servers: []string{start(t, s)}, Clients: 3, Count: 100}
	r := mustRun(t, cfg)
	v, err := loadgen.Verify(t.Context(), cfg, append(r.IDs, r.IDs[0]))
	if err != nil {
		t.Fatal(err)
	}
	if v.Lost != 10 || len(v.LostIDs) != 10 || v.Known < 90 || v.Duplicates != 1 || v.Failed != 0 {
		t.Errorf("%+v", v)
	}
}

func TestMixedAndStatus(t *testing.T) {
	url := start(t, &server{})
	r := mustRun(t, loadgen.Config{Servers: []string{url}, Mode: loadgen.Mixed, Clients: 2, Count: 200, StatusShare: 0.5})
	if r.Submit == nil || r.Status == nil || r.Submit.OK+r.Status.OK != 200 {
		t.Errorf("mixed: %+v %+v", r.Submit, r.Status)
	}
	r = mustRun(t, loadgen.Config{Servers: []string{url}, Mode: loadgen.Status, IDs: []string{r.IDs[0], "driver-0"}, Clients: 2, Count: 10})
	if r.States["QUEUED"] != 5 || r.States["NOT_FOUND"] != 5 || r.Status.OK != 5 || r.Status.Refused != 5 {
		t.Errorf("status: %+v %v", r.Status, r.States)
	}
}

func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		answer           http.HandlerFunc
		refused, unknown int
	}{
		"refused in band": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"success":false,"message":"full"}`) }, 1, 0},
		"bad request":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusBadRequest) }, 1, 0},
		"not executed": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"outcome":"not_executed"}`)
		}, 1, 0},
		"outcome unknown": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"outcome":"unknown"}`)
		}, 0, 1},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `<html>`) }, 0, 1},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := httptest.NewServer(c.answer)
			defer h.Close()
			s := mustRun(t, loadgen.Config{Servers: []string{h.URL}, Count: 1}).Submit
			if s.OK != 0 || s.Refused != c.refused || s.Unknown != c.unknown || s.FirstError == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestAClientOfADeadServerGoesOnToTheNext(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	r := mustRun(t, loadgen.Config{Servers: []string{dead.URL, start(t, &server{})}, Clients: 1, Count: 10})
	if r.Submit.OK != 9 || r.Submit.Refused != 1 {
		t.Errorf("%+v", r.Submit)
	}
}

func TestARateIsKept(t *testing.T) {
	s := &server{}
	r := mustRun(t, loadgen.Config{Servers: []string{start(t, s)}, Clients: 8, Rate: 200, Duration: 500 * time.Millisecond})
	if r.Submit.OK < 40 || r.Submit.OK > 200 { // 100 are expected
		t.Errorf("%d requests in half a second at 200 a second", r.Submit.OK)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		io.Copy(io.Discard, r.Body) // lets the server see that the client leaves
		<-r.Context().Done()
	}))
	defer h.Close()
	r, err := loadgen.Run(ctx, loadgen.Config{Servers: []string{h.URL}, Clients: 3, Duration: time.Minute})
	if err != nil || r.Submit.OK != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestWrongConfigurations(t *testing.T) {
	ok := loadgen.Config{Servers: []string{"http://127.0.0.1:1"}, Count: 1}
	for want, change := range map[string]func(*loadgen.Config){
		"a server is wanted":                     func(c *loadgen.Config) { c.Servers = nil },
		"is not on this machine":                 func(c *loadgen.Config) { c.Servers = []string{"http://192.0.2.1:7077"} },
		"http://host:port":                       func(c *loadgen.Config) { c.Servers = []string{"mesos://127.0.0.1:7077"} },
		"a number of requests or a duration":     func(c *loadgen.Config) { c.Count = 0 },
		"clients -1":                             func(c *loadgen.Config) { c.Clients = -1 },
		"rate NaN":                               func(c *loadgen.Config) { c.Rate = math.NaN() },
		"ids to ask the status of are wanted":    func(c *loadgen.Config) { c.Mode = loadgen.Status },
		`mode "kill": submit, status or mixed`:   func(c *loadgen.Config) { c.Mode = "kill" },
		"the token has a line break in it":       func(c *loadgen.Config) { c.Token = "a\r\nb" },
		"status share 2: 0 to 1 is allowed":      func(c *loadgen.Config) { c.StatusShare = 2 },
		"duration in seconds 7200: 0.001 to 360": func(c *loadgen.Config) { c.Duration = 2 * time.Hour },
	} {
		cfg := ok
		change(&cfg)
		if _, err := loadgen.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTableAndJSONTellTheSame(t *testing.T) {
	cfg := loadgen.Config{Servers: []string{start(t, &server{})}, Count: 25}
	r := mustRun(t, cfg)
	r.Verified, _ = loadgen.Verify(t.Context(), cfg, r.IDs)
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{table.String(), string(raw)} {
		if !strings.Contains(text, "25") || !strings.Contains(text, "p99") || !strings.Contains(text, "lost") {
			t.Errorf("%s", text)
		}
	}
}
