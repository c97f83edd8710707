package mesosutil

import (
	"errors"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// ErrAgentRecovering is the kind of a CallError: the agent has just come back
// and takes nothing but SUBSCRIBE. The call had no effect; try again.
var ErrAgentRecovering = errors.New("the Mesos agent has not finished recovery")

// ExecutorEvent is one of the types below.
type ExecutorEvent interface{ executorEvent() }

type (
	// ExecutorSubscribed begins a subscription.
	ExecutorSubscribed struct {
		Executor  mesos.ExecutorInfo
		Framework mesos.FrameworkInfo
		Agent     mesos.AgentInfo
		// Resubscribed is false for the first one only.
		Resubscribed bool
	}
	// ExecutorDisconnected ends one that the driver tries to replace.
	ExecutorDisconnected struct{ Err error }
	// ExecutorLaunch asks for a task to be run. Every task must come to a
	// terminal update. The same task may come twice.
	ExecutorLaunch struct{ Task mesos.TaskInfo }
	// ExecutorKill asks for a task's end. Policy, if there is one, goes before
	// that of the task and of an earlier ExecutorKill.
	ExecutorKill struct {
		TaskID string
		Policy *mesos.KillPolicy
	}
	// ExecutorMessage is from the scheduler; Mesos does not look into it.
	ExecutorMessage struct{ Data []byte }
	// ExecutorShutdown asks for the end of all tasks and then of the executor,
	// within ExecutorConfig.ShutdownGracePeriod. It may come more than once.
	ExecutorShutdown struct{}
)

func (ExecutorSubscribed) executorEvent()   {}
func (ExecutorDisconnected) executorEvent() {}
func (ExecutorLaunch) executorEvent()       {}
func (ExecutorKill) executorEvent()         {}
func (ExecutorMessage) executorEvent()      {}
func (ExecutorShutdown) executorEvent()     {}
