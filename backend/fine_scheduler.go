package backend

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// FineScheduler is the TaskScheduler of a fine-grained application: the backend
// asks it which tasks to run on what Mesos offers. Each node has one, and only
// that of the node that leads is called, by one goroutine, so its methods should
// return soon. It may call the backend's methods, but not wait for Stop or Close.
//
// ExecutorLost tells that the Mesos executor of an agent is gone, with the agent
// id; the end of each of its tasks is told besides. Error is told on all nodes.
type FineScheduler interface {
	TaskScheduler
	// Adopt is called first whenever the node begins to lead: what earlier leaders
	// have launched. The end of each task that it lists as live will be told. A task
	// that the application knows and that is in neither list does not run, and never
	// will under its id.
	Adopt(Adoption)
	// ExecutorAdded tells that the first task on an agent is being launched, and a
	// Mesos executor under it, with how many cores the agent had to offer.
	ExecutorAdded(executorID, host string, cores int)
	// ResourceOffers chooses tasks for agents. ctx ends when the node leads no more.
	// Task ids have never been used before, each is larger than those of earlier
	// calls, and the answer to one call may have them in any order.
	ResourceOffers(ctx context.Context, offers []WorkerOffer) []TaskDescription
	// StatusUpdate tells what becomes of a task. It is told of the end of each task
	// once. After a change of leader, that one may be told what this one was told
	// before.
	StatusUpdate(TaskUpdate)
	// TaskRefused tells that a task cannot be launched as described. Nothing runs
	// of it; err is a *TaskError.
	TaskRefused(task TaskDescription, err error)
}

// WorkerOffer is what an agent has to offer.
type WorkerOffer struct {
	ExecutorID string // the agent id
	Host       string
	Cores      int // whole ones, after those of the executor itself
}

// TaskDescription is one task to run.
type TaskDescription struct {
	ID         int64  // never used before; from 0 to MaxTaskID
	Name       string // for people; up to 4 KiB
	ExecutorID string // of a WorkerOffer of this call
	CPUs       float64
	// Data is what the executor is given; up to MaxTaskData bytes. It is not kept:
	// a task that does not reach its executor is reported as lost.
	Data []byte
}

// The limits of a TaskDescription.
const (
	MaxTaskID   = math.MaxInt64 - 1
	MaxTaskData = 16 << 20
)

// TaskUpdate is what becomes of a task.
type TaskUpdate struct {
	ID         int64
	ExecutorID string
	State      mesosutil.SparkTaskState
	// Data is what the executor sent with the status, such as a result. With a
	// terminal state that did not come from the executor, it is nil; so it is when
	// the leader that had it died and Mesos does not send it again.
	Data    []byte
	Message string
}

// Adoption is what a leader takes over. Executors and live tasks are as the log
// has them: their end may be on its way.
type Adoption struct {
	NextTaskID int64 // task ids below are used
	Executors  []AdoptedExecutor
	Live       []AdoptedTask
	Ended      []AdoptedTask // the latest ones, up to 2000, in the order of their ids
}

// AdoptedExecutor is the Mesos executor on an agent.
type AdoptedExecutor struct{ ExecutorID, Host string }

// AdoptedTask is a task that was launched before.
type AdoptedTask struct {
	ID         int64
	Name       string
	ExecutorID string
	Host       string
	CPUs       float64
	State      mesosutil.SparkTaskState
}

// TaskError says why a task is not launched.
type TaskError struct {
	TaskID int64
	Reason string
}

func (e *TaskError) Error() string { return fmt.Sprintf("task %d: %s", e.TaskID, e.Reason) }

// taskNumber reads the id of a Mesos task as it is written here. Spark's backend
// stops the driver at another one.
func taskNumber(id string) (int64, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == id
}

// taskState is a task's record in Spark's words. A task that is being killed
// runs, until it is over.
func taskState(s fsm.ExecutorState) mesosutil.SparkTaskState {
	switch s {
	case fsm.ExecutorLaunching, fsm.ExecutorStarting:
		return mesosutil.TaskLaunching
	case fsm.ExecutorRunning, fsm.ExecutorDraining:
		return mesosutil.TaskRunning
	case fsm.ExecutorFinished:
		return mesosutil.TaskFinished
	case fsm.ExecutorFailed:
		return mesosutil.TaskFailed
	case fsm.ExecutorKilled:
		return mesosutil.TaskKilled
	}
	return mesosutil.TaskLost
}

func adoptionOf(v *fsm.View, a *fsm.App) Adoption {
	out := Adoption{NextTaskID: int64(a.NextNumber)}
	for _, x := range a.AgentExecutors {
		out.Executors = append(out.Executors, AdoptedExecutor{x.AgentId, x.Host})
	}
	v.Executors(a.ID, func(e *fsm.Executor) bool {
		t := AdoptedTask{int64(e.Number), e.Name, e.AgentID, e.Host, e.CPUs, taskState(e.State)}
		if e.State.Terminal() {
			out.Ended = append(out.Ended, t)
		} else {
			out.Live = append(out.Live, t)
		}
		return true
	})
	return out
}
