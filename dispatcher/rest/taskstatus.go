package rest

import (
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// The enums of mesos.proto by number, for Mesos 1.11. Upstream is built on the
// v0 API, in which an agent is still called a slave.
var (
	taskStates = map[int32]string{
		0: "TASK_STARTING", 1: "TASK_RUNNING", 2: "TASK_FINISHED", 3: "TASK_FAILED", 4: "TASK_KILLED",
		5: "TASK_LOST", 6: "TASK_STAGING", 7: "TASK_ERROR", 8: "TASK_KILLING", 9: "TASK_DROPPED",
		10: "TASK_UNREACHABLE", 11: "TASK_GONE", 12: "TASK_GONE_BY_OPERATOR", 13: "TASK_UNKNOWN",
	}
	taskSources = map[int32]string{0: "SOURCE_MASTER", 1: "SOURCE_SLAVE", 2: "SOURCE_EXECUTOR"}
	taskReasons = map[int32]string{
		0: "REASON_COMMAND_EXECUTOR_FAILED", 1: "REASON_EXECUTOR_TERMINATED", 2: "REASON_EXECUTOR_UNREGISTERED",
		3: "REASON_FRAMEWORK_REMOVED", 4: "REASON_GC_ERROR", 5: "REASON_INVALID_FRAMEWORKID",
		6: "REASON_INVALID_OFFERS", 7: "REASON_MASTER_DISCONNECTED", 8: "REASON_CONTAINER_LIMITATION_MEMORY",
		9: "REASON_RECONCILIATION", 10: "REASON_SLAVE_DISCONNECTED", 11: "REASON_SLAVE_REMOVED",
		12: "REASON_SLAVE_RESTARTED", 13: "REASON_SLAVE_UNKNOWN", 14: "REASON_TASK_INVALID",
		15: "REASON_TASK_UNAUTHORIZED", 16: "REASON_TASK_UNKNOWN", 17: "REASON_CONTAINER_PREEMPTED",
		18: "REASON_RESOURCES_UNKNOWN", 19: "REASON_CONTAINER_LIMITATION", 20: "REASON_CONTAINER_LIMITATION_DISK",
		21: "REASON_CONTAINER_LAUNCH_FAILED", 22: "REASON_CONTAINER_UPDATE_FAILED",
		23: "REASON_EXECUTOR_REGISTRATION_TIMEOUT", 24: "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
		25: "REASON_TASK_GROUP_INVALID", 26: "REASON_TASK_GROUP_UNAUTHORIZED", 27: "REASON_IO_SWITCHBOARD_EXITED",
		28: "REASON_TASK_CHECK_STATUS_UPDATED", 29: "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
		30: "REASON_TASK_KILLED_DURING_LAUNCH", 31: "REASON_SLAVE_REMOVED_BY_OPERATOR",
		32: "REASON_SLAVE_REREGISTERED", 33: "REASON_MAX_COMPLETION_TIME_REACHED", 34: "REASON_SLAVE_DRAINING",
	}
)

// enumName is the name of a number, or the number where a later Mesos has more.
func enumName(names map[int32]string, n int32) string {
	if name, known := names[n]; known {
		return name
	}
	return strconv.FormatInt(int64(n), 10)
}

// agentName is the v1 name of an enum value, as our own API shows it.
func agentName(v0 string) string { return strings.Replace(v0, "_SLAVE", "_AGENT", 1) }

// statusText is a status in the protobuf text format, as Java prints a v0
// TaskStatus: fields by number, strings escaped byte by byte. It is what Spark's
// status message holds.
func statusText(st *fsm.Status) string {
	b := make([]byte, 0, 512)
	b = appendNested(b, "task_id", st.TaskId)
	b = append(b, "state: "...)
	b = append(b, enumName(taskStates, st.State)...)
	b = append(b, '\n')
	if st.Message != "" {
		b = appendQuoted(b, "message", st.Message)
	}
	if st.AgentId != "" {
		b = appendNested(b, "slave_id", st.AgentId)
	}
	if st.Timestamp != 0 {
		b = append(b, "timestamp: "...)
		b = append(appendJavaDouble(b, st.Timestamp), '\n')
	}
	if st.ExecutorId != "" {
		b = appendNested(b, "executor_id", st.ExecutorId)
	}
	if st.HasHealthy {
		b = append(b, "healthy: "...)
		b = append(strconv.AppendBool(b, st.Healthy), '\n')
	}
	if st.HasSource {
		b = append(append(append(b, "source: "...), enumName(taskSources, st.Source)...), '\n')
	}
	if st.HasReason {
		b = append(append(append(b, "reason: "...), enumName(taskReasons, st.Reason)...), '\n')
	}
	if len(st.Uuid) > 0 {
		b = appendQuoted(b, "uuid", string(st.Uuid))
	}
	return string(b)
}

func appendNested(b []byte, name, value string) []byte {
	b = append(append(b, name...), " {\n  "...)
	b = appendQuoted(b, "value", value)
	return append(b, "}\n"...)
}

func appendQuoted(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": \""...)
	for i := range len(value) {
		b = appendTextByte(b, value[i])
	}
	return append(b, "\"\n"...)
}

var textEscapes = map[byte]byte{
	'\a': 'a', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v', '\\': '\\', '\'': '\'', '"': '"',
}

func appendTextByte(b []byte, c byte) []byte {
	if c >= ' ' && c <= '~' && c != '\\' && c != '\'' && c != '"' {
		return append(b, c)
	}
	if e, short := textEscapes[c]; short {
		return append(b, '\\', e)
	}
	return append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
}

// appendJavaDouble writes v as Double.toString of Java 19 does: shortest digits
// that give v back, at least one behind the point, an exponent from 10⁷ on and
// below 10⁻³. Earlier versions of Java print some values with a digit more.
func appendJavaDouble(b []byte, v float64) []byte {
	abs := max(v, -v)
	if abs == 0 || abs >= 1e-3 && abs < 1e7 {
		text := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return append(b, text...)
	}
	mantissa, exponent, scientific := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
	if !scientific { // infinities and NaN
		return append(b, strings.TrimPrefix(strings.Replace(mantissa, "Inf", "Infinity", 1), "+")...)
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	b = append(append(b, mantissa...), 'E')
	if exponent[0] == '-' {
		b = append(b, '-')
	}
	return append(b, strings.TrimLeft(exponent, "+-0")...)
}
