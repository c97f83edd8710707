package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// application is the smallest registration, with more fields as JSON.
func application(more string) string {
	return `{"name":"a","driverUrl":"spark://CoarseGrainedScheduler@h:1","properties":{}` + more + `}`
}

// appWrites are the routes that change the application "a", with a good body.
var appWrites = map[string]string{
	"PUT /v1/apps/a/totals":     `{"totals":[{"profile":0,"total":2}]}`,
	"POST /v1/apps/a/kill":      `{"executors":["0"]}`,
	"POST /v1/apps/a/exclude":   `{"host":"h"}`,
	"POST /v1/apps/a/admit":     `{"host":"h"}`,
	"POST /v1/apps/a/heartbeat": ``,
	"DELETE /v1/apps/a":         ``,
}

var appReads = []string{"/v1/apps", "/v1/apps/a", "/v1/apps/a/executors", "/v1/apps/a/events"}

func errorOf(t testing.TB, body []byte) (e api.ErrorResponse) {
	t.Helper()
	if err := json.Unmarshal(body, &e); err != nil || e.Action != api.ActionError || e.Message == "" {
		t.Fatalf("no ErrorResponse (%v): %s", err, body)
	}
	return e
}

func TestANodeWithoutBackendsSaysSo(t *testing.T) {
	s := newServer(t, testConfig(), newNode())
	requests := map[string]string{"POST /v1/apps": application("")}
	for r, body := range appWrites {
		requests[r] = body
	}
	for _, path := range appReads {
		requests["GET "+path] = ""
	}
	for r, body := range requests {
		method, path, _ := strings.Cut(r, " ")
		w := do(s, method, path, body)
		if e := errorOf(t, w.Body.Bytes()); w.Code != 501 || !strings.Contains(e.Message, "--backends") {
			t.Errorf("%s: status %d, %s", r, w.Code, w.Body)
		}
	}
}

func TestTheIdMayStandInsideThePath(t *testing.T) {
	s := newServer(t, testConfig(), newNode())
	for path, want := range map[string]string{
		"/v1/apps": "apps ", "/v1/apps/": "apps ", "/v1/apps/a": "app a", "/v1/apps/a/": "app a", "/v1/apps/a/totals": "app-totals a",
		"/v1/apps/a/totals/": "app-totals a", "/v1/apps/totals": "app totals", "/v1/apps//totals": "app totals",
		"/v1/apps/totals/totals": "app-totals totals", "/v1/apps/a/b/totals": "error", "/v1/apps/a/total": "error",
		"/v1/apps/a%2Fb/kill": "app-kill a/b", "/v1/appstotals": "error", "/v1/apps/a/../b": "app b",
		"/v1/drivers/x/y": "error", "/v1/drivers/x": "driver x",
	} {
		r, arg := s.match(path)
		if got := r.name + " " + arg; got != want && (want != "error" || r.name != "error") {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestARegistrationIsCreatedOnceAndFoundAgain(t *testing.T) {
	h := newHost()
	s := newServer(t, hostConfig(h), h.node)
	register := func(body string, header ...string) (int, api.AppStatus, string) {
		w := do(s, "POST", "/v1/apps", body, header...)
		var st api.AppStatus
		_ = json.Unmarshal(w.Body.Bytes(), &st)
		return w.Code, st, w.Header().Get("Location")
	}
	if code, st, at := register(application(`,"id":"a"`)); code != 201 || st.ID != "a" || st.State != api.AppStarting || at != "/v1/apps/a" || st.Totals == nil {
		t.Errorf("first: %d %+v %s", code, st, at)
	}
	if code, st, at := register(application(`,"id":"a"`)); code != 200 || st.ID != "a" || at != "/v1/apps/a" {
		t.Errorf("again: %d %+v", code, st)
	}
	if code, _, _ := register(application(`,"id":"a","sparkHome":"/opt"`)); code != 409 {
		t.Errorf("with another content: %d", code)
	}
	_, one, _ := register(application(""), "Idempotency-Key", "k")
	if code, st, _ := register(application(""), "Idempotency-Key", "k"); code != 200 || st.ID != one.ID || one.ID == "" {
		t.Errorf("the same key: %d, %s and %s", code, st.ID, one.ID)
	}
	if code, st, _ := register(application("")); code != 201 || st.ID == one.ID {
		t.Errorf("without a key: %d %s", code, st.ID)
	}
	if code, _, _ := register(application(`,"user":"u"`), "Idempotency-Key", "k"); code != 422 {
		t.Errorf("the key with another content: %d", code)
	}
	h.end("a")
	if code, _, _ := register(application(`,"id":"a"`)); code != 410 {
		t.Errorf("after its end: %d", code)
	}
}

func TestChangesAreAcknowledgedAndShown(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	h.launch("a")
	s := newServer(t, hostConfig(h), h.node)
	for r, body := range appWrites {
		method, path, _ := strings.Cut(r, " ")
		if method == http.MethodDelete {
			continue
		}
		w := do(s, method, path, body)
		var got api.AppReceipt
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.ID != "a" || !got.Committed {
			t.Errorf("%s: status %d, %s", r, w.Code, w.Body)
		}
	}
	do(s, "POST", "/v1/apps/a/exclude", `{"host":"bad.example","reason":"fetch failures"}`)
	st := get[api.AppStatus](t, s, "/v1/apps/a")
	// Another host is excluded and admitted above, in any order.
	shown := func(x api.AppExclusion) bool { return x.Host == "bad.example" && x.Reason == "fetch failures" }
	if st.Totals[0].Total != 2 || !slices.ContainsFunc(st.Exclusions, shown) {
		t.Errorf("%+v", st)
	}
	list := get[api.AppExecutors](t, s, "/v1/apps/a/executors")
	if len(list.Executors) != 1 || list.Executors[0].State != "DRAINING" || list.Change == 0 {
		t.Errorf("%+v", list)
	}
	for range 2 {
		if w := do(s, "DELETE", "/v1/apps/a?reason=done", ""); w.Code != 200 {
			t.Errorf("stop: %d %s", w.Code, w.Body)
		}
	}
	if st := get[api.AppStatus](t, s, "/v1/apps/a"); st.State != api.AppStopping || st.Reason != "done" {
		t.Errorf("%+v", st)
	}
	if w := do(s, "DELETE", "/v1/apps/a?reason="+strings.Repeat("r", 1025), ""); w.Code != 400 {
		t.Errorf("a long reason: %d", w.Code)
	}
}

// A repetition that arrives behind a newer request must not undo it.
func TestALateRepetitionWithItsKeyChangesNothing(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	s := newServer(t, hostConfig(h), h.node)
	set := func(total int, key string) int {
		return do(s, "PUT", "/v1/apps/a/totals", fmt.Sprintf(`{"totals":[{"profile":0,"total":%d}]}`, total), "Idempotency-Key", key).Code
	}
	if codes := fmt.Sprint(set(5, "k1"), set(3, "k2"), set(5, "k1")); codes != "200 200 200" {
		t.Error(codes)
	}
	if st := get[api.AppStatus](t, s, "/v1/apps/a"); st.Totals[0].Total != 3 {
		t.Errorf("%+v", st.Totals)
	}
}

func TestAnUnknownApplicationAndAStoppedOneAreToldApart(t *testing.T) {
	h := newHost()
	s := newServer(t, hostConfig(h), h.node)
	for _, id := range []string{"a", "a%2Fb", "..%00", strings.Repeat("i", 300)} {
		for r, body := range appWrites {
			method, path, _ := strings.Cut(r, " ")
			w := do(s, method, strings.Replace(path, "/apps/a", "/apps/"+id, 1), body)
			if e := errorOf(t, w.Body.Bytes()); w.Code != 404 || e.Message != "No application has this id." {
				t.Errorf("%s of %s: status %d, %s", r, id, w.Code, w.Body)
			}
		}
		for _, path := range []string{"", "/executors", "/events"} {
			if w := do(s, "GET", "/v1/apps/"+id+path, ""); w.Code != 404 {
				t.Errorf("GET %s%s: status %d", id, path, w.Code)
			}
		}
	}
	h.app(t, "a", 1)
	h.launch("a")
	h.end("a")
	for r, body := range appWrites {
		method, path, _ := strings.Cut(r, " ")
		want := 410
		if method == http.MethodDelete || strings.HasSuffix(path, "/kill") { // of what is over anyway
			want = 200
		}
		if w := do(s, method, path, body); w.Code != want {
			t.Errorf("%s: status %d, %s", r, w.Code, w.Body)
		}
	}
}

func TestFailedChangesOfApplicationsSayWhetherTheyWereExecuted(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		status  int
		outcome api.Outcome
		retry   bool
	}{
		"no leader":       {raftstore.ErrNoLeader, 503, api.OutcomeNotExecuted, true},
		"outcome unknown": {raftstore.ErrOutcomeUnknown, 503, api.OutcomeUnknown, true},
		"too large":       {raftstore.ErrTooLarge, 413, api.OutcomeNotExecuted, false},
		"invalid":         {&AppInvalidError{"spark.executor.cores", "a number is wanted"}, 400, api.OutcomeNotExecuted, false},
		"too many":        {&fsm.RefusedError{Code: fsm.CodeQueueFull, Message: "full"}, 503, api.OutcomeNotExecuted, true},
		"framework id":    {&fsm.RefusedError{Code: fsm.CodeFrameworkID, Message: "in use"}, 409, api.OutcomeNotExecuted, false},
		"malformed":       {&fsm.RefusedError{Code: fsm.CodeMalformed, Message: "m"}, 400, api.OutcomeNotExecuted, false},
		"anything else":   {errors.New("disk on fire"), 500, api.OutcomeUnknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			h.app(t, "a", 1)
			h.err = fmt.Errorf("wrapped: %w", c.err)
			s := newServer(t, hostConfig(h), h.node)
			requests := map[string]string{"POST /v1/apps": application("")}
			for r, body := range appWrites {
				requests[r] = body
			}
			for r, body := range requests {
				method, path, _ := strings.Cut(r, " ")
				w := do(s, method, path, body)
				e := errorOf(t, w.Body.Bytes())
				if w.Code != c.status || e.Outcome != c.outcome || (w.Header().Get("Retry-After") != "") != c.retry {
					t.Errorf("%s: status %d, %+v", r, w.Code, e)
				}
				if strings.Contains(e.Message, "/v1/drivers") {
					t.Errorf("%s: points to drivers: %s", r, e.Message)
				}
			}
			if n := s.inFlight.Load(); n != 0 {
				t.Errorf("%d slots are held", n)
			}
		})
	}
}

func TestReadsOfApplicationsWithoutALeader(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	h.err = raftstore.ErrNoLeader
	s := newServer(t, hostConfig(h), h.node)
	for _, path := range appReads {
		w := do(s, "GET", path, "")
		if w.Code != 503 || !strings.Contains(w.Body.String(), "consistency=stale") {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
		if strings.HasSuffix(path, "events") {
			continue
		}
		if w := do(s, "GET", path+"?consistency=stale", ""); w.Code != 200 {
			t.Errorf("%s, stale: status %d, %s", path, w.Code, w.Body)
		}
		if w := do(s, "GET", path+"?consistency=soon", ""); w.Code != 400 {
			t.Errorf("%s: status %d for a consistency that there is not", path, w.Code)
		}
	}
}

func TestNothingShowsTheProperties(t *testing.T) {
	h := newHost()
	s := newServer(t, hostConfig(h), h.node)
	secret := `,"id":"a","properties":{"spark.authenticate.secret":"hunter2","spark.ssl.keyPassword":"hunter2","spark.x":"hunter2"}`
	body := strings.Replace(application(secret), `,"properties":{}`, "", 1)
	replies := []string{do(s, "POST", "/v1/apps", body).Body.String(), do(s, "POST", "/v1/apps", body).Body.String()}
	for _, broken := range []string{body[:len(body)-2], body + "x", strings.Replace(body, `"hunter2"`, `["hunter2"]`, 1), strings.Replace(body, "spark.x", "hadoop.x", 1)} {
		w := do(s, "POST", "/v1/apps", broken)
		if w.Code != 400 {
			t.Errorf("status %d for %s", w.Code, broken)
		}
		replies = append(replies, w.Body.String())
	}
	for _, path := range appReads[:3] {
		replies = append(replies, do(s, "GET", path, "").Body.String())
	}
	for _, r := range replies {
		if strings.Contains(r, "hunter2") || strings.Contains(r, "spark.x") {
			t.Errorf("a property is shown: %s", r)
		}
	}
}

func TestChangesOfApplicationsNeedAToken(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	cfg := hostConfig(h)
	cfg.Auth.TokenFile = tokenFile(t, "ann:"+annsToken)
	s := newServer(t, cfg, h.node)
	requests := map[string]string{"POST /v1/apps": application("")}
	for r, body := range appWrites {
		requests[r] = body
	}
	for r, body := range requests {
		method, path, _ := strings.Cut(r, " ")
		if w := do(s, method, path, body); w.Code != 401 || errorOf(t, w.Body.Bytes()).Outcome != notExecuted {
			t.Errorf("%s without a token: status %d", r, w.Code)
		}
		if w := do(s, method, path, body, "Authorization", "Bearer "+annsToken, "Origin", "https://elsewhere.example"); w.Code != 403 {
			t.Errorf("%s from a page of another origin: status %d", r, w.Code)
		}
	}
	for _, path := range appReads[:3] {
		if w := do(s, "GET", path, ""); w.Code != 200 {
			t.Errorf("GET %s without a token: status %d", path, w.Code)
		}
	}
	if w := do(s, "POST", "/v1/apps", application(""), "Authorization", "Bearer "+annsToken); w.Code != 201 {
		t.Errorf("with a token: status %d, %s", w.Code, w.Body)
	}
	if user := h.asked[len(h.asked)-1].User; user != "ann" {
		t.Errorf("user %q", user)
	}
}

func TestARegistrationWaitsForMesosWithoutASlot(t *testing.T) {
	h := newHost()
	s := newServer(t, hostConfig(h), h.node)
	addr := listen(t, s)
	for query, code := range map[string]int{"wait=x": 400, "wait=-1s": 400, "wait=61s": 400, "wait=1ms": 201, "wait=0s": 201} {
		if w := do(s, "POST", "/v1/apps?"+query, application("")); w.Code != code {
			t.Errorf("%s: status %d, want %d: %s", query, w.Code, code, w.Body)
		}
	}
	var wg sync.WaitGroup
	var reply *http.Response
	wg.Go(func() {
		var err error
		if reply, err = http.Post("http://"+addr+"/v1/apps?wait=1m", "application/json", strings.NewReader(application(`,"id":"a"`))); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the application is registered", func() bool { _, found := h.state.App("a"); return found })
	eventually(t, "no slot is held", func() bool { return s.inFlight.Load() == 0 })
	for i := range 10 {
		h.submitNamed(fmt.Sprint("other", i), "") // no news of the application
	}
	h.subscribe("a")
	wg.Wait()
	if reply == nil {
		return
	}
	defer reply.Body.Close()
	var st api.AppStatus
	if err := json.NewDecoder(reply.Body).Decode(&st); err != nil || reply.StatusCode != http.StatusCreated || st.ApplicationID != "fw-a" {
		t.Errorf("%d %+v %v", reply.StatusCode, st, err)
	}
}
