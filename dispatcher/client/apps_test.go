package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// heard is one request as the server saw it.
type heard struct{ method, path, body, key string }

// listening answers every request with one reply, and remembers them.
func listening(t *testing.T, answer reply) (*httptest.Server, func() []heard) {
	t.Helper()
	var mu sync.Mutex
	var all []heard
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		all = append(all, heard{r.Method, r.URL.RequestURI(), string(body), r.Header.Get("Idempotency-Key")})
		mu.Unlock()
		w.WriteHeader(answer.status)
		fmt.Fprint(w, answer.body)
	}))
	t.Cleanup(s.Close)
	return s, func() []heard {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestRequestsAboutApplications(t *testing.T) {
	s, requests := listening(t, reply{200, `{"id":"a b","committed":true}`})
	c := connect(t, Config{Servers: []string{s.URL}})
	ctx := context.Background()
	for want, ask := range map[string]func() error{
		`PUT /v1/apps/a%20b/totals {"totals":[{"profile":0,"total":4}]}`: func() error {
			return c.SetAppTotals(ctx, "a b", api.AppTotals{Totals: []api.ProfileTotal{{Total: 4}}})
		},
		`PUT /v1/apps/a/totals {"totals":[]}`:          func() error { return c.SetAppTotals(ctx, "a", api.AppTotals{}) },
		`POST /v1/apps/a/kill {"executors":["0","1"]}`: func() error { return c.KillExecutors(ctx, "a", "0", "1") },
		`POST /v1/apps/a/exclude {"host":"h"}`:         func() error { return c.ExcludeHost(ctx, "a", api.AppExclude{Host: "h"}) },
		`POST /v1/apps/a/admit {"host":"h"}`:           func() error { return c.AdmitHost(ctx, "a", "h") },
		`POST /v1/apps/a/heartbeat `:                   func() error { return c.AppHeartbeat(ctx, "a") },
		`DELETE /v1/apps/a?reason=it+is+over `:         func() error { return c.StopApp(ctx, "a", "it is over") },
		`DELETE /v1/apps/a `:                           func() error { return c.StopApp(ctx, "a", "") },
		`GET /v1/apps?consistency=stale `:              func() error { _, err := c.Apps(ctx, true); return err },
		`GET /v1/apps/a `:                              func() error { _, err := c.App(ctx, "a"); return err },
		`GET /v1/apps/a/executors `:                    func() error { _, err := c.AppExecutors(ctx, "a"); return err },
		`POST /v1/apps?wait=10s {"name":"","driverUrl":"","properties":{}}`: func() error {
			_, known, err := c.RegisterApp(ctx, api.Application{}, "k", 10*time.Second)
			if !known {
				t.Error("a reply of 200 is one of an application that was there")
			}
			return err
		},
	} {
		if err := ask(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		all := requests()
		r := all[len(all)-1]
		if got := r.method + " " + r.path + " " + r.body; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if (r.key == "") != (r.method == http.MethodGet) {
			t.Errorf("%s: key %q", want, r.key)
		}
	}
}

func TestAnApplicationIsRegisteredOnceThoughAnswersGetLost(t *testing.T) {
	created := reply{201, `{"id":"app-1","applicationId":"fw","state":"RUNNING"}`}
	for name, c := range map[string]struct {
		app     api.Application
		key     string
		replies []reply
		want    error
		asked   int64
	}{
		"with an id":       {api.Application{ID: "a"}, "", []reply{hangUp, noLeader, created}, nil, 3},
		"with a key":       {api.Application{}, "k", []reply{unknown, created}, nil, 2},
		"with neither":     {api.Application{}, "", []reply{hangUp, created}, ErrOutcomeUnknown, 1},
		"cannot be read":   {api.Application{ID: "a"}, "", []reply{{201, "{"}}, ErrOutcomeUnknown, 1},
		"taken":            {api.Application{ID: "a"}, "", []reply{{409, `{"message":"other properties"}`}}, ErrConflict, 1},
		"stopped":          {api.Application{ID: "a"}, "", []reply{{410, `{"message":"is stopped"}`}}, ErrStopped, 1},
		"refused as wrong": {api.Application{ID: "a"}, "", []reply{badRequest}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.replies...)
			st, known, err := connect(t, Config{Servers: []string{s.URL}}).RegisterApp(context.Background(), c.app, c.key, 0)
			var refused *APIError
			switch {
			case c.want != nil && !errors.Is(err, c.want), c.replies[0] == badRequest && (!errors.As(err, &refused) || refused.Status != 400):
				t.Errorf("error %v, want %v", err, c.want)
			case c.want == nil && c.replies[0] != badRequest && (err != nil || known || st.ApplicationID != "fw"):
				t.Errorf("%+v, %t, %v", st, known, err)
			}
			if n := s.asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

// The time that a server waits on purpose is no sign that it hangs.
func TestARegistrationMayWaitLongerThanAnAttempt(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(60 * time.Millisecond) // what is tested is that this time may pass
		fmt.Fprint(w, `{"id":"a"}`)
	}))
	defer s.Close()
	c := connect(t, Config{Servers: []string{s.URL}, AttemptTimeout: 30 * time.Millisecond, RetryFor: -1})
	if _, _, err := c.RegisterApp(context.Background(), api.Application{ID: "a"}, "", 20*time.Second); err != nil {
		t.Error(err)
	}
}

func TestServersWithoutBackendsAreSkipped(t *testing.T) {
	without := reply{501, `{"action":"ErrorResponse","message":"start it with --backends","outcome":"not_executed"}`}
	a, b, good := serve(t, without), serve(t, without), serve(t, reply{200, `{"applications":[]}`})
	if _, err := connect(t, Config{Servers: []string{a.URL, b.URL, good.URL}}).Apps(context.Background(), false); err != nil {
		t.Errorf("error %v", err)
	}
	a, b = serve(t, without), serve(t, without)
	c := connect(t, Config{Servers: []string{a.URL, b.URL}})
	if err := c.StopApp(context.Background(), "a", ""); !errors.Is(err, ErrNotOffered) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("error %v", err)
	}
	if a.asked.Load() != 1 || b.asked.Load() != 1 {
		t.Errorf("asked %d and %d times: asking again does not help", a.asked.Load(), b.asked.Load())
	}
	for _, err := range c.AppEvents(context.Background(), "a", AppEventsOptions{}) {
		if !errors.Is(err, ErrNotOffered) {
			t.Errorf("events end with %v", err)
		}
	}
}

// snapshotPart and change are frames of an application's stream.
func snapshotPart(executor string) string {
	return fmt.Sprintf("event: executor\ndata: {\"type\":\"executor\",\"change\":7,\"event\":\"snapshot\",\"executor\":{\"id\":%q}}\n\n", executor)
}

func appFrame(change int, event, state string) string {
	raw, _ := json.Marshal(api.AppEvent{Type: api.EventApp, Change: uint64(change), Event: event, App: &api.AppStatus{ID: "a", State: state}})
	return fmt.Sprintf("id: %d\nevent: app\ndata: %s\n\n", change, raw)
}

func executorFrame(change int, executor string) string {
	return fmt.Sprintf("id: %d\nevent: executor\ndata: {\"type\":\"executor\",\"change\":%d,\"event\":\"failed\",\"executor\":{\"id\":%q}}\n\n", change, change, executor)
}

func told(e api.AppEvent) string {
	if e.Executor != nil {
		return e.Event + e.Executor.ID
	}
	if e.App != nil {
		return e.Event + e.App.State
	}
	return e.Type
}

func TestEventsOfAnApplicationSurviveTheLossOfNodes(t *testing.T) {
	var seen []string
	// Each script ends in the death of its node.
	s := streams(t, &seen,
		": changes from 8\n\n"+snapshotPart("0"), // in mid snapshot: it has to be read again
		": changes from 8\n\n"+snapshotPart("0")+snapshotPart("1")+appFrame(7, "snapshot", api.AppRunning)+executorFrame(9, "0")+"id: 10\nevent: exe",
		":\nid: 11\n\n", // nothing new of this application
		"event: reset\ndata: {\"type\":\"reset\",\"change\":20}\n\n"+snapshotPart("1"), // in the snapshot behind a reset
		executorFrame(12, "1")+appFrame(13, "tear_down", api.AppStopped)+executorFrame(14, "never"),
	)
	c := connect(t, Config{Servers: []string{nobody(t), s.URL, nobody(t)}})
	var got []string
	for e, err := range c.AppEvents(context.Background(), "a", AppEventsOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, told(e))
	}
	if want := "[snapshot0 snapshot0 snapshot1 snapshotRUNNING failed0 reset snapshot1 failed1 tear_downSTOPPED]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if fmt.Sprintf("%q", seen) != `["" "" "9" "11" "11"]` {
		t.Errorf("positions asked for: %q", seen)
	}
}

func TestEventsOfAnApplicationEndWithRefusalsAndWithTheCaller(t *testing.T) {
	missing := serve(t, reply{404, `{"action":"ErrorResponse","message":"No application has this id."}`})
	n := 0
	for _, err := range connect(t, Config{Servers: []string{missing.URL}}).AppEvents(context.Background(), "a", AppEventsOptions{Since: 4}) {
		if n++; !errors.Is(err, ErrNotFound) {
			t.Errorf("ended with %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
	var seen []string
	s := streams(t, &seen, appFrame(7, "snapshot", api.AppRunning))
	c := connect(t, Config{Servers: []string{s.URL}})
	for range c.AppEvents(context.Background(), "a", AppEventsOptions{Since: 4}) {
		break
	}
	if fmt.Sprint(seen) != "[4]" {
		t.Errorf("positions asked for: %q", seen)
	}
}

func ExampleClient_AppEvents() {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, snapshotPart("0"), appFrame(7, "snapshot", api.AppRunning), executorFrame(8, "0"), appFrame(9, "tear_down", api.AppStopped))
			return
		}
		fmt.Fprint(w, `{"id":"nightly","state":"RUNNING","applicationId":"5d6a0b2e-0003"}`)
	}))
	defer s.Close()
	c, err := New(Config{Servers: []string{s.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	app, _, err := c.RegisterApp(ctx, api.Application{
		ID: "nightly", Name: "nightly", DriverURL: "spark://CoarseGrainedScheduler@driver.example:35123",
		Properties: map[string]string{"spark.executor.memory": "4g"},
	}, "", 10*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(app.ApplicationID)
	for e, err := range c.AppEvents(ctx, app.ID, AppEventsOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Type, told(e))
	}
	// Output:
	// 5d6a0b2e-0003
	// executor snapshot0
	// app snapshotRUNNING
	// executor failed0
	// app tear_downSTOPPED
}
