package localmesos

import (
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// subscribe puts an executor on a stream (slave.cpp, Slave::subscribe).
func (e *executor) subscribe(call *execproto.Call_Subscribe, s *stream) {
	if e.orphan || e.state == terminating || e.state == terminated {
		s.push(&execproto.Event{Type: execproto.Event_SHUTDOWN})
		s.finish()
		return
	}
	a, m := e.agent, e.agent.m
	if e.stream != nil {
		e.stream.finish()
	}
	m.cancel(e.registration)
	e.state, e.stream = running, s
	m.log.Info("executor subscribed", "executor", e.executorID, "framework", e.frameworkID)
	var taken []*mesos.TaskStatus
	for i := range call.UnacknowledgedUpdates {
		if status := &call.UnacknowledgedUpdates[i].Status; validateStatus(e.executorID, status) == nil && e.update(status) {
			taken = append(taken, status)
		}
	}
	e.dropUnknown(call.UnacknowledgedTasks)
	if !e.everSent() {
		e.shutdown() // all that it was started for was killed meanwhile
		a.recoveredAll()
		return
	}
	e.send(e.subscribedEvent())
	for _, status := range taken {
		e.acknowledge(status)
	}
	for _, r := range e.tasks {
		if r.queued && !terminal(r.state) {
			e.deliver(r)
		}
	}
	a.recoveredAll()
}

// dropUnknown ends the tasks that were on their way to the executor and never
// came there: it has neither reported on them nor does it know them.
func (e *executor) dropUnknown(known []mesos.TaskInfo) {
	state := mesos.TASK_LOST
	if info := e.agent.frameworks[e.frameworkID]; info != nil {
		state = (&framework{info: info}).dropped()
	}
	for _, r := range slices.Clone(e.tasks) {
		if !r.queued && r.state == mesos.TASK_STAGING &&
			!slices.ContainsFunc(known, func(t mesos.TaskInfo) bool { return t.TaskID.Value == r.id() }) {
			r.report(state, mesos.SOURCE_AGENT, mesos.REASON_AGENT_RESTARTED.Enum(), "Task launched during agent restart")
		}
	}
}

// everSent says whether the executor has, or had, something to do.
func (e *executor) everSent() bool {
	return e.heard || slices.ContainsFunc(e.tasks, func(r *run) bool { return !terminal(r.state) })
}

func (e *executor) subscribedEvent() *execproto.Event {
	a, port := e.agent, address(e.agent.m.servers[0].addr).Port
	return &execproto.Event{Type: execproto.Event_SUBSCRIBED, Subscribed: &execproto.Event_Subscribed{
		ExecutorInfo: *e.info, FrameworkInfo: *a.frameworks[e.frameworkID], ContainerID: &mesos.ContainerID{Value: e.containerID},
		AgentInfo: mesos.AgentInfo{ID: &mesos.AgentID{Value: a.id}, Hostname: a.hostname, Port: &port,
			Resources: a.total, Attributes: a.attributes},
	}}
}

// acknowledge says that the agent has an update and will see it delivered.
func (e *executor) acknowledge(s *mesos.TaskStatus) {
	e.send(&execproto.Event{Type: execproto.Event_ACKNOWLEDGED,
		Acknowledged: &execproto.Event_Acknowledged{TaskID: s.TaskID, UUID: s.UUID}})
}

// update takes an update of an executor, and says whether to acknowledge it
// (slave.cpp, Slave::statusUpdate and what follows it). The status is the
// agent's from then on.
func (e *executor) update(s *mesos.TaskStatus) (acknowledge bool) {
	a := e.agent
	if e.orphan {
		return false
	}
	if s.AgentID == nil {
		s.AgentID = &mesos.AgentID{Value: a.id}
	}
	if s.Timestamp == nil {
		s.Timestamp = timestamp(time.Now())
	}
	if s.AgentID.Value != a.id {
		a.m.log.Warn("update ignored: it names another agent", "task", s.TaskID.Value, "agent", s.AgentID.Value)
		return false
	}
	r := a.runs[runKey{e.frameworkID, s.TaskID.Value}]
	switch {
	case r == nil || r.exec == nil:
		// Of a task that the agent has forgotten: it was acknowledged before an
		// agent's restart, say. Mesos passes it on and, knowing no executor of
		// the task, acknowledges nothing.
		e.forwardStray(s)
		return false
	case r.received[string(s.UUID)]:
		return true
	case terminal(r.state), r.queued && !terminal(s.GetState()):
		a.m.log.Info("update dropped: the task has ended, or not begun", "task", r.id(), "state", s.GetState())
		return true
	}
	e.heard = true
	r.received[string(s.UUID)] = true
	s.ContainerStatus = r.containerStatus()
	r.add(s)
	return true
}

// forwardStray sends an update once; Mesos would repeat it.
func (e *executor) forwardStray(s *mesos.TaskStatus) {
	m := e.agent.m
	if f := m.master.frameworks[e.frameworkID]; f != nil && e.agent.connected {
		m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: *s}})
	}
}
