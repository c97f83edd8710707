package fsm

import "github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"

// TaskState is a Mesos task state, with the numbers of mesos.proto v1.
type TaskState int32

// The task states of Mesos 1.11.
const (
	TaskStarting       TaskState = 0
	TaskRunning        TaskState = 1
	TaskFinished       TaskState = 2
	TaskFailed         TaskState = 3
	TaskKilled         TaskState = 4
	TaskLost           TaskState = 5
	TaskStaging        TaskState = 6
	TaskError          TaskState = 7
	TaskKilling        TaskState = 8
	TaskDropped        TaskState = 9
	TaskUnreachable    TaskState = 10
	TaskGone           TaskState = 11
	TaskGoneByOperator TaskState = 12
	TaskUnknown        TaskState = 13
)

// The reasons of mesos.proto v1 that decide something here.
const (
	ReasonReconciliation = 9
	ReasonInvalidOffers  = 6
)

// Status is what the state keeps of a TaskStatus. It is immutable.
type Status = fsmpb.Status

// alive tells whether a task in this state has or may have a process.
func (s TaskState) alive() bool {
	switch s {
	case TaskStarting, TaskRunning, TaskStaging, TaskKilling:
		return true
	}
	return false
}

// final tells whether a task in this state has ended and cannot come back, as
// one on an agent that was away may.
func (s TaskState) final() bool {
	switch s {
	case TaskFinished, TaskFailed, TaskKilled, TaskError:
		return true
	}
	return false
}

// gone tells whether the state is one of those that say that Mesos has lost the
// task. TASK_UNREACHABLE is among them because a framework that is not
// partition-aware gets TASK_LOST in its place, and upstream acts on that.
func (s TaskState) gone() bool {
	switch s {
	case TaskLost, TaskDropped, TaskUnreachable, TaskGone, TaskGoneByOperator, TaskUnknown:
		return true
	}
	return false
}

// known tells whether Mesos defines this number.
func (s TaskState) known() bool { return s >= TaskStarting && s <= TaskUnknown }

// neverStarted tells whether a status proves that an attempt of which nothing
// was heard before never reached an executor: the master dropped the launch,
// or, asked after a failover, says that the agent, which it can reach, does not
// know the task. TASK_UNKNOWN and TASK_GONE_BY_OPERATOR prove no such thing: the
// agent is away and may have run it.
func neverStarted(st *Status) bool {
	state := TaskState(st.State)
	if state == TaskDropped {
		return true
	}
	if state != TaskLost && state != TaskGone || !st.HasReason {
		return false
	}
	return st.Reason == ReasonInvalidOffers || st.Reason == ReasonReconciliation
}
