package fsm

import looplab "github.com/looplab/fsm"

// DriverState is where a driver stands. Spark's REST states map onto these:
// LAUNCHING, RUNNING and KILLING are RUNNING there, the terminal ones FINISHED.
type DriverState string

// The states of a driver.
const (
	DriverQueued    DriverState = "QUEUED"    // accepted, waits for an offer
	DriverLaunching DriverState = "LAUNCHING" // the intent is committed; no status came yet
	DriverRunning   DriverState = "RUNNING"   // Mesos reported the attempt alive
	DriverKilling   DriverState = "KILLING"   // a kill is committed; KILL is sent until a terminal status comes
	DriverRetrying  DriverState = "RETRYING"  // supervised and failed; waits for its back-off
	DriverFinished  DriverState = "FINISHED"  // TASK_FINISHED
	DriverFailed    DriverState = "FAILED"    // TASK_FAILED
	DriverKilled    DriverState = "KILLED"    // killed on request, or by Mesos
	DriverLost      DriverState = "LOST"      // its agent or its task is gone
	DriverError     DriverState = "ERROR"     // Mesos or the dispatcher found it impossible to run
)

// Terminal tells whether a driver in this state is over for good.
func (s DriverState) Terminal() bool {
	switch s {
	case DriverFinished, DriverFailed, DriverKilled, DriverLost, DriverError:
		return true
	}
	return false
}

// Active tells whether an attempt may be running in Mesos in this state.
func (s DriverState) Active() bool {
	return s == DriverLaunching || s == DriverRunning || s == DriverKilling
}

// The events of a driver.
const (
	EventLaunch   = "launch"   // an intent to launch an attempt is committed
	EventDropped  = "dropped"  // the attempt never reached an agent
	EventStarted  = "started"  // a status says that the attempt is alive
	EventFinished = "finished" // TASK_FINISHED
	EventFailed   = "failed"   // TASK_FAILED, not to be retried
	EventLost     = "lost"     // TASK_LOST and its kind, not to be retried
	EventError    = "error"    // TASK_ERROR
	EventEnded    = "ended"    // TASK_KILLED
	EventRetry    = "retry"    // failed or lost, to be tried again
	EventKill     = "kill"     // somebody asked for its end
	EventReject   = "reject"   // the dispatcher cannot build its task
)

// driverLifecycle builds the table of the driver. A kill is remembered: however
// the task of a KILLING driver ends, the driver is never retried (upstream
// relaunches it where the end shows as TASK_FAILED). It is KILLED, or FINISHED
// where it got done before the kill reached it.
func driverLifecycle() *Lifecycle {
	s := func(states ...DriverState) []string {
		names := make([]string, len(states))
		for i, st := range states {
			names[i] = string(st)
		}
		return names
	}
	alive := s(DriverLaunching, DriverRunning)
	return newLifecycle("driver", string(DriverQueued),
		s(DriverQueued, DriverLaunching, DriverRunning, DriverKilling, DriverRetrying,
			DriverFinished, DriverFailed, DriverKilled, DriverLost, DriverError),
		looplab.Events{
			{Name: EventLaunch, Src: s(DriverQueued, DriverRetrying), Dst: string(DriverLaunching)},
			{Name: EventDropped, Src: s(DriverLaunching), Dst: string(DriverQueued)},
			{Name: EventDropped, Src: s(DriverKilling), Dst: string(DriverKilled)},
			{Name: EventStarted, Src: alive, Dst: string(DriverRunning)},
			{Name: EventStarted, Src: s(DriverKilling), Dst: string(DriverKilling)},
			{Name: EventFinished, Src: s(DriverLaunching, DriverRunning, DriverKilling), Dst: string(DriverFinished)},
			{Name: EventFailed, Src: alive, Dst: string(DriverFailed)},
			{Name: EventFailed, Src: s(DriverKilling), Dst: string(DriverKilled)},
			{Name: EventLost, Src: alive, Dst: string(DriverLost)},
			{Name: EventLost, Src: s(DriverKilling), Dst: string(DriverKilled)},
			{Name: EventError, Src: alive, Dst: string(DriverError)},
			{Name: EventError, Src: s(DriverKilling), Dst: string(DriverKilled)},
			{Name: EventEnded, Src: s(DriverLaunching, DriverRunning, DriverKilling), Dst: string(DriverKilled)},
			{Name: EventRetry, Src: alive, Dst: string(DriverRetrying)},
			{Name: EventKill, Src: s(DriverQueued, DriverRetrying), Dst: string(DriverKilled)},
			{Name: EventKill, Src: s(DriverLaunching, DriverRunning, DriverKilling), Dst: string(DriverKilling)},
			{Name: EventReject, Src: s(DriverQueued, DriverRetrying), Dst: string(DriverError)},
		})
}
