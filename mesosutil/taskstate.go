package mesosutil

import mesos "github.com/mesos/mesos-go/api/v1/lib"

// SparkTaskState is Spark's view of the state of a task.
type SparkTaskState string

// The task states of Spark.
const (
	TaskLaunching SparkTaskState = "LAUNCHING"
	TaskRunning   SparkTaskState = "RUNNING"
	TaskFinished  SparkTaskState = "FINISHED"
	TaskFailed    SparkTaskState = "FAILED"
	TaskKilled    SparkTaskState = "KILLED"
	TaskLost      SparkTaskState = "LOST"
)

// SparkState maps a Mesos task state as Spark 3.5 does. A state that is not
// known (sent by a newer Mesos) maps to LOST, the state in which nothing is
// assumed to run.
//
//	STAGING STARTING                          LAUNCHING
//	RUNNING KILLING                           RUNNING
//	FINISHED                                  FINISHED
//	FAILED GONE GONE_BY_OPERATOR              FAILED
//	KILLED                                    KILLED
//	LOST ERROR DROPPED UNKNOWN UNREACHABLE    LOST
func SparkState(s mesos.TaskState) SparkTaskState {
	switch s {
	case mesos.TASK_STAGING, mesos.TASK_STARTING:
		return TaskLaunching
	case mesos.TASK_RUNNING, mesos.TASK_KILLING:
		return TaskRunning
	case mesos.TASK_FINISHED:
		return TaskFinished
	case mesos.TASK_FAILED, mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return TaskFailed
	case mesos.TASK_KILLED:
		return TaskKilled
	}
	return TaskLost
}

// MesosState is the reverse of SparkState: LAUNCHING gives TASK_STARTING, an
// unknown state TASK_LOST.
func (s SparkTaskState) MesosState() mesos.TaskState {
	switch s {
	case TaskLaunching:
		return mesos.TASK_STARTING
	case TaskRunning:
		return mesos.TASK_RUNNING
	case TaskFinished:
		return mesos.TASK_FINISHED
	case TaskFailed:
		return mesos.TASK_FAILED
	case TaskKilled:
		return mesos.TASK_KILLED
	}
	return mesos.TASK_LOST
}

// Finished reports whether a task in this state has ended, in whatever way.
func (s SparkTaskState) Finished() bool {
	return s != TaskLaunching && s != TaskRunning
}

// Failed reports whether a task in this state ended without finishing and
// without being killed on request.
func (s SparkTaskState) Failed() bool { return s == TaskFailed || s == TaskLost }
