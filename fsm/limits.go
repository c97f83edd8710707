package fsm

import (
	"math"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// The limits of what comes in through the log. They are part of its contract:
// a change makes nodes of two versions disagree, so it needs a new command set.
const (
	maxCommand  = 16 << 20 // bytes of one entry
	maxText     = 4 << 10  // bytes of a message or reason; of the names in a launch or status
	maxDriverID = 200      // bytes; Mesos takes 255 for a task id, which is longer by -retry-N
	maxTimeMs   = 253402300799999
)

// validTime tells whether ms lies between 1970 and the year 9999, where sums of
// times cannot overflow and every format can print them.
func validTime(ms int64) bool { return ms >= 0 && ms <= maxTimeMs }

// clip cuts s to maxText bytes and never inside a character: text of the state
// must stay valid UTF-8, or it could not be encoded.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// invalidSubmission is empty, or why a submission cannot be taken in.
func invalidSubmission(c *fsmpb.SubmitDriver) string {
	switch {
	case c.DriverId != "" && invalidDriverID(c.DriverId) != "":
		return invalidDriverID(c.DriverId)
	case c.DriverId == "" && invalidDriverID(c.IdPrefix+"0") != "":
		return invalidDriverID(c.IdPrefix + "0")
	case !finite(c.Priority):
		return "priority is not a finite number"
	case !finite(c.Cores) || c.Cores < 0:
		return "cores is not a finite number from 0 on"
	case c.MemMib < 0:
		return "memory is negative"
	case !validTime(c.SubmittedMs):
		return "time of submission out of range"
	}
	return ""
}

// finite refuses NaN above all: it has no place in the order of the queue.
func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// invalidDriverID is empty, or what is wrong with an id that becomes part of
// task ids and of sandbox paths. The characters refused are those that Mesos
// refuses in a task id.
func invalidDriverID(id string) string {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == '\\' }
	switch {
	case len(id) == 0 || len(id) > maxDriverID:
		return "driver id is empty or too long"
	case id == "." || id == "..":
		return "driver id is a path"
	case strings.ContainsFunc(id, bad):
		return "driver id holds a space, a slash or a control character"
	case strings.Contains(id, retrySuffix):
		return "driver id holds " + retrySuffix + ", which marks the later attempts of another driver"
	}
	return ""
}

// retryStates are the task states that policy.retry_on may name: those that end
// a task without success.
const retryStates uint32 = 1<<TaskFailed | 1<<TaskKilled | 1<<TaskLost | 1<<TaskError | 1<<TaskDropped |
	1<<TaskUnreachable | 1<<TaskGone | 1<<TaskGoneByOperator | 1<<TaskUnknown

// invalidPolicy is empty, or why a policy cannot be followed.
func invalidPolicy(p *Policy) string {
	switch {
	case p.DedupWindow < 1:
		return "policy without a dedup window"
	case p.MaxDrivers < 0, p.RetainedDrivers < 0, p.RetryWaitMaxS < 0, p.MaxRetries < 0, p.BackoffResetMs < 0:
		return "policy holds a negative limit"
	case p.RetryOn&^retryStates != 0:
		return "policy retries on a task state that is no failure"
	}
	return ""
}

// invalidHeader is empty, or why no state can be made of a snapshot's header.
func invalidHeader(h *fsmpb.Header) string {
	if h.Version < 1 || h.NextSeq < 1 || h.NextFinishSeq < 1 || h.NextChange < 1 {
		return "a counter is missing"
	}
	if h.Policy != nil && invalidPolicy(h.Policy) != "" {
		return invalidPolicy(h.Policy)
	}
	if f := h.Framework; f != nil {
		switch FrameworkState(f.State) {
		case FrameworkNew, FrameworkSubscribed, FrameworkDisconnected, FrameworkTornDown, FrameworkRemoved:
		default:
			return "unknown state of the framework " + f.State
		}
	}
	return ""
}

// invalidDriver is empty, or why a record of a snapshot can be no driver of a
// state with these counters.
func invalidDriver(d *Driver, s *scalars) string {
	switch {
	case d.ID == "" || d.Seq == 0 || d.Seq >= s.nextSeq:
		return "id or place in the order is wrong"
	case !finite(d.Priority):
		return "priority is not a finite number"
	case d.State.Terminal() && (d.FinishSeq == 0 || d.FinishSeq >= s.nextFinish):
		return "place among the finished ones is wrong"
	case d.State.Active() && len(d.Attempts) == 0:
		return "active without an attempt"
	case !d.State.Terminal() && !d.State.Active() && d.State != DriverQueued && d.State != DriverRetrying:
		return "unknown state " + string(d.State)
	}
	return ""
}

// mismatch is empty, or where the records restored differ from the header's
// counts: every driver stands in the order and in one index of its state.
func (t *trees) mismatch(h *fsmpb.Header) string {
	c := t.counts()
	drivers := t.drivers.Len()
	switch {
	case uint64(drivers) != h.Drivers, t.bySeq.Len() != drivers, c.Waiting+c.Active+c.Retrying+c.Finished != drivers:
		return "drivers do not add up"
	case uint64(t.reqOrder.Len()) != h.Requests, t.requests.Len() != t.reqOrder.Len():
		return "requests do not add up"
	case uint64(t.nodes.Len()) != h.Nodes:
		return "nodes do not add up"
	case uint64(t.apps.Len()) != h.Apps:
		return "applications do not add up"
	case uint64(t.executors.Len()) != h.Executors, t.live.Len()+t.ended.Len() != t.executors.Len():
		return "executors do not add up"
	}
	return ""
}
