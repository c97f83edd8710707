package localmesos

import (
	"bytes"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// task is what a master knows of one task. What really runs is a [run], at
// its agent.
type task struct {
	frameworkID string
	agent       *agent
	info        *mesos.TaskInfo // never changed
	role        string
	resources   mesos.Resources
	holds       bool // its resources count as used

	state     mesos.TaskState // the latest that the agent told of
	sentState *mesos.TaskState
	sentUUID  []byte // of the update that waits for the framework
	statuses  []mesos.TaskStatus
	container *mesos.ContainerStatus
}

func (t *task) id() string { return t.info.TaskID.Value }

// seenState is the state in the framework's eyes.
func (t *task) seenState() mesos.TaskState {
	if t.sentState != nil {
		return *t.sentState
	}
	return t.state
}

// record notes a status for the state endpoints: one for each state, the
// latest.
func (t *task) record(s *mesos.TaskStatus) {
	if c := s.ContainerStatus; c != nil {
		t.container = c
	}
	if n := len(t.statuses); n > 0 && t.statuses[n-1].GetState() == s.GetState() {
		t.statuses[n-1] = *s
	} else {
		t.statuses = append(t.statuses, *s)
	}
	t.state = s.GetState()
}

// complete moves a task to its framework's past.
func (m *Mesos) complete(f *framework, t *task) {
	m.freeTask(f, t)
	delete(f.tasks, t.id())
	f.completed = append(f.completed, t)
	if n := len(f.completed); n > maxCompleted {
		f.completed = slices.Delete(f.completed, 0, n-maxCompleted)
	}
}

func (m *Mesos) sortedTasks(f *framework) []*task {
	all := make([]*task, 0, len(f.tasks))
	for _, t := range f.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(x, y *task) int { return strings.Compare(x.id(), y.id()) })
	return all
}

func terminal(s mesos.TaskState) bool {
	switch s {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_ERROR, mesos.TASK_LOST,
		mesos.TASK_DROPPED, mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// newStatus is a status of the master's own making. It has no UUID: it is sent
// once and needs no acknowledgement.
func newStatus(taskID, agentID string, state mesos.TaskState, reason mesos.TaskStatus_Reason, message string) *mesos.TaskStatus {
	s := &mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: taskID}, State: &state, Reason: &reason, Message: &message,
		Source: mesos.SOURCE_MASTER.Enum(), Timestamp: timestamp(time.Now()),
	}
	if agentID != "" {
		s.AgentID = &mesos.AgentID{Value: agentID}
	}
	return s
}

// masterStatus is newStatus of a task that the master knows.
func (m *Mesos) masterStatus(t *task, state mesos.TaskState, reason mesos.TaskStatus_Reason, message string) *mesos.TaskStatus {
	s := newStatus(t.id(), t.agent.id, state, reason, message)
	if t.info.Executor != nil {
		s.ExecutorID = &t.info.Executor.ExecutorID
	}
	return s
}

func (m *Mesos) sendStatus(f *framework, s *mesos.TaskStatus) {
	m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: *s}})
}

func timestamp(t time.Time) *float64 {
	s := float64(t.UnixNano()) / 1e9
	return &s
}

// kill passes a KILL on to the agent. One for a task that the master does not
// know is answered by reconciliation.
func (m *Mesos) kill(f *framework, call *scheduler.Call_Kill) {
	t := f.tasks[call.TaskID.Value]
	if t == nil {
		m.reconcile(f, &scheduler.Call_Reconcile{Tasks: []scheduler.Call_Reconcile_Task{
			{TaskID: call.TaskID, AgentID: call.AgentID}}})
		return
	}
	if call.AgentID != nil && call.AgentID.Value != t.agent.id {
		m.log.Warn("KILL names another agent than the task's", "task", t.id(), "agent", call.AgentID.Value)
		return
	}
	if !t.agent.connected {
		t.agent.pendingKills = append(t.agent.pendingKills, pendingKill{f.id, t.id(), call.KillPolicy})
		return
	}
	t.agent.kill(f.id, t.id(), call.KillPolicy)
}

// acknowledge passes an ACKNOWLEDGE on to the agent; after that of a terminal
// update the master forgets the task.
func (m *Mesos) acknowledge(f *framework, call *scheduler.Call_Acknowledge) {
	a := m.agent(call.AgentID.Value)
	if a == nil || !a.connected {
		return // the agent will send the update again
	}
	if t := f.tasks[call.TaskID.Value]; t != nil && bytes.Equal(t.sentUUID, call.UUID) &&
		t.sentState != nil && terminal(*t.sentState) {
		m.complete(f, t)
	}
	a.acknowledged(f.id, call.TaskID.Value, call.UUID)
}
