package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers each request with the next of its replies, the last one again
// and again.
type server struct {
	*httptest.Server
	asked atomic.Int64
	keys  chan string
}

type reply struct {
	status int
	body   string // "hang up": the connection is closed instead
}

func serve(t *testing.T, replies ...reply) *server {
	t.Helper()
	s := &server{keys: make(chan string, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(s.asked.Add(1)) - 1
		s.keys <- r.Header.Get("Idempotency-Key")
		answer := replies[min(n, len(replies)-1)]
		if answer.body == "hang up" {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(answer.status)
		fmt.Fprint(w, answer.body)
	}))
	t.Cleanup(s.Close)
	return s
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func connect(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var (
	accepted    = reply{200, `{"action":"CreateSubmissionResponse","submissionId":"d-1","success":true,"serverSparkVersion":"3.5.1"}`}
	hangUp      = reply{body: "hang up"}
	noLeader    = reply{503, `{"action":"ErrorResponse","message":"no leader","outcome":"not_executed"}`}
	unknown     = reply{503, `{"action":"ErrorResponse","message":"lost","outcome":"unknown"}`}
	badRequest  = reply{400, `{"action":"ErrorResponse","message":"Malformed request: x"}`}
	queueFull   = reply{200, `{"action":"CreateSubmissionResponse","message":"Already reached maximum submission size","success":false}`}
	htmlPage    = reply{500, `<title>Error 500</title>`}
	gateway     = reply{502, ``}
	truncatedOK = reply{200, `{"action":`}
)

func TestASubmissionIsRepeatedOnlyWhereThatIsSafe(t *testing.T) {
	for name, c := range map[string]struct {
		key     string
		replies []reply
		asked   int64
		want    error // nil: accepted
		status  int   // of an APIError
	}{
		"accepted":                         {"", []reply{accepted}, 1, nil, 0},
		"not executed, without a key":      {"", []reply{noLeader, accepted}, 2, nil, 0},
		"unknown, without a key":           {"", []reply{unknown, accepted}, 1, ErrOutcomeUnknown, 503},
		"unknown, with a key":              {"k", []reply{unknown, accepted}, 2, nil, 0},
		"connection lost, without a key":   {"", []reply{hangUp, accepted}, 1, ErrOutcomeUnknown, 0},
		"gateway error, without a key":     {"", []reply{gateway, accepted}, 1, nil, 502},
		"gateway error, with a key":        {"k", []reply{gateway, accepted}, 2, nil, 0},
		"refused":                          {"k", []reply{badRequest, accepted}, 1, nil, 400},
		"unknown, then refused":            {"k", []reply{unknown, badRequest}, 2, nil, 400},
		"queue full":                       {"", []reply{queueFull}, 1, nil, 200},
		"not JSON":                         {"", []reply{htmlPage}, 1, nil, 500},
		"success that cannot be read":      {"", []reply{truncatedOK}, 1, ErrOutcomeUnknown, 0},
		"unknown, then authentication":     {"k", []reply{unknown, {401, ""}}, 2, ErrOutcomeUnknown, 401},
		"not executed three times, no key": {"", []reply{noLeader, noLeader, noLeader, accepted}, 4, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.replies...)
			got, err := connect(t, Config{Servers: []string{s.URL}}).Submit(context.Background(), api.CreateRequest{}, c.key)
			if n := s.asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
			var refused *APIError
			if errors.As(err, &refused) != (c.status != 0) || refused != nil && refused.Status != c.status {
				t.Errorf("error %v, want one with status %d", err, c.status)
			}
			if errors.Is(err, ErrOutcomeUnknown) != (c.want != nil) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if c.want == nil && c.status == 0 && (err != nil || got.SubmissionID != "d-1") {
				t.Errorf("%+v, %v", got, err)
			}
			for range c.asked {
				if key := <-s.keys; key != c.key {
					t.Errorf("key %q, want %q", key, c.key)
				}
			}
		})
	}
}

func TestALostConnectionIsRepeatedWithAKey(t *testing.T) {
	s := serve(t, hangUp, hangUp, hangUp, accepted)
	got, err := connect(t, Config{Servers: []string{s.URL}}).Submit(context.Background(), api.CreateRequest{}, NewKey())
	if err != nil || got.SubmissionID != "d-1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestServersAreTriedInTurnAndTheGoodOneIsRemembered(t *testing.T) {
	down, leaderless, good := nobody(t), serve(t, noLeader), serve(t, accepted)
	c := connect(t, Config{Servers: []string{down, leaderless.URL, good.URL}})
	for range 3 {
		if _, err := c.Submit(context.Background(), api.CreateRequest{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if leaderless.asked.Load() != 1 || good.asked.Load() != 3 {
		t.Errorf("asked %d and %d times", leaderless.asked.Load(), good.asked.Load())
	}
}

func TestWithoutAServerTheErrorNamesThemAll(t *testing.T) {
	a, b := nobody(t), nobody(t)
	_, err := connect(t, Config{Servers: []string{a, b}, RetryFor: -1}).Kill(context.Background(), "d-1", "")
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) {
		t.Errorf("error %v", err)
	}
}

func TestAnUnknownOutcomeIsNotForgottenWhenTheNextServerIsDown(t *testing.T) {
	s := serve(t, unknown)
	_, err := connect(t, Config{Servers: []string{s.URL, nobody(t)}, RetryFor: -1}).Submit(context.Background(), api.CreateRequest{}, "k")
	if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestContextsAndAttemptsEnd(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer s.Close()
	defer close(release)
	c := connect(t, Config{Servers: []string{s.URL}, AttemptTimeout: 20 * time.Millisecond, RetryFor: -1})
	if _, err := c.Submit(context.Background(), api.CreateRequest{}, ""); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("an attempt that hangs: %v", err)
	}
	if _, err := c.Cluster(context.Background()); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("a read that hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := connect(t, Config{Servers: []string{s.URL}}).Cluster(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

func TestStatusTellsUnknownDriversApart(t *testing.T) {
	s := serve(t, reply{200, `{"action":"SubmissionStatusResponse","driverState":"NOT_FOUND","submissionId":"x","success":false}`})
	if _, err := connect(t, Config{Servers: []string{s.URL}}).Status(context.Background(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Status: %v", err)
	}
	s = serve(t, reply{404, `{"action":"ErrorResponse","message":"No driver has this id."}`})
	if _, err := connect(t, Config{Servers: []string{s.URL}}).Get(context.Background(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
}

func TestServerAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"h:1": "http://h:1", "http://h:1/": "http://h:1", "https://h:1": "https://h:1", "mesos://h:1": "http://h:1",
		"spark://h:1": "http://h:1", "[::1]:1": "http://[::1]:1", "ftp://h:1": "", "h:1/path": "", "http://": "", "u:p@h:1": "",
	} {
		got, err := baseURL(in, false)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	if got, _ := baseURL("h:1", true); got != "https://h:1" {
		t.Errorf("with TLS: %s", got)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a client without servers is made")
	}
}
