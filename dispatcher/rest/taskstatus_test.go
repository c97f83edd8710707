package rest

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

var statusField = regexp.MustCompile(`(?s)(\w+)(?: \{\n  value)?: ("(?:[^"\\]|\\.)*"|\S+)\n`)

// parseStatusText reads what statusText writes, by another way.
func parseStatusText(t *testing.T, text string) *fsm.Status {
	t.Helper()
	st := &fsm.Status{}
	for _, m := range statusField.FindAllStringSubmatch(text, -1) {
		value := m[2]
		if value[0] == '"' {
			plain, err := strconv.Unquote(strings.ReplaceAll(value, `\'`, `'`))
			if err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			value = plain
		}
		switch m[1] {
		case "task_id":
			st.TaskId = value
		case "state":
			st.State = number(t, taskStates, value)
		case "message":
			st.Message = value
		case "slave_id":
			st.AgentId = value
		case "timestamp":
			st.Timestamp, _ = strconv.ParseFloat(value, 64)
		case "executor_id":
			st.ExecutorId = value
		case "source":
			st.Source, st.HasSource = number(t, taskSources, value), true
		case "reason":
			st.Reason, st.HasReason = number(t, taskReasons, value), true
		case "uuid":
			st.Uuid = []byte(value)
		default:
			t.Fatalf("unknown field %s", m[1])
		}
	}
	return st
}

func number(t *testing.T, names map[int32]string, name string) int32 {
	t.Helper()
	for n, s := range names {
		if s == name {
			return n
		}
	}
	t.Fatalf("no number for %s", name)
	return 0
}

func TestEnumNamesAreThoseOfMesosInItsV0API(t *testing.T) {
	v1 := func(names map[int32]string) map[int32]string {
		out := map[int32]string{}
		for n, name := range names {
			out[n] = agentName(name)
		}
		return out
	}
	for what, pair := range map[string][2]map[int32]string{
		"states": {mesos.TaskState_name, taskStates}, "reasons": {mesos.TaskStatus_Reason_name, v1(taskReasons)},
		"sources": {mesos.TaskStatus_Source_name, v1(taskSources)},
	} {
		for n, name := range pair[0] {
			if got := pair[1][n]; got != name {
				t.Errorf("%s: %d is %q, want %q", what, n, got, name)
			}
		}
	}
	if got := enumName(taskReasons, 99); got != "99" {
		t.Errorf("a number that is not known shows as %q", got)
	}
}

func TestStatusTextEscapesBytesAsProtobufDoes(t *testing.T) {
	st := &fsm.Status{TaskId: "a\"b", Message: "é\n'\x00\x7f", HasHealthy: true, Healthy: true}
	want := "task_id {\n  value: \"a\\\"b\"\n}\nstate: TASK_STARTING\nmessage: \"\\303\\251\\n\\'\\000\\177\"\nhealthy: true\n"
	if got := statusText(st); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestDoublesAreWrittenAsInJava(t *testing.T) {
	for v, want := range map[float64]string{
		1.795346568738e9: "1.795346568738E9", 1.7953465647e9: "1.7953465647E9", 1: "1.0", 0: "0.0", 0.5: "0.5",
		1e7: "1.0E7", 9999999: "9999999.0", 0.001: "0.001", 0.00012: "1.2E-4", -2.5: "-2.5", 1e100: "1.0E100",
		math.Inf(1): "Infinity", math.Inf(-1): "-Infinity",
	} {
		if got := string(appendJavaDouble(nil, v)); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	if got := string(appendJavaDouble(nil, math.NaN())); got != "NaN" {
		t.Errorf("NaN is written %s", got)
	}
}

func TestStatusMessageIsThatOfTheAttemptUpstreamWouldShow(t *testing.T) {
	status := func(task string) *fsm.Status { return &fsm.Status{TaskId: task, State: 1} }
	attempts := []*fsm.Attempt{{Last: status("first")}, {}}
	for state, want := range map[fsm.DriverState]string{
		fsm.DriverQueued: "", fsm.DriverLaunching: "why", fsm.DriverRetrying: "first", fsm.DriverLost: "first",
	} {
		got := statusMessage(&fsm.Driver{State: state, Attempts: attempts, Reason: "why"})
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: message %q, want one with %q", state, got, want)
		}
	}
	all := slices.Clone(driverStates)
	for _, s := range all {
		if got := sparkState(s); !slices.Contains([]string{"QUEUED", "RUNNING", "RETRYING", "FINISHED"}, got) {
			t.Errorf("%s maps to %s, which Spark does not know", s, got)
		}
	}
}
