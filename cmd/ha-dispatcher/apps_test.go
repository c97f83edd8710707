package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// fakeCluster answers as the REST port does for one application, nightly, and
// remembers what was changed.
type fakeCluster struct {
	*httptest.Server
	mu      sync.Mutex
	changes []string
}

const (
	nightlyJSON = `{"id":"nightly","applicationId":"fw-3","name":"Nightly run","state":"RUNNING","registeredAt":"2026-11-22T11:23:19Z",` +
		`"heardAt":"2026-11-22T11:23:19Z","failoverTimeoutMs":120000,"totals":[{"profile":0,"total":4},{"profile":1,"total":1,"cores":2}],` +
		`"live":3,"running":2,"draining":1,"cores":6,"gpus":0,"exclusions":[{"host":"bad.example","reason":"fetch failures"}],` +
		`"leader":"n2","leaderUrl":"http://n2:7077","heldBack":{"too few cpus":7},"problem":"no agent is large enough"}`
	executorsJSON = `{"executors":[{"id":"0","state":"FAILED","profile":0,"host":"agent.example","cores":2,"memMiB":1408,` +
		`"launchedAt":"2026-11-22T11:23:20Z","endedAt":"2026-11-22T11:24:20Z","reason":"exit 137"}],"change":9}`
	eventsText = "event: executor\ndata: {\"type\":\"executor\",\"change\":9,\"event\":\"snapshot\",\"executor\":{\"id\":\"1\",\"state\":\"RUNNING\",\"host\":\"agent.example\"}}\n\n" +
		"id: 9\nevent: app\ndata: {\"type\":\"app\",\"change\":9,\"event\":\"snapshot\",\"app\":{\"id\":\"nightly\",\"state\":\"RUNNING\"}}\n\n" +
		"id: 10\nevent: app\ndata: {\"type\":\"app\",\"change\":10,\"at\":\"2026-11-22T11:25:20Z\",\"event\":\"tear_down\",\"reason\":\"done\",\"app\":{\"id\":\"nightly\",\"state\":\"STOPPED\"}}\n\n"
)

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	c := &fakeCluster{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		refuse := func(status int, text, outcome string) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"action":"ErrorResponse","message":%q,"outcome":%q}`, text, outcome)
		}
		switch {
		case r.URL.Path == "/v1/apps":
			fmt.Fprint(w, `{"applications":[`+nightlyJSON+`]}`)
		case !strings.HasPrefix(r.URL.Path, "/v1/apps/nightly"):
			refuse(404, "No application has this id.", "not_executed")
		case strings.HasSuffix(r.URL.Path, "/events"):
			if r.URL.Query().Get("observer") != "true" {
				t.Error("looking at the events is taken for a sign of life")
			}
			fmt.Fprint(w, eventsText)
		case strings.HasSuffix(r.URL.Path, "/executors"):
			fmt.Fprint(w, executorsJSON)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, nightlyJSON)
		case strings.Contains(string(body), `"99"`):
			refuse(409, "never had an executor 99", "not_executed")
		case strings.Contains(string(body), "lost.example"):
			refuse(500, "disk on fire", "unknown")
		default:
			c.mu.Lock()
			c.changes = append(c.changes, r.Method+" "+r.URL.RequestURI()+" "+string(body))
			c.mu.Unlock()
			fmt.Fprint(w, `{"id":"nightly","committed":true}`)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// command runs the program in this process; output is that to stdout, and behind
// it that to stderr.
func command(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = was }()
	read := make(chan string, 1)
	go func() {
		raw, _ := io.ReadAll(r)
		read <- string(raw)
	}()
	var stderr strings.Builder
	code = run(context.Background(), args, &stderr)
	w.Close()
	output = <-read
	r.Close()
	return code, output + stderr.String()
}

func TestApps(t *testing.T) {
	c := newFakeCluster(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, test := range map[string]struct {
		args   string
		code   int
		want   []string // in the output
		change string
	}{
		"list":                 {"", exitOK, []string{"ID", "nightly", "RUNNING", "5", "Nightly run"}, ""},
		"status":               {"status nightly", exitOK, []string{"fw-3", "2 running, 1 draining, 3 live; 5 wanted", "no agent is large enough", "7: too few cpus", "bad.example for good: fetch failures", "n2 http://n2:7077", "2m0s of silence"}, ""},
		"executors":            {"executors nightly", exitOK, []string{"FAILED", "agent.example", "exit 137"}, ""},
		"events":               {"events nightly", exitOK, []string{"snapshot   1 on agent.example  RUNNING", "tear_down  nightly  STOPPED  done"}, ""},
		"stop":                 {"stop nightly --reason over", exitOK, []string{"is being stopped"}, "DELETE /v1/apps/nightly?reason=over "},
		"scale":                {"scale nightly 7", exitOK, []string{"7 executors of profile 0"}, `PUT /v1/apps/nightly/totals {"totals":[{"profile":0,"total":7},{"profile":1,"total":1,"cores":2}]}`},
		"scale another":        {"scale nightly 2 --profile 3", exitOK, []string{"profile 3"}, `PUT /v1/apps/nightly/totals {"totals":[{"profile":0,"total":4},{"profile":1,"total":1,"cores":2},{"profile":3,"total":2}]}`},
		"kill":                 {"kill nightly 0 1", exitOK, []string{"2 executors"}, `POST /v1/apps/nightly/kill {"executors":["0","1"]}`},
		"exclude":              {"exclude nightly h --for 1h --reason r", exitOK, []string{"on h"}, `POST /v1/apps/nightly/exclude {"host":"h","durationMs":3600000,"reason":"r"}`},
		"admit":                {"admit nightly h", exitOK, []string{"on h"}, `POST /v1/apps/nightly/admit {"host":"h"}`},
		"unknown":              {"status none", exitFailed, []string{"No application has this id"}, ""},
		"unknown executor":     {"kill nightly 99", exitFailed, []string{"never had an executor 99"}, ""},
		"unknown outcome":      {"exclude nightly lost.example", exitUnknown, []string{"disk on fire"}, ""},
		"nobody there":         {"status nightly --timeout -1s --server " + gone.URL, exitUnavailable, []string{gone.URL}, ""},
		"no number":            {"scale nightly many", exitUsage, []string{"a number from 0"}, ""},
		"a negative number":    {"scale nightly -- -1", exitUsage, nil, ""},
		"an unknown flag":      {"stop nightly --force", exitUsage, []string{"'--force'"}, ""},
		"nothing to kill":      {"kill nightly", exitUsage, nil, ""},
		"a verb there is none": {"restart nightly", exitUsage, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"apps"}, strings.Fields(test.args)...)
			if !strings.Contains(test.args, "--server") && !strings.Contains(test.args, " -- ") {
				args = append(args, "--server", c.URL)
			}
			c.changes = nil
			code, out := command(t, args...)
			if code != test.code {
				t.Errorf("exit code %d, want %d; %s", code, test.code, out)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("output lacks %q:\n%s", want, out)
				}
			}
			if got := strings.Join(c.changes, ", "); got != test.change {
				t.Errorf("changed %s, want %s", got, test.change)
			}
		})
	}
}

func TestAppsForPrograms(t *testing.T) {
	c := newFakeCluster(t)
	for args, v := range map[string]any{
		"": new([]api.AppStatus), "status nightly": new(api.AppStatus), "executors nightly": new([]api.AppExecutor),
		"stop nightly": new(api.AppReceipt), "kill nightly 0": new(api.AppReceipt),
	} {
		code, out := command(t, append(append([]string{"apps"}, strings.Fields(args)...), "--json", "--server", c.URL)...)
		d := json.NewDecoder(strings.NewReader(out))
		d.DisallowUnknownFields()
		if err := d.Decode(v); code != exitOK || err != nil {
			t.Errorf("apps %s: %d, %v: %s", args, code, err, out)
		}
	}
}
