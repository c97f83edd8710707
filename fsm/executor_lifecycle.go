package fsm

import looplab "github.com/looplab/fsm"

// ExecutorState is where an executor of an application stands.
type ExecutorState string

// The states of an executor.
const (
	ExecutorLaunching ExecutorState = "LAUNCHING" // the intent is committed; no status came yet
	ExecutorStarting  ExecutorState = "STARTING"  // Mesos reported TASK_STARTING
	ExecutorRunning   ExecutorState = "RUNNING"   // Mesos reported TASK_RUNNING
	ExecutorDraining  ExecutorState = "DRAINING"  // a kill is committed; KILL is sent until a terminal status comes
	ExecutorFinished  ExecutorState = "FINISHED"  // TASK_FINISHED
	ExecutorFailed    ExecutorState = "FAILED"    // TASK_FAILED, TASK_GONE, TASK_GONE_BY_OPERATOR
	ExecutorKilled    ExecutorState = "KILLED"    // killed on request, or by Mesos
	ExecutorLost      ExecutorState = "LOST"      // whatever else ends a task
)

// Terminal tells whether an executor in this state is over for good. Its number
// is never used again.
func (s ExecutorState) Terminal() bool {
	switch s {
	case ExecutorFinished, ExecutorFailed, ExecutorKilled, ExecutorLost:
		return true
	}
	return false
}

// The events of an executor. EventDropped, EventFinished, EventFailed, EventLost,
// EventEnded and EventKill are those of a driver.
const (
	EventStarting = "starting" // TASK_STARTING
	EventRunning  = "running"  // TASK_RUNNING, TASK_KILLING
)

// executorLifecycle builds the table of the executor. There is no way back to a
// place before the launch: an executor that ended is replaced by another one
// with another number, so that no two processes ever share an id.
func executorLifecycle() *Lifecycle {
	s := func(states ...ExecutorState) []string {
		names := make([]string, len(states))
		for i, st := range states {
			names[i] = string(st)
		}
		return names
	}
	early := s(ExecutorLaunching, ExecutorStarting)
	alive := s(ExecutorLaunching, ExecutorStarting, ExecutorRunning)
	drains := s(ExecutorDraining)
	live := s(ExecutorLaunching, ExecutorStarting, ExecutorRunning, ExecutorDraining)
	return newLifecycle("executor", string(ExecutorLaunching),
		s(ExecutorLaunching, ExecutorStarting, ExecutorRunning, ExecutorDraining,
			ExecutorFinished, ExecutorFailed, ExecutorKilled, ExecutorLost),
		looplab.Events{
			{Name: EventDropped, Src: s(ExecutorLaunching), Dst: string(ExecutorLost)},
			{Name: EventDropped, Src: drains, Dst: string(ExecutorKilled)},
			{Name: EventStarting, Src: early, Dst: string(ExecutorStarting)},
			{Name: EventStarting, Src: s(ExecutorRunning), Dst: string(ExecutorRunning)},
			{Name: EventStarting, Src: drains, Dst: string(ExecutorDraining)},
			{Name: EventRunning, Src: alive, Dst: string(ExecutorRunning)},
			{Name: EventRunning, Src: drains, Dst: string(ExecutorDraining)},
			{Name: EventFinished, Src: live, Dst: string(ExecutorFinished)},
			{Name: EventFailed, Src: alive, Dst: string(ExecutorFailed)},
			{Name: EventFailed, Src: drains, Dst: string(ExecutorKilled)},
			{Name: EventLost, Src: alive, Dst: string(ExecutorLost)},
			{Name: EventLost, Src: drains, Dst: string(ExecutorKilled)},
			{Name: EventEnded, Src: live, Dst: string(ExecutorKilled)},
			{Name: EventKill, Src: live, Dst: string(ExecutorDraining)},
		})
}
