package rest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func TestTheSameKeyGivesTheFirstOutcome(t *testing.T) {
	n := newNode()
	s := newServer(t, testConfig(), n)
	first := do(s, "POST", "/v1/submissions/create", minimal, "Idempotency-Key", "k1")
	again := do(s, "POST", "/v1/submissions/create", minimal, "Idempotency-Key", "k1")
	if first.Body.String() != again.Body.String() || n.state.View().Len() != 1 {
		t.Errorf("replies %s and %s, %d drivers", first.Body, again.Body, n.state.View().Len())
	}
	if first.Header().Get("Idempotency-Replayed") != "" || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Error("Idempotency-Replayed does not tell the repetition")
	}
	other := do(s, "POST", "/v1/submissions/create", strings.Replace(minimal, `"t"`, `"u"`, 1), "Idempotency-Key", "k1")
	if other.Code != 422 || !strings.Contains(other.Body.String(), `"outcome" : "not_executed"`) {
		t.Errorf("another request with the key: status %d, body %s", other.Code, other.Body)
	}
	var reply api.SubmissionResponse
	if err := json.Unmarshal(first.Body.Bytes(), &reply); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w := do(s, "POST", "/v1/submissions/kill/"+reply.SubmissionID, "", "Idempotency-Key", "k2")
		if !strings.Contains(w.Body.String(), "Removed driver while it's still pending") {
			t.Errorf("kill: %s", w.Body)
		}
	}
	if w := do(s, "POST", "/v1/submissions/kill/another", "", "Idempotency-Key", "k2"); w.Code != 422 {
		t.Errorf("kill of another driver with the key: status %d, body %s", w.Code, w.Body)
	}
}

func TestUnfitKeysAreRefused(t *testing.T) {
	s := newServer(t, testConfig(), newNode())
	for _, key := range []string{"", strings.Repeat("x", 256), "a\tb", "é"} {
		if w := do(s, "POST", "/v1/submissions/create", minimal, "Idempotency-Key", key); w.Code != 400 {
			t.Errorf("key %.10q: status %d", key, w.Code)
		}
	}
}

func TestWarningsReachTheClientBesideSparksFields(t *testing.T) {
	n := newNode()
	n.warn = []string{"spark.mesos.x: not known"}
	w := do(newServer(t, testConfig(), n), "POST", "/v1/submissions/create", minimal)
	if !strings.HasSuffix(w.Body.String(), ",\n  \"success\" : true,\n  \"warnings\" : [ \"spark.mesos.x: not known\" ]\n}") {
		t.Errorf("body %s", w.Body)
	}
}
