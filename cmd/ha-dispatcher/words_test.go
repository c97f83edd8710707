package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func TestWrongWordsEndWithTheCodeForThem(t *testing.T) {
	for line, want := range map[string]string{
		"bogus":                           `unknown command "bogus"`,
		"lits":                            "is 'list' or 'logs' meant?",
		"cluster bogus":                   `unknown command "bogus" for "ha-dispatcher cluster"`,
		"cluster snapshot bogus":          "'ha-dispatcher cluster snapshot --help'",
		"cluster remove":                  "Usage: ha-dispatcher cluster remove NODE-ID",
		"apps bogus":                      `unknown command "bogus" for "ha-dispatcher apps"`,
		"apps status":                     "Usage: ha-dispatcher apps status APP-ID",
		"status":                          "Usage: ha-dispatcher status DRIVER-ID",
		"status a b":                      "accepts 1 arg(s), received 2",
		"kill":                            "See 'ha-dispatcher kill --help'",
		"list x":                          "See 'ha-dispatcher list --help'",
		"list --limit -1":                 "--limit -1",
		"logs a --json":                   "Unrecognized option: '--json'", // what a driver wrote is no JSON
		"submit --command x --conf =v":    "--conf =v: KEY=VALUE is wanted",
		"submit --command x --env A":      "--env A: NAME=VALUE is wanted",
		"submit --command x --cores many": "invalid argument",
	} {
		t.Run(line, func(t *testing.T) {
			code, out := command(t, strings.Fields(line)...)
			if code != exitUsage || !strings.Contains(out, want) {
				t.Errorf("exit code %d, no %q in\n%s", code, want, out)
			}
		})
	}
	for _, line := range []string{"", "cluster", "cluster snapshot", "help", "cluster --help"} {
		if code, out := command(t, strings.Fields(line)...); code != exitOK || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: exit code %d\n%s", line, code, out)
		}
	}
}

// submitted is what a server is asked by a command line of submit.
func submitted(t *testing.T, args ...string) api.CreateRequest {
	t.Helper()
	var mu sync.Mutex
	var got api.CreateRequest
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, `{"action":"CreateSubmissionResponse","submissionId":"driver-1","success":true}`)
	}))
	defer s.Close()
	if code, out := command(t, append([]string{"submit", "--server", s.URL}, args...)...); code != exitOK {
		t.Fatalf("exit code %d: %s", code, out)
	}
	mu.Lock()
	defer mu.Unlock()
	return got
}

func TestSubmitSendsWhatWasSaid(t *testing.T) {
	p := submitted(t, "--command", "date", "--cores", "-1", "--env", "EMPTY=", "--env", "A=b=c", "--conf", "spark.x=").SparkProperties
	for key, want := range map[string]string{
		"spark.driver.cores":                "-1", // for the server to refuse
		"spark.mesos.driverEnv.EMPTY":       "",
		"spark.mesos.driverEnv.A":           "b=c",
		"spark.x":                           "",
		"spark.app.name":                    "date",
		"spark.mesos.dispatcher.command":    "date",
		"spark.mesos.dispatcher.queue none": "",
	} {
		key, none := strings.CutSuffix(key, " none")
		if got, there := p[key]; got != want || there == none {
			t.Errorf("%s: %q (%t), not %q", key, got, there, want)
		}
	}
}

// A name is shown in lists, on pages, in events and by Mesos.
func TestACommandWithASecretIsNoName(t *testing.T) {
	for command, want := range map[string]string{
		"date; sleep 5":                              "date; sleep 5",
		"mysql --password=hush":                      "command",
		"curl -H 'Authorization: token hush' http:/": "command",
		"curl https://user:hush@host/x":              "command",
		"curl https://host/x?sig=hush":               "command",
	} {
		if got := submitted(t, "--command", command).SparkProperties["spark.app.name"]; got != want {
			t.Errorf("%s: named %q, not %q", command, got, want)
		}
	}
}

func TestTextOfOthersCannotForgeRows(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		`näm "日本" \ x`:                `näm "日本" \ x`,
		"a\nFAKE  RUNNING\tx\x1b[31m": `a\nFAKE  RUNNING\tx\x1b[31m`,
		"\u202eright to left\xff":     `\u202eright to left\xff`,
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %s, not %s", text, got, want)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"drivers":[{"id":"driver-1","state":"RUNNING","name":"x\ndriver-2  RUNNING\u001b[2J"}]}`)
	}))
	defer s.Close()
	code, out := command(t, "list", "--server", s.URL)
	if code != exitOK || strings.Count(out, "\n") != 2 || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d\n%q", code, out)
	}
}

func TestTotalsWithoutALimitAreAny(t *testing.T) {
	for total, want := range map[int64]string{0: "0", 7: "7", unlimited: "any", unlimited + 7: "any"} {
		if got := number(total); got != want {
			t.Errorf("%d: %s, not %s", total, got, want)
		}
	}
}

func TestHealthOfACluster(t *testing.T) {
	for state, want := range map[string]int{"SUBSCRIBED": exitOK, "DISCONNECTED": exitFailed, "REMOVED": exitUnavailable} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"leader":"n1","nodes":[{"id":"n1","voter":true,"healthy":true}],"framework":{"id":"f","state":%q}}`, state)
		}))
		code, out := command(t, "cluster", "health", "--json", "--server", s.URL)
		s.Close()
		first, _, _ := strings.Cut(out, "\nError")
		var health struct{ Problems []string }
		if err := json.Unmarshal([]byte(first), &health); code != want || err != nil || health.Problems == nil {
			t.Errorf("%s: exit code %d, %v\n%s", state, code, err, out)
		}
	}
}

func TestLogsAskTheFrameworkThatLaunched(t *testing.T) {
	a := &api.Attempt{TaskID: "driver-1-retry-2", FrameworkID: "old-0000-driver-1-retry-2"}
	if got := frameworkOf(a, "new-0000"); got != "old-0000" {
		t.Error(got)
	}
	if got := frameworkOf(&api.Attempt{TaskID: "driver-1"}, "new-0000"); got != "new-0000" {
		t.Error(got)
	}
	d := &api.Driver{Summary: api.Summary{ID: "driver-1", State: "RUNNING"}, Attempts: []api.Attempt{*a}}
	if err := noAttempt(d, 9); !strings.Contains(err.Error(), "no attempt 9") {
		t.Error(err)
	}
}
