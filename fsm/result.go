package fsm

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Code is the outcome of a command. Codes are part of the log's contract: they
// are stored with request ids, so numbers are never reused.
type Code uint32

// The outcomes. Those from 100 on are refusals: nothing was changed.
const (
	CodeOK              Code = 0
	CodeKillingRunning  Code = 1 // the kill of a launched driver is under way
	CodeKilledQueued    Code = 2 // a queued driver was taken out
	CodeKilledRetrying  Code = 3 // a driver between two attempts was taken out
	CodeStale           Code = 4 // a status of an attempt that is not current: recorded, not acted on
	CodeDuplicate       Code = 5 // the very status that is recorded already
	CodeUnknownTask     Code = 6 // a status of a task that no known driver owns
	CodeUnchanged       Code = 7 // what was asked for holds already
	CodeNotReady        Code = 100
	CodeQueueFull       Code = 101
	CodeNotFound        Code = 102
	CodeTerminated      Code = 103
	CodeIllegal         Code = 104 // the lifecycle has no such transition
	CodeConflict        Code = 105 // the state moved on since the command was made
	CodeMalformed       Code = 106
	CodeUnknownCommand  Code = 107
	CodeRequestMismatch Code = 108 // the request id was used for another request
	CodeFrameworkID     Code = 109 // another framework id than the committed one
)

var codeNames = map[Code]string{
	CodeOK: "ok", CodeKillingRunning: "killing_running", CodeKilledQueued: "killed_queued",
	CodeKilledRetrying: "killed_retrying", CodeStale: "stale", CodeDuplicate: "duplicate",
	CodeUnknownTask: "unknown_task", CodeUnchanged: "unchanged", CodeNotReady: "not_ready",
	CodeQueueFull: "queue_full", CodeNotFound: "not_found", CodeTerminated: "terminated",
	CodeIllegal: "illegal", CodeConflict: "conflict", CodeMalformed: "malformed",
	CodeUnknownCommand: "unknown_command", CodeRequestMismatch: "request_mismatch",
	CodeFrameworkID: "framework_id",
}

func (c Code) String() string {
	if n, ok := codeNames[c]; ok {
		return n
	}
	return fmt.Sprintf("code_%d", uint32(c))
}

// Refused tells whether the command changed nothing because it must not.
func (c Code) Refused() bool { return c >= 100 }

// RefusedError is a refusal as an error.
type RefusedError struct {
	Code    Code
	Message string
}

func (e *RefusedError) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Message
}

// ResultError is nil, or *RefusedError where the result is a refusal.
func ResultError(r *fsmpb.Result) error {
	if c := Code(r.Code); c.Refused() {
		return &RefusedError{Code: c, Message: r.Message}
	}
	return nil
}

func ok() *fsmpb.Result { return &fsmpb.Result{} }

func refuse(c Code, format string, args ...any) *fsmpb.Result {
	return &fsmpb.Result{Code: uint32(c), Message: fmt.Sprintf(format, args...)}
}
