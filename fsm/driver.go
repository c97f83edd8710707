package fsm

import (
	"strconv"
	"strings"
)

// maxAttempts is how many attempts of a driver are kept: the first and the
// latest. A driver that fails once a minute fills it in 16 hours.
const maxAttempts = 1000

// Driver is one submission with all that became of it. It is immutable: a
// transition makes a new one, so a View can hand it out without a copy.
type Driver struct {
	ID         string
	Seq        uint64 // order of acceptance in the log
	State      DriverState
	Name       string
	MainClass  string
	Queue      string
	Priority   float64
	Cores      float64
	MemMiB     int64
	Supervise  bool
	MaxRetries int32 // 0: the policy's; negative: no limit
	Spec       []byte
	User       string

	SubmittedMs int64
	ChangedMs   int64 // last transition
	FinishedMs  int64 // 0 until terminal
	FinishSeq   uint64

	Attempts          []*Attempt // oldest first; the last one is current while Active
	AttemptsForgotten uint32
	NextAttempt       uint32
	Retries           int32 // failed attempts in a row
	WaitSeconds       int32 // the back-off that Retries led to
	NotBeforeMs       int64 // earliest next launch; 0: at once
	Drops             int32 // launches in a row that never reached an agent
	Reason            string
}

// Attempt is one task of a driver. It is immutable.
type Attempt struct {
	Number      uint32 // 0 for the first
	TaskID      string
	AgentID     string
	AgentHost   string
	FrameworkID string // the framework id that the driver itself registers with
	LaunchedMs  int64  // the intent was made
	StartedMs   int64  // first status; 0: none yet
	EndedMs     int64  // terminal status; 0: none yet
	Last        *Status
	Dropped     bool
}

// Current is the latest attempt, or nil.
func (d *Driver) Current() *Attempt {
	if len(d.Attempts) == 0 {
		return nil
	}
	return d.Attempts[len(d.Attempts)-1]
}

// LastStatus is the latest status of the latest attempt that has one, or nil.
func (d *Driver) LastStatus() *Status {
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		if st := d.Attempts[i].Last; st != nil {
			return st
		}
	}
	return nil
}

// attempt is the attempt with this task id and its place, or nil.
func (d *Driver) attempt(taskID string) (int, *Attempt) {
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		if d.Attempts[i].TaskID == taskID {
			return i, d.Attempts[i]
		}
	}
	return -1, nil
}

// withAttempt is a copy of the attempts in which place i holds a.
func (d *Driver) withAttempt(i int, a *Attempt) []*Attempt {
	next := make([]*Attempt, len(d.Attempts))
	copy(next, d.Attempts)
	next[i] = a
	return next
}

// retrySuffix separates a submission id from the number of a later attempt in a
// task id, as upstream writes it since 2.3.
const retrySuffix = "-retry-"

// TaskID of an attempt: the submission id, with -retry-N for the later ones.
func TaskID(driverID string, attempt uint32) string {
	if attempt == 0 {
		return driverID
	}
	return driverID + retrySuffix + strconv.FormatUint(uint64(attempt), 10)
}

// DriverOfTask is the submission id that a task id belongs to.
func DriverOfTask(taskID string) string {
	if i := strings.LastIndex(taskID, retrySuffix); i > 0 {
		return taskID[:i]
	}
	return taskID
}
