package fsm

import (
	"bytes"
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func applyRecordStatuses(t *txn, c *fsmpb.RecordStatuses) *fsmpb.Result {
	r := ok()
	for _, st := range c.Statuses {
		r.Statuses = append(r.Statuses, t.recordStatus(st))
	}
	return r
}

// recordStatus records one task status. Only the current attempt of a driver
// that is still active moves it; any other update is kept with its attempt, and
// where it says that a process runs that must not, the caller is told to kill.
func (t *txn) recordStatus(st *Status) *fsmpb.StatusResult {
	state := TaskState(st.State)
	if !state.known() || len(st.TaskId)+len(st.AgentId)+len(st.ExecutorId)+len(st.Uuid) > maxText {
		return &fsmpb.StatusResult{Code: uint32(CodeMalformed)}
	}
	st.Message = clip(st.Message)
	d, found := t.t.drivers.Get(DriverOfTask(st.TaskId))
	if !found {
		return &fsmpb.StatusResult{Code: uint32(CodeUnknownTask)}
	}
	i, a := d.attempt(st.TaskId)
	if a == nil {
		return &fsmpb.StatusResult{Code: uint32(CodeStale), Kill: state.alive(), DriverId: d.ID}
	}
	current := i == len(d.Attempts)-1 && d.State.Active()
	if len(st.Uuid) > 0 && a.Last != nil && bytes.Equal(a.Last.Uuid, st.Uuid) {
		return &fsmpb.StatusResult{Code: uint32(CodeDuplicate), DriverId: d.ID, Kill: !current && state.alive()}
	}
	if a.Last != nil && TaskState(a.Last.State).final() && !state.final() {
		// Overtaken by the end of its own attempt: there is no process to kill.
		return &fsmpb.StatusResult{Code: uint32(CodeStale), DriverId: d.ID}
	}
	next := *d
	next.Attempts = d.withAttempt(i, t.attemptAfter(a, st, current))
	if !current {
		t.replace(d, &next)
		return &fsmpb.StatusResult{Code: uint32(CodeStale), Kill: state.alive(), DriverId: d.ID}
	}
	event := t.eventOf(d, a, st)
	if event == "" {
		t.replace(d, &next)
		return &fsmpb.StatusResult{DriverId: d.ID}
	}
	t.prepare(&next, a, event, st)
	res := &fsmpb.StatusResult{DriverId: d.ID}
	if r := t.move(d, &next, event, st.TaskId); r != nil {
		res.Code = r.Code
	}
	return res
}

// attemptAfter is the attempt with the status added.
func (t *txn) attemptAfter(a *Attempt, st *Status, current bool) *Attempt {
	next := *a
	next.Last = st
	state := TaskState(st.State)
	if state.alive() && state != TaskStaging && next.StartedMs == 0 {
		next.StartedMs = t.timeMs
	}
	if !state.alive() && next.EndedMs == 0 && (!current || !t.waits(state)) {
		next.EndedMs = t.timeMs
	}
	return &next
}

// waits tells whether the policy is to wait for an agent that Mesos cannot reach.
func (t *txn) waits(state TaskState) bool {
	return state == TaskUnreachable && t.s.policy.WaitForUnreachable
}

// eventOf is the event that a status of the current attempt a of d means; empty
// for none.
func (t *txn) eventOf(d *Driver, a *Attempt, st *Status) string {
	state := TaskState(st.State)
	switch {
	case state == TaskStaging || t.waits(state):
		return ""
	case state.alive():
		return EventStarted
	case state == TaskFinished:
		return EventFinished
	case state == TaskKilled:
		return t.retryOr(d, a, state, EventEnded)
	case state == TaskError:
		return t.retryOr(d, a, state, EventError)
	case state == TaskFailed:
		return t.retryOr(d, a, state, EventFailed)
	case a.StartedMs == 0 && neverStarted(st):
		return EventDropped
	}
	return t.retryOr(d, a, state, EventLost)
}

// retryOr is EventRetry where the driver is to be tried again after attempt a
// ended in state.
func (t *txn) retryOr(d *Driver, a *Attempt, state TaskState, otherwise string) string {
	if t.retryable(d, state) && !t.exhausted(d, a) {
		return EventRetry
	}
	return otherwise
}

// retryable tells whether the end of a task in state is one to try again after.
func (t *txn) retryable(d *Driver, state TaskState) bool {
	if !d.Supervise || d.State == DriverKilling {
		return false
	}
	if on := t.s.policy.RetryOn; on != 0 {
		return on&(1<<uint(state)) != 0
	}
	return state == TaskFailed || state.gone()
}

// exhausted tells whether d has used up its retries with the end of attempt a.
func (t *txn) exhausted(d *Driver, a *Attempt) bool {
	limit := d.MaxRetries
	if limit == 0 {
		limit = t.s.policy.MaxRetries
	}
	return limit > 0 && d.Retries >= limit && !t.healthy(a)
}

// healthy tells whether an attempt ran for so long that the failures before it
// no longer count.
func (t *txn) healthy(a *Attempt) bool {
	reset := t.s.policy.BackoffResetMs
	return reset > 0 && a.StartedMs > 0 && t.timeMs-a.StartedMs >= reset
}

// Back-offs of a launch that Mesos dropped, in milliseconds. Doubling keeps a
// master that refuses every launch from being asked in a tight loop.
const (
	dropWaitMs    = 50
	dropWaitMaxMs = 10_000
)

// prepare fills in what an event brings besides the state.
func (t *txn) prepare(next *Driver, before *Attempt, event string, st *Status) {
	switch event {
	case EventStarted:
		next.Drops = 0
	case EventRetry:
		t.backOff(next, before)
		next.Reason, next.Drops = "", 0
	case EventDropped:
		wait := min(int64(dropWaitMs)<<min(next.Drops, 10), dropWaitMaxMs)
		next.NotBeforeMs = t.timeMs + wait
		next.Drops++
		last := len(next.Attempts) - 1
		a := *next.Attempts[last]
		a.Dropped = true
		next.Attempts[last] = &a
	case EventFailed, EventLost, EventError, EventEnded:
		if next.Reason == "" {
			next.Reason = t.endReason(next, before, st)
		}
	}
}

// backOff counts the failure and sets when the driver may be launched again:
// after 1 s, then doubling to the policy's limit. A long healthy run starts the
// series again where the policy says so.
func (t *txn) backOff(next *Driver, before *Attempt) {
	if t.healthy(before) {
		next.Retries, next.WaitSeconds = 0, 0
	}
	next.Retries++
	wait := max(2*int64(next.WaitSeconds), 1)
	next.WaitSeconds = int32(min(wait, int64(max(t.s.policy.RetryWaitMaxS, 1))))
	next.NotBeforeMs = t.timeMs + int64(next.WaitSeconds)*1000
}

func (t *txn) endReason(d *Driver, a *Attempt, st *Status) string {
	if t.retryable(d, TaskState(st.State)) && t.exhausted(d, a) {
		return fmt.Sprintf("gave up after %d retries: %s", d.Retries, st.Message)
	}
	return st.Message
}
