package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestRepliesAboutApplicationsAreAsTheDocumentDescribesThem(t *testing.T) {
	doc := document(t)
	h := newHost()
	h.app(t, "a", 2)
	h.launch("a")
	h.status("a", h.launch("a"), fsm.TaskFailed, "exit 1")
	h.app(t, "over", 1)
	h.end("over")
	s := newServer(t, hostConfig(h), h.node)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/apps", application(`,"id":"n"`), 201},
		{"POST", "/v1/apps", application(`,"id":"n"`), 200},
		{"POST", "/v1/apps", application(`,"id":"a"`), 409},
		{"POST", "/v1/apps", application(`,"id":"over"`), 410},
		{"POST", "/v1/apps", "{}", 400},
		{"POST", "/v1/apps", strings.Repeat(" ", 11<<20), 413},
		{"PUT", "/v1/apps/a/totals", `{"totals":[{"profile":0,"total":2}],"hosts":{"h":1}}`, 200},
		{"PUT", "/v1/apps/a/totals", `{}`, 400},
		{"PUT", "/v1/apps/none/totals", `{"totals":[]}`, 404},
		{"PUT", "/v1/apps/over/totals", `{"totals":[]}`, 410},
		{"POST", "/v1/apps/a/kill", `{"executors":["9"]}`, 409},
		{"POST", "/v1/apps/a/kill", `{"executors":["0"]}`, 200},
		{"POST", "/v1/apps/a/exclude", `{"host":"h","durationMs":5}`, 200},
		{"POST", "/v1/apps/a/admit", `{"host":"h"}`, 200},
		{"POST", "/v1/apps/a/heartbeat", "", 200},
		{"POST", "/v1/apps/over/heartbeat", "", 410},
		{"GET", "/v1/apps", "", 200},
		{"GET", "/v1/apps?consistency=x", "", 400},
		{"GET", "/v1/apps/a", "", 200},
		{"GET", "/v1/apps/none", "", 404},
		{"GET", "/v1/apps/a/executors", "", 200},
		{"GET", "/v1/apps/none/events", "", 404},
		{"GET", "/v1/apps/a/events?since=x", "", 400},
		{"DELETE", "/v1/apps/a", "", 200},
		{"DELETE", "/v1/apps/none", "", 404},
	} {
		if got := check(t, doc, s, c.method, c.path, c.body); got != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, got, c.status)
		}
	}
	check(t, doc, s, "POST", "/v1/apps", application(""), "Idempotency-Key", "k")
	if got := check(t, doc, s, "POST", "/v1/apps", application(`,"user":"u"`), "Idempotency-Key", "k"); got != 422 {
		t.Errorf("the key with another request: status %d", got)
	}
	h.locked(func() { h.err = raftstore.ErrNoLeader })
	for r, body := range appWrites {
		method, path, _ := strings.Cut(r, " ")
		if got := check(t, doc, s, method, path, body); got != 503 && got != 410 {
			t.Errorf("%s without a leader: status %d", r, got)
		}
	}
}

// Examples are what people copy, so the server takes them.
func TestTheExamplesOfTheDocumentAreTaken(t *testing.T) {
	doc := document(t)
	h := newHost()
	s := newServer(t, hostConfig(h), h.node)
	example := func(path, method string) string {
		content := doc.Paths.Find(path).GetOperation(method).RequestBody.Value.Content.Get("application/json")
		if err := content.Schema.Value.VisitJSON(content.Example); err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		raw, _ := json.Marshal(content.Example)
		return string(raw)
	}
	w := do(s, "POST", "/v1/apps", example("/v1/apps", "POST"))
	var st api.AppStatus
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	h.subscribe(st.ID)
	for range 4 {
		if w := do(s, "PUT", "/v1/apps/"+st.ID+"/totals", example("/v1/apps/{id}/totals", "PUT")); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		h.launch(st.ID)
	}
	for _, verb := range []string{"kill", "exclude", "admit"} {
		if w := do(s, "POST", "/v1/apps/"+st.ID+"/"+verb, example("/v1/apps/{id}/"+verb, "POST")); w.Code != 200 {
			t.Errorf("%s: %d %s", verb, w.Code, w.Body)
		}
	}
}

func TestEventsOfApplicationsAreAsTheDocumentDescribesThem(t *testing.T) {
	schema := document(t).Components.Schemas["AppEvent"].Value
	h := newHost()
	h.app(t, "a", 2)
	h.status("a", h.launch("a"), fsm.TaskFailed, "exit 1")
	addr := listen(t, newServer(t, hostConfig(h), h.node))
	r := followPath(t, addr, "/v1/apps/a/events", "Last-Event-ID", "0")
	h.end("a")
	for {
		f, ok := r.appEvent()
		if !ok {
			return
		}
		raw, _ := json.Marshal(f.AppEvent)
		var v any
		_ = json.Unmarshal(raw, &v)
		if err := schema.VisitJSON(v, openapi3.MultiErrors()); err != nil {
			t.Errorf("%v\nin %s", err, raw)
		}
		if fmt.Sprint(f.Change) != f.id {
			t.Errorf("%s has the id %s", raw, f.id)
		}
	}
}
