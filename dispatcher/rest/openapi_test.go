package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTheDocumentHasEveryRouteAndNoOther(t *testing.T) {
	doc := document(t)
	s := newServer(t, testConfig(), newNode())
	var served, described []string
	for _, r := range s.routes {
		for method := range r.methods {
			served = append(served, method+" "+r.path)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served:    %v\ndescribed: %v", served, described)
	}
	for _, route := range described {
		method, path, _ := strings.Cut(route, " ")
		if path == "/v1/events" {
			continue // does not end by itself; its tests are elsewhere
		}
		w := do(s, method, strings.Replace(path, "{id}", "x", 1), minimal)
		if w.Code == http.StatusMethodNotAllowed || w.Code == statusUnknownProtocol {
			t.Errorf("%s is described, and answered with %d", route, w.Code)
		}
	}
}

// check holds a reply against the document.
func check(t *testing.T, doc *openapi3.T, s *Server, method, path, body string, header ...string) int {
	t.Helper()
	w := do(s, method, path, body, header...)
	route, _ := s.match(strings.SplitN(path, "?", 2)[0])
	response := doc.Paths.Find(route.path).GetOperation(method).Responses.Status(w.Code)
	if response == nil {
		t.Errorf("%s %s: status %d is not described", method, path, w.Code)
		return w.Code
	}
	for name, h := range response.Value.Headers {
		if h.Value.Required && w.Header().Get(name) == "" {
			t.Errorf("%s %s: header %s is missing", method, path, name)
		}
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	schema := response.Value.Content.Get("application/json").Schema.Value
	if err := schema.VisitJSON(v, openapi3.MultiErrors(), openapi3.EnableFormatValidation()); err != nil {
		t.Errorf("%s %s: %v\nin %s", method, path, err, w.Body)
	}
	return w.Code
}

func TestRepliesAreAsTheDocumentDescribesThem(t *testing.T) {
	doc := document(t)
	n := newNode()
	n.warn = []string{"a warning"}
	s := newServer(t, testConfig(), n)
	running, failed := n.submitNamed("a", "gold"), n.apply("", fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "s-", Supervise: true}).DriverId
	healthy := &fsm.Status{State: int32(fsm.TaskRunning), HasHealthy: true, Healthy: true, HasSource: true, Source: 2, Timestamp: 1.7e9, AgentId: "agent-1"}
	n.launchDriver(running, healthy)
	n.launchDriver(failed, &fsm.Status{State: int32(fsm.TaskFailed), Message: "exit 1", HasReason: true})
	unknownField := strings.Replace(minimal, "{", `{"x":1,`, 1)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/submissions/create", unknownField, 200},
		{"POST", "/v1/submissions/create", "{}", 400},
		{"POST", "/v1/submissions/create", `{"action":"ErrorResponse"}`, 400},
		{"POST", "/v1/submissions/create", strings.Repeat(" ", 11<<20), 413},
		{"POST", "/v1/submissions/kill/none", "", 200},
		{"POST", "/v1/submissions/kill/", "", 400},
		{"GET", "/v1/submissions/status/" + running, "", 200},
		{"GET", "/v1/submissions/status/" + failed, "", 200},
		{"GET", "/v1/submissions/status/none", "", 200},
		{"GET", "/v1/submissions/status/", "", 400},
		{"GET", "/v1/drivers?limit=1", "", 200},
		{"GET", "/v1/drivers", "", 200},
		{"GET", "/v1/drivers?limit=x", "", 400},
		{"GET", "/v1/drivers/" + running, "", 200},
		{"GET", "/v1/drivers/" + failed, "", 200},
		{"GET", "/v1/drivers/none", "", 404},
		{"GET", "/v1/drivers/none?consistency=x", "", 400},
		{"GET", "/v1/cluster", "", 200},
		{"GET", "/v1/events?since=x", "", 400},
	} {
		if got := check(t, doc, s, c.method, c.path, c.body); got != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, got, c.status)
		}
	}
	check(t, doc, s, "POST", "/v1/submissions/create", minimal, "Idempotency-Key", "k")
	if got := check(t, doc, s, "POST", "/v1/submissions/create", unknownField+" ", "Idempotency-Key", "k"); got != 200 {
		t.Errorf("a repetition: status %d", got)
	}
	if got := check(t, doc, s, "POST", "/v1/submissions/create", strings.Replace(minimal, `"t"`, `"u"`, 1), "Idempotency-Key", "k"); got != 422 {
		t.Errorf("the key with another request: status %d", got)
	}
	n.fail(raftstore.ErrNoLeader)
	for path, method := range map[string]string{
		"/v1/submissions/create": "POST", "/v1/submissions/kill/x": "POST", "/v1/submissions/status/x": "GET", "/v1/drivers": "GET", "/v1/drivers/x": "GET",
	} {
		if got := check(t, doc, s, method, path, minimal); got != 503 {
			t.Errorf("%s without a leader: status %d", path, got)
		}
	}
}

func TestRefusedStrangersAreAsTheDocumentDescribes(t *testing.T) {
	doc := document(t)
	cfg := testConfig()
	cfg.Auth.TokenFile, cfg.Auth.Reads = tokenFile(t, "ann:"+annsToken), true
	s := newServer(t, cfg, newNode())
	for _, r := range s.routes {
		for method := range r.methods {
			if method == http.MethodHead {
				continue
			}
			if got := check(t, doc, s, method, strings.Replace(r.path, "{id}", "x", 1), ""); got != 401 {
				t.Errorf("%s: status %d", r.path, got)
			}
		}
	}
}

func TestEventsAreAsTheDocumentDescribesThem(t *testing.T) {
	schema := document(t).Components.Schemas["Event"].Value
	n := newNode()
	n.launchDriver(n.submitNamed("a", ""), nil)
	changes, _, _ := n.state.Feed().Since(1, 0)
	events := []api.Event{{Type: api.EventReset, Change: 7}}
	for i := range changes {
		events = append(events, event(&changes[i]))
	}
	for _, e := range events {
		raw, _ := json.Marshal(e)
		var v any
		_ = json.Unmarshal(raw, &v)
		if err := schema.VisitJSON(v, openapi3.MultiErrors()); err != nil {
			t.Errorf("%v\nin %s", err, raw)
		}
	}
}
