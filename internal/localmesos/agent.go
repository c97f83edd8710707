package localmesos

import (
	"fmt"
	"net"
	"strconv"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// agent runs tasks. The first block is the agent itself and survives master
// failovers; the second is how the leading master sees it.
type agent struct {
	m          *Mesos
	id         string
	number     int // from 1
	hostname   string
	total      mesos.Resources
	attributes []mesos.Attribute
	runs       map[runKey]*run
	past       []*run // command tasks, ended and acknowledged, the oldest first
	executors  map[executorKey]*executor
	pastExecs  []*executor
	frameworks map[string]*mesos.FrameworkInfo // those that have runs or executors
	// partitioned cuts the agent off from every master.
	partitioned bool
	life        agentLife
	recovery    *timer // runs while recovering
	door        endpoint

	registered   bool // the master counts it among its agents
	connected    bool // and can reach it
	registeredAt time.Time
	known        map[executorKey]*executor
	used         mesos.Resources // by tasks that have not ended, and known executors
	offered      mesos.Resources
	pendingKills []pendingKill // asked for while it was not connected
}

type (
	runKey      struct{ framework, task string }
	executorKey struct{ framework, executor string }
)

type pendingKill struct {
	framework, task string
	policy          *mesos.KillPolicy
}

func (m *Mesos) addAgent(i int) error {
	hostname, total, attributes, err := m.opts.agentSpec(i)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &agent{
		m: m, id: fmt.Sprintf("%s-S%d", m.master.id, i), number: i + 1, hostname: hostname,
		total: total, attributes: attributes,
		runs: map[runKey]*run{}, executors: map[executorKey]*executor{}, known: map[executorKey]*executor{}, frameworks: map[string]*mesos.FrameworkInfo{},
	}
	m.agents = append(m.agents, a)
	m.reregister(a)
	return nil
}

func (m *Mesos) agent(id string) *agent {
	for _, a := range m.agents {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (a *agent) free() mesos.Resources {
	return a.total.Minus(a.used...).Minus(a.offered...)
}

// pid is the agent's address in libprocess' form. All agents here share the
// master's address and differ in the name, as those of mesos-local do.
func (a *agent) pid() string {
	return fmt.Sprintf("slave(%d)@%s", a.number, a.m.servers[0].addr)
}

func (a *agent) url() *mesos.URL {
	path := fmt.Sprintf("/slave(%d)", a.number)
	return &mesos.URL{Scheme: "http", Address: address(a.m.servers[0].addr), Path: &path}
}

func address(hostport string) mesos.Address {
	host, port, _ := net.SplitHostPort(hostport)
	n, _ := strconv.Atoi(port)
	return mesos.Address{Hostname: &host, IP: &host, Port: int32(n)}
}

// reregister brings an agent and what runs on it to the leading master.
func (m *Mesos) reregister(a *agent) {
	if m.leader < 0 || a.partitioned || a.life != agentUp || a.registered && a.connected || m.master.gone[a.id] {
		return
	}
	wasKnown := m.master.recovered[a.id] || a.registered
	if !a.registered {
		a.used = nil
		clear(a.known)
		for _, r := range a.runs {
			m.recoverRun(a, r, wasKnown)
		}
	}
	m.recoverExecutors(a)
	delete(m.master.recovered, a.id)
	delete(m.master.lost, a.id)
	a.registered, a.connected, a.registeredAt = true, true, time.Now()
	m.log.Info("agent registered", "agent", a.id)
	for id := range a.frameworks {
		if m.master.completed[id] != nil {
			a.shutdownFramework(id)
		}
	}
	for _, r := range a.runs {
		r.resumeUpdates()
	}
	kills := a.pendingKills
	a.pendingKills = nil
	for _, k := range kills {
		a.kill(k.framework, k.task, k.policy)
	}
	m.wakeAllocator()
}

// recoverRun makes the master know a task again, and its framework if need be.
// The framework is told unless the master's registry had the agent as alive.
func (m *Mesos) recoverRun(a *agent, r *run, wasKnown bool) {
	if m.master.completed[r.frameworkID] != nil || r.orphan {
		return
	}
	f := m.recoverFramework(a, r.frameworkID)
	delete(f.unreachable, r.id())
	t := &task{frameworkID: f.id, agent: a, info: r.info, role: r.role, resources: r.resources,
		state: r.state, container: r.containerStatus()}
	m.addTask(f, t)
	if !wasKnown {
		s := m.masterStatus(t, r.state, mesos.REASON_AGENT_REREGISTERED, "Unreachable agent re-reregistered")
		s.ContainerStatus = t.container
		m.sendStatus(f, s)
	}
}

// recoverFramework is the framework of something that an agent brings.
func (m *Mesos) recoverFramework(a *agent, id string) *framework {
	f := m.master.frameworks[id]
	if f == nil {
		f = newFramework(id, a.frameworks[id])
		f.recovered = true
		m.master.frameworks[id] = f
	}
	return f
}

// LoseAgent makes an agent unreachable at once, as a master does whose pings
// fail: its offers are rescinded, its tasks become TASK_UNREACHABLE (TASK_LOST
// for frameworks that are not partition-aware) and frameworks get a FAILURE
// event. The tasks live on; [Mesos.ReturnAgent] ends the partition.
func (m *Mesos) LoseAgent(id string) error {
	return m.withAgent(id, func(a *agent) {
		a.partitioned = true
		m.removeAgent(a, mesos.TASK_UNREACHABLE, mesos.REASON_AGENT_REMOVED, "health check timed out")
	})
}

// RemoveAgent takes an agent away for good, as an operator does who marks it
// gone: tasks become TASK_GONE_BY_OPERATOR (or TASK_LOST) and their processes
// are killed.
func (m *Mesos) RemoveAgent(id string) error {
	return m.withAgent(id, func(a *agent) {
		m.removeAgent(a, mesos.TASK_GONE_BY_OPERATOR, mesos.REASON_AGENT_REMOVED_BY_OPERATOR, "Agent has been marked gone")
		for id := range a.frameworks {
			a.shutdownFramework(id)
		}
	})
}

// DisconnectAgent cuts the connection between an agent and its master: offers
// are rescinded and no update comes, but tasks stay as they are until
// [Mesos.ReturnAgent], or [Mesos.LoseAgent]. For what an agent's own end does
// see [Mesos.StopAgent].
func (m *Mesos) DisconnectAgent(id string) error {
	return m.withAgent(id, func(a *agent) {
		a.partitioned, a.connected = true, false
		m.rescindAll(a)
	})
}

// ReturnAgent brings a lost or disconnected agent back. Tasks that were
// reported unreachable are reported again, with REASON_AGENT_REREGISTERED.
func (m *Mesos) ReturnAgent(id string) error {
	return m.withAgent(id, func(a *agent) {
		a.partitioned = false
		m.reregister(a)
	})
}

func (m *Mesos) withAgent(id string, f func(*agent)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agent(id)
	if a == nil || m.master.gone[id] {
		return fmt.Errorf("localmesos: no agent %q", id)
	}
	f(a)
	return nil
}

// removeAgent takes an agent off the master's list.
func (m *Mesos) removeAgent(a *agent, state mesos.TaskState, reason mesos.TaskStatus_Reason, message string) {
	if !m.master.lost[a.id].IsZero() && state == mesos.TASK_UNREACHABLE {
		return
	}
	m.log.Info("agent removed", "agent", a.id, "reason", reason)
	now := time.Now()
	a.registered, a.connected = false, false
	delete(m.master.recovered, a.id)
	if state == mesos.TASK_UNREACHABLE {
		m.master.lost[a.id] = now
	} else {
		m.master.gone[a.id] = true
		delete(m.master.lost, a.id)
	}
	for _, f := range m.master.frameworks {
		for _, t := range m.sortedTasks(f) {
			if t.agent == a {
				m.loseTask(f, t, state, reason, message, now)
			}
		}
	}
	m.rescindAll(a)
	for key := range a.known {
		m.removeExecutor(a, key)
	}
	for _, f := range m.master.frameworks {
		m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_FAILURE,
			Failure: &scheduler.Event_Failure{AgentID: &mesos.AgentID{Value: a.id}}})
	}
}

func (m *Mesos) loseTask(f *framework, t *task, state mesos.TaskState, reason mesos.TaskStatus_Reason, message string, now time.Time) {
	unreachable := state == mesos.TASK_UNREACHABLE
	if !f.partitionAware() {
		state, reason = mesos.TASK_LOST, mesos.REASON_AGENT_REMOVED
	}
	s := m.masterStatus(t, state, reason, message)
	if unreachable {
		s.UnreachableTime = &mesos.TimeInfo{Nanoseconds: now.UnixNano()}
	}
	t.record(s)
	m.freeTask(f, t)
	if unreachable {
		delete(f.tasks, t.id())
		f.unreachable[t.id()] = t
	} else {
		m.complete(f, t)
	}
	m.sendStatus(f, s)
}

// launch starts a task, without waiting for anything. For one with an executor
// newExecutor says whether the master expects that to start with it.
func (a *agent) launch(f *framework, t *task, newExecutor bool) {
	r := &run{info: t.info, resources: t.resources, state: mesos.TASK_STAGING, started: time.Now()}
	a.frameworks[f.id] = f.info
	a.runs[runKey{f.id, t.id()}] = r
	if t.info.Executor != nil {
		a.launchOnExecutor(f, t, r, newExecutor)
		return
	}
	r.container = a.newContainer(f.id, t.id(), t.role)
	a.m.begin(r)
}

// kill ends a task that is known to the agent; others are none of its business
// as their terminal update is on its way.
func (a *agent) kill(frameworkID, taskID string, policy *mesos.KillPolicy) {
	if r := a.runs[runKey{frameworkID, taskID}]; r != nil {
		r.kill(policy)
	}
}

// shutdownFramework ends all tasks and executors of a framework that is no more:
// nobody is there for their updates.
func (a *agent) shutdownFramework(id string) {
	for key, r := range a.runs {
		if key.framework == id {
			r.abandon()
		}
	}
	for key, e := range a.executors {
		if key.framework == id {
			e.abandon()
		}
	}
	a.forgetIdle(id)
}
