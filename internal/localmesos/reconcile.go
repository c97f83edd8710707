package localmesos

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// reconcile answers with the states of the tasks asked for, or of all current
// ones if none is. It is silent on a task that an agent may have which has not
// come back to this master yet (master.cpp, Master::reconcile).
func (m *Mesos) reconcile(f *framework, call *scheduler.Call_Reconcile) {
	if len(call.Tasks) == 0 {
		for _, t := range m.sortedTasks(f) {
			m.sendStatus(f, m.latestStatus(t))
		}
		return
	}
	for _, want := range call.Tasks {
		id, agentID := want.TaskID.Value, want.GetAgentID().GetValue()
		if t := f.tasks[id]; t != nil {
			m.sendStatus(f, m.latestStatus(t))
		} else if s := m.unknownTask(f, id, agentID); s != nil {
			m.sendStatus(f, s)
		}
	}
}

func (m *Mesos) latestStatus(t *task) *mesos.TaskStatus {
	s := m.masterStatus(t, t.seenState(), mesos.REASON_RECONCILIATION, "Reconciliation: Latest task state")
	s.ContainerStatus = t.container
	return s
}

// unknownTask is the status of a task that the master does not have, or nil
// while it cannot be told.
func (m *Mesos) unknownTask(f *framework, id, agentID string) *mesos.TaskStatus {
	if m.master.recovered[agentID] || agentID == "" && len(m.master.recovered) > 0 {
		return nil
	}
	a := m.agent(agentID)
	since, lost := m.master.lost[agentID]
	state, message := mesos.TASK_UNKNOWN, "Reconciliation: Task is unknown"
	switch {
	case a != nil && a.registered:
		state, message = mesos.TASK_GONE, "Reconciliation: Task is unknown to the agent"
	case lost:
		state, message = mesos.TASK_UNREACHABLE, "Reconciliation: Task is unreachable"
	case m.master.gone[agentID]:
		state, message = mesos.TASK_GONE_BY_OPERATOR, "Reconciliation: Task is gone"
	}
	if !f.partitionAware() {
		state = mesos.TASK_LOST
	}
	s := newStatus(id, agentID, state, mesos.REASON_RECONCILIATION, message)
	if lost {
		s.UnreachableTime = &mesos.TimeInfo{Nanoseconds: since.UnixNano()}
	}
	return s
}
