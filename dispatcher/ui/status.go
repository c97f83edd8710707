package ui

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// stateText is upstream's line about a task status: State, and of Message,
// Healthy, Source, Reason and Time those that the status has. Time stands apart
// because upstream prints seconds since 1970 in scientific notation.
type stateText struct {
	Text string
	At   stamp
}

func (p *Pages) stateText(st *fsm.Status) stateText {
	if st == nil {
		return stateText{}
	}
	var b strings.Builder
	for i, f := range p.statusFields(st) {
		switch f.Name {
		case "State", "Message", "Healthy", "Source", "Reason":
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(f.Name + ": " + f.Value)
		}
	}
	return stateText{Text: b.String(), At: p.statusTime(st)}
}

// pair is a name with its value, or with a time.
type pair struct {
	Name, Value string
	At          stamp
}

// statusFields are all that Mesos said in a status, in upstream's order.
func (p *Pages) statusFields(st *fsm.Status) []pair {
	if st == nil {
		return nil
	}
	fields := []pair{{Name: "State", Value: mesos.TaskState(st.State).String()}}
	add := func(name, value string, has bool) {
		if has {
			fields = append(fields, pair{Name: name, Value: value})
		}
	}
	add("Message", st.Message, st.Message != "")
	add("Healthy", strconv.FormatBool(st.Healthy), st.HasHealthy)
	add("Source", mesos.TaskStatus_Source(st.Source).String(), st.HasSource)
	add("Reason", mesos.TaskStatus_Reason(st.Reason).String(), st.HasReason)
	if at := p.statusTime(st); at.Text != "" {
		fields = append(fields, pair{Name: "Time", At: at})
	}
	add("Task ID", st.TaskId, st.TaskId != "")
	add("Agent ID", st.AgentId, st.AgentId != "")
	add("Executor ID", st.ExecutorId, st.ExecutorId != "")
	add("UUID", hex.EncodeToString(st.Uuid), len(st.Uuid) > 0)
	return fields
}

// statusTime is when Mesos made the status; a time that no calendar has is none.
func (p *Pages) statusTime(st *fsm.Status) stamp {
	const year10000 = 253402300800
	if !(st.Timestamp > 0 && st.Timestamp < year10000) {
		return stamp{}
	}
	return p.at(int64(st.Timestamp * 1000))
}

// meaning says in a sentence what a driver in this state does.
var meaning = map[fsm.DriverState]string{
	fsm.DriverQueued:    "Accepted and safe on a majority of the nodes; waits for an offer of Mesos that fits.",
	fsm.DriverLaunching: "The launch is committed and sent to Mesos; no status has come yet.",
	fsm.DriverRunning:   "Mesos reports the current attempt alive.",
	fsm.DriverKilling:   "A kill is committed; it is sent to Mesos until the task has ended.",
	fsm.DriverRetrying:  "The last attempt failed; the next one starts after a pause.",
	fsm.DriverFinished:  "The driver ended with success.",
	fsm.DriverFailed:    "The driver ended without success and is not tried again.",
	fsm.DriverKilled:    "The driver was ended on request, or by Mesos.",
	fsm.DriverLost:      "The task or its agent is gone, and the driver is not tried again.",
	fsm.DriverError:     "Mesos or the dispatcher found it impossible to run.",
}

// sparkState is the state in Spark's words: those of upstream's page, which
// knows four.
func sparkState(s fsm.DriverState) string {
	switch {
	case s.Terminal():
		return "FINISHED"
	case s.Active():
		return "RUNNING"
	}
	return string(s)
}

func taskState(st *fsm.Status) string { return mesos.TaskState(st.State).String() }

// lastFailed is the status that the latest attempt to end has ended with, or nil.
// While the next attempt runs, its own status is no failure.
func lastFailed(d *fsm.Driver) *fsm.Status {
	for _, a := range slices.Backward(d.Attempts) {
		if a.EndedMs != 0 && a.Last != nil {
			return a.Last
		}
	}
	return nil
}
