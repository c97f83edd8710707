package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// importing is a node that takes drivers over, except those with odd names.
type importing struct {
	*node
	took     []dispatcher.ImportedDriver
	trials   int
	complete []string
}

func (n *importing) Import(_ context.Context, framework string, all []dispatcher.ImportedDriver, dryRun bool) (outcomes []dispatcher.ImportOutcome, err error) {
	if n.err != nil {
		return nil, n.err
	}
	for _, d := range all {
		out := dispatcher.ImportOutcome{DriverID: d.ID, Known: d.ID == "known"}
		switch d.ID {
		case "bad":
			out.Err = &launch.InvalidError{Key: "spark.mesos.dispatcher.queue", Value: "x", Reason: "not declared"}
		case "warned":
			out.Warnings = []string{"careful"}
		}
		if dryRun {
			n.trials++
		} else {
			n.took = append(n.took, d)
		}
		outcomes = append(outcomes, out)
	}
	return outcomes, nil
}

func (n *importing) CompleteImport(_ context.Context, framework string) error {
	if framework != "fw" {
		return &fsm.RefusedError{Code: fsm.CodeFrameworkID, Message: "framework fw is committed"}
	}
	n.complete = append(n.complete, framework)
	return n.err
}

const importPath = "/v1/admin/import"

func driverJSON(ids ...string) string {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf(`{"id":%q,"state":"QUEUED","submission":{"appResource":"r","mainClass":"m","appArgs":["a"],"sparkProperties":{"k":"v"},"environmentVariables":null}}`, id))
	}
	return strings.Join(all, ",")
}

func TestAnImportTellsWhatBecameOfEachDriver(t *testing.T) {
	doc := document(t)
	n := &importing{node: newNode()}
	s := newServer(t, testConfig(), n)
	for _, c := range []struct {
		name, body string
		want       api.ImportResponse
	}{
		{"trial", `{"frameworkId":"fw","dryRun":true,"complete":true,"drivers":[` + driverJSON("a", "bad") + `]}`,
			api.ImportResponse{FrameworkID: "fw", Drivers: []api.ImportOutcome{{ID: "a", Outcome: "imported"},
				{ID: "bad", Outcome: "refused", Reason: (&launch.InvalidError{Key: "spark.mesos.dispatcher.queue", Value: "x", Reason: "not declared"}).Error()}}}},
		{"each outcome", `{"frameworkId":"fw","drivers":[` + driverJSON("a", "known", "warned") + `]}`,
			api.ImportResponse{FrameworkID: "fw", Drivers: []api.ImportOutcome{{ID: "a", Outcome: "imported"}, {ID: "known", Outcome: "known"}, {ID: "warned", Outcome: "imported", Warnings: []string{"careful"}}}}},
		{"end", `{"frameworkId":"fw","complete":true}`, api.ImportResponse{FrameworkID: "fw", Complete: true, Drivers: []api.ImportOutcome{}}},
	} {
		w := do(s, http.MethodPost, importPath, c.body)
		var got api.ImportResponse
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %d %s, %v", c.name, w.Code, w.Body, err)
		}
		check(t, doc, s, http.MethodPost, importPath, c.body)
	}
	if n.trials != 4 || len(n.took) != 6 || len(n.complete) != 2 {
		t.Errorf("%d trials, %d drivers, completed %v", n.trials, len(n.took), n.complete)
	}
	refused := do(s, http.MethodPost, importPath, `{"frameworkId":"fw","complete":true,"drivers":[`+driverJSON("bad")+`]}`)
	if !strings.Contains(refused.Body.String(), `"complete":false`) || len(n.complete) != 2 {
		t.Errorf("completed although a driver was refused: %s", refused.Body)
	}
}

func TestAnImportedDriverArrivesWhole(t *testing.T) {
	n := &importing{node: newNode()}
	s := newServer(t, testConfig(), n)
	source, reason := int32(2), int32(1)
	d := api.ImportDriver{
		ID: "d", SubmittedMs: 1, Cores: 2, MemoryMiB: 3, Supervise: true, State: "RETRYING", Attempt: 4, TaskID: "d-retry-4", AgentID: "a",
		FrameworkID: "fw-d", LaunchedMs: 5, Retries: 5, WaitSeconds: 16, NotBeforeMs: 7,
		Submission: api.ImportSubmission{AppResource: "r", MainClass: "m", AppArgs: []string{"x"}, SparkProperties: map[string]string{"k": "v"},
			EnvironmentVariables: map[string]string{"E": "1"}, ClientSparkVersion: "3.5.1"},
		Last: &api.ImportStatus{State: 3, Message: "m", Source: &source, Reason: &reason, AgentID: "a", ExecutorID: "e", Timestamp: 1.5, UUID: []byte{1, 2}},
	}
	body, err := json.Marshal(api.ImportRequest{FrameworkID: "fw", Drivers: []api.ImportDriver{d}})
	if err != nil {
		t.Fatal(err)
	}
	if w := do(s, http.MethodPost, importPath, string(body)); w.Code != 200 {
		t.Fatal(w.Body)
	}
	want := dispatcher.ImportedDriver{
		ID: "d", SubmittedMs: 1, Cores: 2, MemoryMiB: 3, Supervise: true, State: fsm.DriverRetrying, Attempt: 4, TaskID: "d-retry-4", AgentID: "a",
		FrameworkID: "fw-d", LaunchedMs: 5, Retries: 5, WaitSeconds: 16, NotBeforeMs: 7,
		Submission: launch.Submission{AppResource: "r", MainClass: "m", Args: []string{"x"}, Properties: map[string]string{"k": "v"},
			Environment: map[string]string{"E": "1"}, ClientSparkVersion: "3.5.1"},
		Last: &fsm.Status{State: 3, Message: "m", HasSource: true, Source: 2, HasReason: true, Reason: 1, AgentId: "a", ExecutorId: "e", Timestamp: 1.5, Uuid: []byte{1, 2}},
	}
	if got := n.took[0]; got.Last.String() != want.Last.String() {
		t.Errorf("status %v, want %v", got.Last, want.Last)
	} else if got.Last, want.Last = nil, nil; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestAnImportThatIsNotUnderstoodIsRefused(t *testing.T) {
	doc := document(t)
	n := &importing{node: newNode()}
	s := newServer(t, testConfig(), n)
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"no JSON":           {"x", 400},
		"no framework":      {`{"drivers":[]}`, 400},
		"unknown field":     {`{"frameworkId":"fw","drivers":[{"id":"a","lable":1}]}`, 400},
		"two values":        {`{"frameworkId":"fw"}{}`, 400},
		"too many":          {`{"frameworkId":"fw","drivers":[` + strings.Repeat("{},", api.MaxImport) + `{}]}`, 400},
		"too large":         {strings.Repeat(" ", 11<<20), 413},
		"another framework": {`{"frameworkId":"other","complete":true}`, 409},
	} {
		if got := check(t, doc, s, http.MethodPost, importPath, c.body); got != c.status {
			t.Errorf("%s: status %d, want %d", name, got, c.status)
		}
	}
	if len(n.took)+len(n.complete) > 0 {
		t.Error("something was imported")
	}
	n.err = raftstore.ErrNoLeader
	for _, body := range []string{`{"frameworkId":"fw","drivers":[` + driverJSON("a") + `]}`, `{"frameworkId":"fw","complete":true}`} {
		if got := check(t, doc, s, http.MethodPost, importPath, body); got != 503 {
			t.Errorf("without a leader: status %d", got)
		}
	}
	if got := check(t, doc, newServer(t, testConfig(), newNode()), http.MethodPost, importPath, "{}"); got != 501 {
		t.Errorf("a node that does not import: status %d", got)
	}
}

func TestAnImportNeedsTheAccessOfAStateChange(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "ann:"+annsToken)
	n := &importing{node: newNode()}
	s := newServer(t, cfg, n)
	const body = `{"frameworkId":"fw","complete":true}`
	if w := do(s, http.MethodPost, importPath, body); w.Code != 401 || len(n.complete) > 0 {
		t.Errorf("a stranger: %d", w.Code)
	}
	if w := do(s, http.MethodPost, importPath, body, "Authorization", "Bearer "+annsToken); w.Code != 200 {
		t.Errorf("ann: %d %s", w.Code, w.Body)
	}
}
