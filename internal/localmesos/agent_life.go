package localmesos

import (
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// agentLife is whether the agent's process is there.
type agentLife int

const (
	agentUp agentLife = iota
	agentDown
	agentRecovering // waits for its executors before it registers again
)

// StopAgent ends an agent's process as kill -9 does: its offers are rescinded
// and its executors lose their streams. Tasks and executors of frameworks that
// checkpoint live on and wait for [Mesos.StartAgent]; those of others end, and
// their tasks are TASK_LOST with REASON_AGENT_DISCONNECTED.
func (m *Mesos) StopAgent(id string) error {
	var err error
	notFound := m.withAgent(id, func(a *agent) {
		if a.life == agentDown {
			err = fmt.Errorf("localmesos: agent %q is stopped already", id)
			return
		}
		m.log.Info("agent stopped", "agent", id)
		m.cancel(a.recovery)
		a.life, a.connected = agentDown, false
		m.rescindAll(a)
		for id, info := range a.frameworks {
			if !info.GetCheckpoint() {
				m.disconnectFramework(a, id)
				a.shutdownFramework(id)
			}
		}
		for _, e := range a.executors {
			if e.stream != nil {
				e.stream.cut()
				e.stream = nil
			}
		}
	})
	if notFound != nil {
		return notFound
	}
	return err
}

// disconnectFramework is what a master does about a framework that does not
// checkpoint when one of its agents is cut off.
func (m *Mesos) disconnectFramework(a *agent, id string) {
	f := m.master.frameworks[id]
	if f == nil {
		return
	}
	for _, t := range m.sortedTasks(f) {
		if t.agent == a {
			s := m.masterStatus(t, mesos.TASK_LOST, mesos.REASON_AGENT_DISCONNECTED, "Agent "+a.hostname+" disconnected")
			t.record(s)
			m.complete(f, t)
			m.sendStatus(f, s)
		}
	}
	for key := range a.known {
		if key.framework == id {
			m.removeExecutor(a, key)
		}
	}
}

// StartAgent starts a stopped agent on its work directory. It recovers: waits
// until its executors have subscribed again, at most
// Options.ExecutorReregistrationTimeout, kills those that have not (their tasks
// become TASK_GONE, or TASK_LOST), and then registers with the master. A real
// agent always waits that long; this one goes on when all are there.
func (m *Mesos) StartAgent(id string) error {
	var err error
	notFound := m.withAgent(id, func(a *agent) {
		if a.life != agentDown {
			err = fmt.Errorf("localmesos: agent %q is not stopped", id)
			return
		}
		m.log.Info("agent started", "agent", id)
		for _, e := range a.executors {
			e.recover()
		}
		a.life = agentRecovering
		a.recovery = m.after(m.opts.ExecutorReregistrationTimeout, func() {
			a.condemnLost()
			a.recoveryDone()
		})
		a.recoveredAll()
	})
	if notFound != nil {
		return notFound
	}
	return err
}

// RestartAgent is StopAgent and StartAgent.
func (m *Mesos) RestartAgent(id string) error {
	if err := m.StopAgent(id); err != nil {
		return err
	}
	return m.StartAgent(id)
}

// recover is what a restarted agent makes of an executor that it reads of in
// its work directory.
func (e *executor) recover() {
	e.agent.m.cancel(e.registration)
	switch {
	case e.exited && e.state != terminated:
		e.terminate()
	case e.orphan: // its framework is not in the work directory
		e.destroy()
		e.remove()
	case e.state == running:
		e.state = registering
		for _, r := range e.tasks {
			r.queued = false // whether it was delivered the executor will say
		}
	}
}

// recoveredAll ends the recovery when no executor has to be waited for.
func (a *agent) recoveredAll() {
	for _, e := range a.executors {
		if e.state == registering {
			return
		}
	}
	a.recoveryDone()
}

func (a *agent) recoveryDone() {
	if a.life == agentRecovering {
		a.m.cancel(a.recovery)
		a.life = agentUp
		a.m.reregister(a)
	}
}

// condemnLost kills executors that did not come back to their restarted agent.
func (a *agent) condemnLost() {
	state := func(e *executor) mesos.TaskState {
		if (&framework{info: a.frameworks[e.frameworkID]}).partitionAware() {
			return mesos.TASK_GONE
		}
		return mesos.TASK_LOST
	}
	for _, e := range a.executors {
		if e.state == registering {
			e.condemn(termination{state(e), mesos.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
				"Executor did not reregister within " + formatDuration(a.m.opts.ExecutorReregistrationTimeout)})
		}
	}
}
