package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Numbers of task states in mesos.proto.
const (
	taskRunning, taskFinished, taskFailed, taskKilled, taskLost, taskError = 1, 2, 3, 4, 5, 7
)

// inState makes a driver and brings it into a state; supervised, it has failed
// once where it is to be retried.
func inState(n *node, supervise bool, task ...int32) string {
	id := n.apply("", fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{
		IdPrefix: "driver-20261122112319-", Name: "t", Cores: 1, MemMib: 1408, Supervise: supervise,
	}).DriverId
	if task == nil {
		return id
	}
	n.launchDriver(id, nil)
	d, _ := n.state.Driver(id)
	for _, s := range task {
		n.apply("", fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{
			{TaskId: d.Current().TaskID, State: s, Message: "as told", Uuid: []byte{byte(s)}},
		}})
	}
	return id
}

// A status is looked up among the queued, the launched, the finished and the
// retrying drivers, and told in Spark's four words; its message is the text dump
// of the last task status.
func TestStatusRules(t *testing.T) {
	dump := func(id, state string) string {
		return fmt.Sprintf("task_id {\n  value: %q\n}\nstate: %s\nmessage: \"as told\"\n", id, state)
	}
	for name, c := range map[string]struct {
		supervise bool
		task      []int32
		state     string
		dump      string // the task state in the message; empty: no message
	}{
		"queued":                                 {false, nil, "QUEUED", ""},
		"launched, and no status yet":            {false, []int32{}, "RUNNING", ""},
		"running":                                {false, []int32{taskRunning}, "RUNNING", "TASK_RUNNING"},
		"finished by itself":                     {false, []int32{taskRunning, taskFinished}, "FINISHED", "TASK_FINISHED"},
		"failed":                                 {false, []int32{taskFailed}, "FINISHED", "TASK_FAILED"},
		"killed":                                 {false, []int32{taskKilled}, "FINISHED", "TASK_KILLED"},
		"lost":                                   {false, []int32{taskLost}, "FINISHED", "TASK_LOST"},
		"error":                                  {false, []int32{taskError}, "FINISHED", "TASK_ERROR"},
		"supervised and failed":                  {true, []int32{taskRunning, taskFailed}, "RETRYING", "TASK_FAILED"},
		"supervised and lost":                    {true, []int32{taskLost}, "RETRYING", "TASK_LOST"},
		"supervised and finished is not retried": {true, []int32{taskFinished}, "FINISHED", "TASK_FINISHED"},
		"supervised and killed by somebody is not": {true, []int32{taskKilled}, "FINISHED", "TASK_KILLED"},
		"supervised and refused by Mesos is not":   {true, []int32{taskError}, "FINISHED", "TASK_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			id := inState(n, c.supervise, c.task...)
			message := ""
			if c.dump != "" {
				d, _ := n.state.Driver(id)
				st := d.LastStatus()
				st.Uuid = nil
				text := statusText(st)
				if text != dump(id, c.dump) {
					t.Errorf("dump %q", text)
				}
				message = "\n  \"message\" : " + quoted(statusText(d.LastStatus())) + ","
			}
			want := "{\n  \"action\" : \"SubmissionStatusResponse\",\n  \"driverState\" : \"" + c.state + "\"," + message +
				"\n  \"serverSparkVersion\" : \"3.5.1\",\n  \"submissionId\" : \"" + id + "\",\n  \"success\" : true\n}"
			w := do(newServer(t, testConfig(), n), "GET", "/v1/submissions/status/"+id, "")
			if w.Code != http.StatusOK || w.Body.String() != want {
				t.Errorf("status %d\n%s\nwant\n%s", w.Code, w.Body, want)
			}
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		w := do(newServer(t, testConfig(), newNode()), "GET", "/v1/submissions/status/x", "")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"driverState" : "NOT_FOUND"`) || !strings.Contains(w.Body.String(), `"success" : false`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// A kill is looked up among the launched, the queued, the retrying and the
// finished drivers, in Spark's words.
func TestKillRules(t *testing.T) {
	for name, c := range map[string]struct {
		supervise bool
		task      []int32
		success   bool
		message   string
		after     string
	}{
		"launched":            {false, []int32{}, true, "Killing running driver", "RUNNING"},
		"running":             {false, []int32{taskRunning}, true, "Killing running driver", "RUNNING"},
		"running, supervised": {true, []int32{taskRunning}, true, "Killing running driver", "RUNNING"},
		"queued":              {false, nil, true, "Removed driver while it's still pending", "FINISHED"},
		"retrying":            {true, []int32{taskFailed}, true, "Removed driver while it's being retried", "FINISHED"},
		"finished":            {false, []int32{taskFinished}, false, "Driver already terminated", "FINISHED"},
		"failed":              {false, []int32{taskFailed}, false, "Driver already terminated", "FINISHED"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			s := newServer(t, testConfig(), n)
			id := inState(n, c.supervise, c.task...)
			want := fmt.Sprintf("{\n  \"action\" : \"KillSubmissionResponse\",\n  \"message\" : %q,\n  \"serverSparkVersion\" : \"3.5.1\",\n  \"submissionId\" : %q,\n  \"success\" : %v\n}",
				c.message, id, c.success)
			if w := do(s, "POST", "/v1/submissions/kill/"+id, ""); w.Code != http.StatusOK || w.Body.String() != want {
				t.Errorf("status %d\n%s\nwant\n%s", w.Code, w.Body, want)
			}
			if w := do(s, "GET", "/v1/submissions/status/"+id, ""); !strings.Contains(w.Body.String(), `"driverState" : "`+c.after+`"`) {
				t.Errorf("afterwards %s", w.Body)
			}
		})
	}
	t.Run("a supervised driver that was killed is over", func(t *testing.T) {
		for _, end := range []int32{taskKilled, taskFailed, taskLost} {
			n := newNode()
			id := inState(n, true, taskRunning)
			n.apply("", fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: id})
			d, _ := n.state.Driver(id)
			n.apply("", fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{
				{TaskId: d.Current().TaskID, State: end, Uuid: []byte{9}},
			}})
			d, _ = n.state.Driver(id)
			if c := n.state.Counts(); !d.State.Terminal() || c.Retrying != 0 || c.Active != 0 || c.Finished != 1 {
				t.Errorf("after %d: %s, %+v", end, d.State, c)
			}
		}
	})
	t.Run("nowhere", func(t *testing.T) {
		w := do(newServer(t, testConfig(), newNode()), "POST", "/v1/submissions/kill/x", "")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"message" : "Cannot find driver"`) || !strings.Contains(w.Body.String(), `"success" : false`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// Paths and codes, without a body where that does not matter.
func TestPathRules(t *testing.T) {
	const hint = " Please submit requests through http://[host]:[port]/v1/submissions/..."
	s := newServer(t, testConfig(), newNode())
	for _, c := range []struct {
		method, path string
		code         int
		text         string
	}{
		{"GET", "/", 400, "Missing protocol version." + hint},
		{"POST", "/v1", 400, "Missing the /submissions prefix." + hint},
		{"GET", "/v1/", 400, "Missing the /submissions prefix." + hint},
		{"GET", "/v1/submissions", 400, "Missing an action: please specify one of /create, /kill, or /status." + hint},
		{"GET", "/v1/submissions/other/x", 400, "Missing an action: please specify one of /create, /kill, or /status." + hint},
		{"GET", "/v2/x", 468, "Unknown protocol version 'v2'." + hint},
		{"GET", "/v1/other", 468, "Unknown protocol version 'v1'." + hint},
		{"GET", "/v1/apps/a/nothing", 404, "There is nothing at this path; /v1/apps has others"},
		{"GET", "/v1/drivers/a/b", 404, "There is nothing at this path; /v1/drivers has others"},
		{"POST", "/v1/submissions/kill", 400, "Submission ID is missing in kill request."},
		{"POST", "/v1/submissions/kill/", 400, "Submission ID is missing in kill request."},
		{"GET", "/v1/submissions/status", 400, "Submission ID is missing in status request."},
		{"GET", "/v1/submissions/status/x/y/z", 200, `"submissionId" : "x"`},
		{"GET", "/v1/submissions/create", 405, "Method GET is not allowed here"},
		{"POST", "/v1/submissions/create", 400, "Malformed request: "},
	} {
		w := do(s, c.method, c.path, "")
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json;charset=utf-8" {
			t.Errorf("%s %s: content type %q", c.method, c.path, got)
		}
		if c.code == 468 != strings.Contains(w.Body.String(), `"highestProtocolVersion" : "v1"`) {
			t.Errorf("%s %s: %s", c.method, c.path, w.Body)
		}
	}
}

// What the protocol demands of a submission: each property that it gives a type.
func TestMessageRules(t *testing.T) {
	n := newNode()
	s := newServer(t, testConfig(), n)
	with := func(key, value string) string {
		return strings.Replace(minimal, `"sparkProperties":{`, fmt.Sprintf(`"sparkProperties":{%q:%q,`, key, value), 1)
	}
	for key, c := range map[string]struct {
		kind      string
		good, bad []string
	}{
		"spark.driver.supervise": {"boolean", []string{"true", "FALSE"}, []string{"yes", "1", "", " true"}},
		"spark.driver.cores":     {"numeric", []string{"1", "0.5", "2d", "1e0", "0x1p1"}, []string{"two", "", "1dd", "1_0", "NaN", "1,5"}},
		"spark.cores.max":        {"numeric", []string{"8", "8.5f"}, []string{"many"}},
		"spark.driver.memory":    {"memory", []string{"1g", "512M", "1073741824", "1024kb"}, []string{"lots", "1.5g", "-1g", "1 g", "1x", "g"}},
		"spark.executor.memory":  {"memory", []string{"2gb"}, []string{"1x"}},
	} {
		for _, v := range c.good {
			if w := do(s, "POST", "/v1/submissions/create", with(key, v)); w.Code != http.StatusOK {
				t.Errorf("%s=%s: %d %s", key, v, w.Code, w.Body)
			}
		}
		for _, v := range c.bad {
			w := do(s, "POST", "/v1/submissions/create", with(key, v))
			want := fmt.Sprintf("Validation of message CreateSubmissionRequest failed! Property '%s' expected %s value: actual was '%s'.", key, c.kind, v)
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s=%s: %d %s", key, v, w.Code, w.Body)
			}
		}
	}
	for field, want := range map[string]string{
		`"clientSparkVersion":"3.5.1",`:             "'clientSparkVersion' is missing in message CreateSubmissionRequest.",
		`"appResource":"file:///srv/jobs/app.jar",`: "'appResource' is missing in message CreateSubmissionRequest.",
		`"appArgs":[],`:                             "'appArgs' is missing in message CreateSubmissionRequest.",
		`"environmentVariables":{},`:                "'environmentVariables' is missing in message CreateSubmissionRequest.",
		`"mainClass":"org.example.App",`:            "Main class 'mainClass' is missing.",
		`,"sparkProperties":{"spark.app.name":"t"}`: "No Spark properties set!",
		`"spark.app.name":"t"`:                      "'spark.app.name' is missing in message CreateSubmissionRequest.",
		`"action":"CreateSubmissionRequest",`:       "Action field not found in JSON",
	} {
		if w := do(s, "POST", "/v1/submissions/create", strings.Replace(minimal, field, "", 1)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("without %s: %d %s", field, w.Code, w.Body)
		}
	}
	python := strings.Replace(minimal, `"mainClass":"org.example.App"`, `"mainClass":""`, 1)
	if w := do(s, "POST", "/v1/submissions/create", python); w.Code != http.StatusOK {
		t.Errorf("an empty main class, of Python and R: %d %s", w.Code, w.Body)
	}
}
