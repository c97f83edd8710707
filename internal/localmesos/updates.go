package localmesos

import (
	"bytes"
	"slices"
	"time"

	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Status updates are reliable: the agent keeps those of each task in order and
// sends the first again and again, ever more slowly, until the framework has
// acknowledged it; only then comes the next.

// report makes an update of a run's new state.
func (r *run) report(state mesos.TaskState, source mesos.TaskStatus_Source, reason *mesos.TaskStatus_Reason, message string) {
	id := uuid.New()
	s := &mesos.TaskStatus{
		TaskID: r.info.TaskID, State: &state, Source: &source, Reason: reason,
		AgentID: &mesos.AgentID{Value: r.agent.id}, ExecutorID: &mesos.ExecutorID{Value: r.executorID},
		Timestamp: timestamp(time.Now()), UUID: id[:], ContainerStatus: r.containerStatus(),
	}
	if message != "" {
		s.Message = &message
	}
	r.add(s)
}

// add takes an update into the queue of its task.
func (r *run) add(s *mesos.TaskStatus) {
	r.state = s.GetState()
	if terminal(r.state) {
		r.ended = time.Now()
	}
	if r.orphan {
		return
	}
	r.pending = append(r.pending, s)
	if len(r.pending) == 1 {
		r.resumeUpdates()
	} else if t := r.masterTask(); t != nil && r.agent.connected {
		// The master learns the latest state at once, to offer what is free;
		// the framework learns it in its turn.
		t.record(s)
		r.freeIfEnded(t)
	}
}

// resumeUpdates sends the first pending update, if there is one, as if for the
// first time.
func (r *run) resumeUpdates() {
	r.agent.m.cancel(r.retry)
	r.send(r.agent.m.opts.UpdateRetry)
}

func (r *run) send(again time.Duration) {
	if len(r.pending) == 0 || r.orphan {
		return
	}
	head := r.pending[0]
	r.retry = r.agent.m.after(again, func() { r.send(min(2*again, maxUpdateRetry)) })
	if !r.agent.connected {
		return
	}
	m := r.agent.m
	f := m.master.frameworks[r.frameworkID]
	if f == nil {
		return
	}
	if t := f.tasks[r.id()]; t != nil {
		latest := r.pending[len(r.pending)-1]
		if !bytes.Equal(t.sentUUID, head.UUID) {
			t.record(head)
		}
		t.sentState, t.sentUUID = head.State, head.UUID
		t.state = latest.GetState()
		r.freeIfEnded(t)
	}
	m.sendStatus(f, head)
}

func (r *run) masterTask() *task {
	if f := r.agent.m.master.frameworks[r.frameworkID]; f != nil {
		return f.tasks[r.id()]
	}
	return nil
}

func (r *run) freeIfEnded(t *task) {
	if terminal(t.state) {
		r.agent.m.freeTask(r.agent.m.master.frameworks[r.frameworkID], t)
	}
}

// acknowledged drops the update that the framework has taken care of. Others
// than the one that was sent are ignored: they are repetitions.
func (a *agent) acknowledged(frameworkID, taskID string, id []byte) {
	r := a.runs[runKey{frameworkID, taskID}]
	if r == nil || len(r.pending) == 0 || !bytes.Equal(r.pending[0].UUID, id) {
		return
	}
	done := terminal(r.pending[0].GetState())
	r.pending = r.pending[1:]
	a.m.cancel(r.retry)
	if done {
		a.forget(r)
		return
	}
	r.resumeUpdates()
}

// forget moves a run to the agent's past, where its sandbox can be found.
func (a *agent) forget(r *run) {
	a.m.cancel(r.retry)
	delete(a.runs, runKey{r.frameworkID, r.id()})
	if r.exec != nil {
		r.exec.forget(r)
	} else {
		a.past = keepLast(append(a.past, r), maxCompleted)
	}
	a.forgetIdle(r.frameworkID)
}

func keepLast[T any](list []T, most int) []T {
	if n := len(list); n > most {
		return slices.Delete(list, 0, n-most)
	}
	return list
}

// forgetIdle drops a framework of which nothing runs here.
func (a *agent) forgetIdle(frameworkID string) {
	for key := range a.runs {
		if key.framework == frameworkID {
			return
		}
	}
	for key := range a.executors {
		if key.framework == frameworkID {
			return
		}
	}
	delete(a.frameworks, frameworkID)
}
