package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestFailedWritesSayWhetherTheyWereExecuted(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		status  int
		outcome api.Outcome
		retry   bool
	}{
		"no leader":         {raftstore.ErrNoLeader, 503, api.OutcomeNotExecuted, true},
		"not the leader":    {&raftstore.NotLeaderError{LeaderID: "n2"}, 503, api.OutcomeNotExecuted, true},
		"closing":           {raftstore.ErrClosed, 503, api.OutcomeNotExecuted, true},
		"outcome unknown":   {raftstore.ErrOutcomeUnknown, 503, api.OutcomeUnknown, true},
		"unknown wins":      {fmt.Errorf("%w: %w", raftstore.ErrOutcomeUnknown, raftstore.ErrClosed), 503, api.OutcomeUnknown, true},
		"client went away":  {context.Canceled, 503, api.OutcomeUnknown, true},
		"too late":          {context.DeadlineExceeded, 503, api.OutcomeUnknown, true},
		"too large":         {raftstore.ErrTooLarge, 413, api.OutcomeNotExecuted, false},
		"key used twice":    {&fsm.RefusedError{Code: fsm.CodeRequestMismatch}, 422, api.OutcomeNotExecuted, false},
		"refused as broken": {&fsm.RefusedError{Code: fsm.CodeMalformed, Message: "m"}, 500, api.OutcomeNotExecuted, false},
		"anything else":     {errors.New("disk on fire"), 500, api.OutcomeUnknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			n.fail(fmt.Errorf("wrapped: %w", c.err))
			s := newServer(t, testConfig(), n)
			for path, body := range map[string]string{"/v1/submissions/create": minimal, "/v1/submissions/kill/x": ""} {
				w := do(s, "POST", path, body)
				var got api.ErrorResponse
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatalf("%s: %v in %s", path, err, w.Body)
				}
				if w.Code != c.status || got.Outcome != c.outcome || got.Action != api.ActionError || got.Message == "" {
					t.Errorf("%s: status %d, reply %+v", path, w.Code, got)
				}
				if (w.Header().Get("Retry-After") != "") != c.retry {
					t.Errorf("%s: Retry-After %q", path, w.Header().Get("Retry-After"))
				}
			}
		})
	}
}

func TestRefusalsThatSparkTellsInBandAreAnsweredInBand(t *testing.T) {
	n := newNode()
	s := newServer(t, testConfig(), n)
	for _, refused := range []*fsm.RefusedError{
		{Code: fsm.CodeNotReady, Message: notReadyText}, {Code: fsm.CodeQueueFull, Message: "Already reached maximum submission size"},
	} {
		n.fail(refused)
		w := do(s, "POST", "/v1/submissions/create", minimal)
		want := fmt.Sprintf("{\n  \"action\" : \"CreateSubmissionResponse\",\n  \"message\" : %q,\n  \"serverSparkVersion\" : \"3.5.1\",\n  \"success\" : false\n}", refused.Message)
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: status %d, body %s", refused.Code, w.Code, w.Body)
		}
	}
}

// Upstream answers these with 500, because its own reply lacks a field.
func TestKillAndStatusOfASchedulerThatIsNotReady(t *testing.T) {
	n := newNode()
	n.fail(&fsm.RefusedError{Code: fsm.CodeNotReady, Message: notReadyText})
	s := newServer(t, testConfig(), n)
	for _, w := range []*http.Response{
		do(s, "POST", "/v1/submissions/kill/d-1", "").Result(), do(s, "GET", "/v1/submissions/status/d-1", "").Result(),
	} {
		var got api.SubmissionResponse
		if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if w.StatusCode != http.StatusOK || got.Success || got.Message != notReadyText || got.SubmissionID != "d-1" {
			t.Errorf("status %d, reply %+v", w.StatusCode, got)
		}
	}
}

func TestAnInvalidPropertyIsNamedWithItsReason(t *testing.T) {
	n := newNode()
	n.fail(&launch.InvalidError{Key: "spark.mesos.role", Value: "a/b", Reason: "expected a role"})
	w := do(newServer(t, testConfig(), n), "POST", "/v1/submissions/create", minimal)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "Malformed request: spark.mesos.role: expected a role") {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
}

func TestReadsWithoutALeaderPointToStaleReads(t *testing.T) {
	n := newNode()
	n.leader = ""
	n.fail(raftstore.ErrNoLeader)
	s := newServer(t, testConfig(), n)
	for _, path := range []string{"/v1/submissions/status/x", "/v1/drivers", "/v1/drivers/x"} {
		w := do(s, "GET", path, "")
		if w.Code != 503 || !strings.Contains(w.Body.String(), "consistency=stale") || strings.Contains(w.Body.String(), "outcome") {
			t.Errorf("%s: status %d, body %s", path, w.Code, w.Body)
		}
		if w := do(s, "GET", path+"?consistency=stale", ""); w.Code == 503 {
			t.Errorf("%s: a stale read fails too: %s", path, w.Body)
		}
		if w := do(s, "GET", path+"?consistency=soon", ""); w.Code != 400 {
			t.Errorf("%s: status %d for a consistency that there is not", path, w.Code)
		}
		if w.Header().Get("X-HA-Dispatcher-Node") != "n1" || w.Header().Get("X-HA-Dispatcher-Leader") != "" {
			t.Errorf("%s: headers %v", path, w.Header())
		}
	}
}

func TestAPanicIsAnsweredAndDoesNotLeakASlot(t *testing.T) {
	n := newNode()
	n.onSub = func(launch.Submission) { panic("defect") }
	s := newServer(t, testConfig(), n)
	w := do(s, "POST", "/v1/submissions/create", minimal)
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"outcome" : "unknown"`) {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
	if got := s.inFlight.Load(); got != 0 {
		t.Errorf("%d requests in flight", got)
	}
}
