package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// streams answers the n-th request for events with the n-th script; the last
// one stays open.
func streams(t *testing.T, seen *[]string, scripts ...string) *httptest.Server {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1)) - 1
		*seen = append(*seen, r.Header.Get("Last-Event-ID"))
		fmt.Fprint(w, scripts[min(n, len(scripts)-1)])
		_ = http.NewResponseController(w).Flush()
		if n >= len(scripts)-1 {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func frame(n int) string {
	return fmt.Sprintf("id: %d\nevent: driver\ndata: {\"type\":\"driver\",\"change\":%d}\n\n", n, n)
}

func TestEventsGoOnWhereTheyBrokeOff(t *testing.T) {
	var seen []string
	s := streams(t, &seen, ": changes from 7\n\n", frame(7)+frame(8)+"id: 9\nevent: dri", frame(9)+":\n\n"+frame(10))
	c := connect(t, Config{Servers: []string{nobody(t), s.URL}})
	want := uint64(7)
	for e, err := range c.Events(context.Background(), FromNow) {
		if err != nil || e.Change != want {
			t.Fatalf("event %+v, %v; want change %d", e, err, want)
		}
		if want++; want > 10 {
			break
		}
	}
	if fmt.Sprint(seen) != "[ 6 8]" {
		t.Errorf("positions asked for: %q", seen)
	}
}

func TestEventsEndWithTheContextAndWithRefusals(t *testing.T) {
	var seen []string
	s := streams(t, &seen, frame(1))
	c := connect(t, Config{Servers: []string{s.URL}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for e, err := range c.Events(ctx, 0) {
		if last = err; err == nil && e.Change == 1 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v", last)
	}
	refusing := serve(t, reply{401, `{"action":"ErrorResponse","message":"Authentication is required"}`})
	for _, err := range connect(t, Config{Servers: []string{refusing.URL}}).Events(context.Background(), 0) {
		var refused *APIError
		if !errors.As(err, &refused) || refused.Status != 401 {
			t.Errorf("ended with %v", err)
		}
	}
	for _, err := range connect(t, Config{Servers: []string{nobody(t)}, RetryFor: -1}).Events(context.Background(), 0) {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("ended with %v", err)
		}
	}
}

func ExampleClient_Events() {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `id: 5
event: driver
data: {"type":"driver","change":5,"id":"driver-20261122112319-0001","from":"QUEUED","to":"LAUNCHING"}

`)
	}))
	defer s.Close()
	c, _ := New(Config{Servers: []string{s.URL}})
	defer c.Close()
	for e, err := range c.Events(context.Background(), 4) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.Type == api.EventDriver {
			fmt.Println(e.ID, e.From, "→", e.To)
		}
		break
	}
	// Output: driver-20261122112319-0001 QUEUED → LAUNCHING
}

func Example() {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"action":"CreateSubmissionResponse","submissionId":"driver-20261122112319-0001","success":true}`)
	}))
	defer s.Close()
	c, err := New(Config{Servers: []string{"127.0.0.1:1", s.URL}}) // the first is down
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	reply, err := c.Submit(context.Background(), api.CreateRequest{
		AppResource: "https://repo.example/app.jar", MainClass: "org.example.App",
		SparkProperties: map[string]string{"spark.app.name": "example"},
	}, NewKey())
	fmt.Println(reply.SubmissionID, err)
	// Output: driver-20261122112319-0001 <nil>
}
