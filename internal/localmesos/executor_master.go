package localmesos

import (
	"fmt"
	"slices"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// What a master knows of executors: those that it has told an agent to start,
// or that an agent brought, until it hears of their end. Their resources are
// used that long.

func (m *Mesos) addExecutor(f *framework, a *agent, e *executor) {
	a.known[e.key()] = e
	a.used.Add(e.resources...)
	f.account(e.resources, 1)
}

func (m *Mesos) removeExecutor(a *agent, key executorKey) {
	e := a.known[key]
	if e == nil {
		return
	}
	delete(a.known, key)
	a.used.Subtract(e.resources...)
	if f := m.master.frameworks[key.framework]; f != nil {
		f.account(e.resources, -1)
	}
	m.wakeAllocator()
}

// recoverExecutors makes the master know the executors of an agent that has
// registered again, and forget those that ended meanwhile. Nobody hears of
// these: Mesos does not send that message reliably.
func (m *Mesos) recoverExecutors(a *agent) {
	for key, e := range a.known {
		if a.executors[key] != e || e.state == terminated {
			m.removeExecutor(a, key)
		}
	}
	for key, e := range a.executors {
		if a.known[key] == nil && e.state != terminated && !e.orphan && m.master.completed[key.framework] == nil {
			m.addExecutor(m.recoverFramework(a, key.framework), a, e)
		}
	}
}

// executorExited is the agent's message that an executor has ended.
func (m *Mesos) executorExited(e *executor) {
	a := e.agent
	if !a.connected || a.known[e.key()] != e {
		return
	}
	m.removeExecutor(a, e.key())
	if f := m.master.frameworks[e.frameworkID]; f != nil {
		m.sendFailure(f, a, e.executorID, e.exit)
	}
}

// sendFailure tells of an executor's end; status is that of wait(2).
func (m *Mesos) sendFailure(f *framework, a *agent, executorID string, status int) {
	code := int32(status)
	m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{
		AgentID: &mesos.AgentID{Value: a.id}, ExecutorID: &mesos.ExecutorID{Value: executorID}, Status: &code}})
}

// executorIDs are those of a framework, for its offers.
func (a *agent) executorIDs(frameworkID string) (ids []mesos.ExecutorID) {
	for key := range a.known {
		if key.framework == frameworkID {
			ids = append(ids, mesos.ExecutorID{Value: key.executor})
		}
	}
	slices.SortFunc(ids, func(x, y mesos.ExecutorID) int { return strings.Compare(x.Value, y.Value) })
	return ids
}

// validateExecutor is mesos' validation::executor::validate, and what
// validation::task adds to it. It fills in the framework's id.
func (m *Mesos) validateExecutor(f *framework, a *agent, e *mesos.ExecutorInfo) error {
	if e == nil {
		return nil
	}
	if e.FrameworkID == nil {
		e.FrameworkID = &mesos.FrameworkID{Value: f.id}
	}
	switch {
	case e.Type == mesos.ExecutorInfo_DEFAULT && e.Command != nil:
		return fmt.Errorf("'ExecutorInfo.command' must not be set for 'DEFAULT' executor")
	case e.Type == mesos.ExecutorInfo_CUSTOM && e.Command == nil:
		return fmt.Errorf("'ExecutorInfo.command' must be set for 'CUSTOM' executor")
	}
	if err := validateID(e.ExecutorID.Value); err != nil {
		return err
	}
	switch {
	case e.GetShutdownGracePeriod().GetNanoseconds() < 0:
		return fmt.Errorf("ExecutorInfo's 'shutdown_grace_period' must be non-negative")
	case e.FrameworkID.Value != f.id:
		return fmt.Errorf("ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", e.FrameworkID.Value, f.id)
	}
	if known := a.known[executorKey{f.id, e.ExecutorID.Value}]; known != nil && !sameExecutor(known.info, e) {
		const rule = "------------------------------------------------------------\n"
		return fmt.Errorf("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n%sExisting ExecutorInfo:\n%s\n%sExecutorInfo:\n%s\n%s",
			rule, known.info, rule, e, rule)
	}
	switch {
	case e.Type != mesos.ExecutorInfo_UNKNOWN && e.Type != mesos.ExecutorInfo_CUSTOM:
		return fmt.Errorf("'ExecutorInfo.type' must be 'CUSTOM'")
	case e.Command == nil:
		return fmt.Errorf("'ExecutorInfo.command' must be set")
	}
	return nil
}

// sameExecutor compares resources as amounts: their order, and whether they say
// what they are allocated to, is no difference.
func sameExecutor(x, y *mesos.ExecutorInfo) bool {
	a, err1 := fromFramework(x.Resources)
	b, err2 := fromFramework(y.Resources)
	if err1 != nil || err2 != nil || !contains(a, b) || !contains(b, a) {
		return false
	}
	p, q := *x, *y
	p.Resources, q.Resources = nil, nil
	return p.Equal(&q)
}

// shutdownExecutor passes on a scheduler's SHUTDOWN.
func (m *Mesos) shutdownExecutor(f *framework, call *scheduler.Call_Shutdown) {
	if e := m.executorAt(f, call.AgentID, call.ExecutorID); e != nil {
		e.shutdown()
	}
}

// message passes a scheduler's message on to an executor that is there for it.
func (m *Mesos) message(f *framework, call *scheduler.Call_Message) {
	if e := m.executorAt(f, call.AgentID, call.ExecutorID); e != nil && e.state == running {
		e.send(&execproto.Event{Type: execproto.Event_MESSAGE, Message: &execproto.Event_Message{Data: call.Data}})
	}
}

func (m *Mesos) executorAt(f *framework, agentID mesos.AgentID, executorID mesos.ExecutorID) *executor {
	a := m.agent(agentID.Value)
	if a == nil || !a.connected {
		m.log.Info("call lost: the agent is not connected", "framework", f.id, "agent", agentID.Value)
		return nil
	}
	return a.executors[executorKey{f.id, executorID.Value}]
}

// frameworkMessage passes an executor's message on to its scheduler.
func (m *Mesos) frameworkMessage(e *executor, data []byte) {
	f := m.master.frameworks[e.frameworkID]
	if f == nil || !e.agent.connected || e.orphan {
		return
	}
	m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_MESSAGE, Message: &scheduler.Event_Message{
		AgentID: mesos.AgentID{Value: e.agent.id}, ExecutorID: mesos.ExecutorID{Value: e.executorID}, Data: data}})
}
