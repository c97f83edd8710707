package localmesos

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// executor is a framework's own executor at an agent: one process, in one
// sandbox, that runs all tasks which name it. The agent starts it with the first
// of them, hands it tasks and kills over the executor API (executor_api.go),
// takes its updates, and speaks for its tasks when it is gone (src/slave/slave.cpp).
// Its fields are guarded by Mesos.mu.
type executor struct {
	*container
	info      *mesos.ExecutorInfo
	resources mesos.Resources
	token     string // that its calls carry, if they have to

	state     executorState
	stream    *stream // nil while it is not subscribed
	heard     bool    // of at least one task
	tasks     []*run  // not ended, or not acknowledged; in order of launch
	completed []*run
	verdict   *termination // what its tasks are told when it was the agent that ended it
	orphan    bool         // its framework is no more
	exit      int          // as wait(2) has it

	registration, grace *timer
}

type executorState int

const (
	registering executorState = iota // has not subscribed, since its launch or its agent's return
	running
	terminating // was told to end, or is being killed
	terminated
)

func (s executorState) String() string {
	return [...]string{"REGISTERING", "RUNNING", "TERMINATING", "TERMINATED"}[s]
}

type termination struct {
	state   mesos.TaskState
	reason  mesos.TaskStatus_Reason
	message string
}

const unknownStatus = -1 // of an executor's exit, as Mesos has it

// launchOnExecutor gives a task to its executor, and starts that if need be.
func (a *agent) launchOnExecutor(f *framework, t *task, r *run, newExecutor bool) {
	key := executorKey{f.id, t.info.Executor.ExecutorID.Value}
	e := a.executors[key]
	// A terminated executor stays until its last update is acknowledged; the
	// master has forgotten it by then and wants another one.
	if newExecutor && e != nil {
		a.drop(f, key, r, "Master wants to launch executor, but one already exists")
		a.m.sendFailure(f, a, key.executor, unknownStatus)
		return
	}
	if e == nil {
		e = a.newExecutor(f, t)
	}
	switch e.state {
	case terminating, terminated:
		a.drop(f, key, r, "Executor "+map[executorState]string{terminating: "terminating", terminated: "terminated"}[e.state])
		return
	case registering, running:
	}
	r.container, r.exec, r.queued, r.received = e.container, e, true, map[string]bool{}
	e.tasks = append(e.tasks, r)
	if e.state == running {
		e.deliver(r)
	}
}

// drop ends a task that never reached an executor.
func (a *agent) drop(f *framework, key executorKey, r *run, message string) {
	r.container = &container{agent: a, frameworkID: f.id, executorID: key.executor, exited: true}
	r.report(f.dropped(), mesos.SOURCE_AGENT, mesos.REASON_EXECUTOR_TERMINATED.Enum(), message)
}

// dropped is the state of a task that never started, in the framework's eyes.
func (f *framework) dropped() mesos.TaskState {
	if f.partitionAware() {
		return mesos.TASK_DROPPED
	}
	return mesos.TASK_LOST
}

func (a *agent) newExecutor(f *framework, t *task) *executor {
	rs, _ := fromFramework(t.info.Executor.Resources) // valid, by validateResources
	e := &executor{container: a.newContainer(f.id, t.info.Executor.ExecutorID.Value, t.role),
		info: t.info.Executor, resources: rs}
	if a.m.opts.AuthenticateExecutors {
		e.token = uuid.NewString()
	}
	a.executors[e.key()] = e
	a.m.addExecutor(f, a, e)
	a.m.log.Info("starting executor", "executor", e.executorID, "framework", f.id, "agent", a.id)
	a.m.beginExecutor(e)
	return e
}

func (e *executor) key() executorKey { return executorKey{e.frameworkID, e.executorID} }

func (m *Mesos) beginExecutor(e *executor) {
	ctx, cancel := context.WithCancel(m.ctx)
	e.cancel = cancel
	if m.closed {
		return
	}
	m.work.Go(func() {
		defer cancel()
		p, ok := m.startExecutor(ctx, e)
		if !ok {
			return
		}
		dontKill := context.AfterFunc(m.ctx, func() { p.signal(syscall.SIGKILL) })
		status := p.wait()
		dontKill()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.log.Info("executor ended", "executor", e.executorID, "framework", e.frameworkID, "status", describe(status))
		e.ended(int(status))
	})
}

// startExecutor prepares the sandbox and starts the process, or ends the executor.
func (m *Mesos) startExecutor(ctx context.Context, e *executor) (p *process, ok bool) {
	err := unsupported(e.info.Container)
	var addr string
	if err == nil {
		addr, err = m.openDoor(e.agent)
	}
	if err == nil {
		err = e.prepare(ctx, e.info.Command)
	}
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.log.Info("executor launch failed", "executor", e.executorID, "err", err)
		e.note(err)
		if e.verdict == nil {
			e.verdict = &termination{mesos.TASK_FAILED, mesos.REASON_CONTAINER_LAUNCH_FAILED, "Failed to launch container: " + err.Error()}
		}
		e.ended(unknownStatus)
		return nil, false
	}
	m.mu.Lock()
	env := e.environment(addr)
	m.mu.Unlock()
	spec, err := e.process(e.info.Command, env)
	if err == nil {
		p, err = m.spawner.start(spec)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil { // the launcher, in the container, exits with 1
		e.note(err)
		e.ended(1 << 8)
		return nil, false
	}
	e.proc, e.pid = p, p.pid
	if ctx.Err() != nil { // destroyed meanwhile
		e.signal(syscall.SIGKILL)
	}
	if e.state == registering {
		e.registration = m.after(m.opts.ExecutorRegistrationTimeout, e.notRegistered)
	}
	return p, true
}

// environment is what the agent tells an executor beside what is said to every
// container (slave.cpp, executorEnvironment).
func (e *executor) environment(addr string) map[string]string {
	o := e.agent.m.opts
	env := map[string]string{
		"MESOS_AGENT_ENDPOINT":                 addr,
		"MESOS_SLAVE_PID":                      fmt.Sprintf("slave(%d)@%s", e.agent.number, addr),
		"MESOS_HTTP_COMMAND_EXECUTOR":          "1",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": formatDuration(e.gracePeriod()),
		"LIBPROCESS_PORT":                      "0",
	}
	if e.agent.frameworks[e.frameworkID].GetCheckpoint() {
		env["MESOS_CHECKPOINT"] = "1"
		env["MESOS_RECOVERY_TIMEOUT"] = formatDuration(o.RecoveryTimeout)
		env["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = formatDuration(o.ExecutorReregistrationTimeout)
	}
	if e.token != "" {
		env["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"] = e.token
	}
	return env
}

func (e *executor) gracePeriod() time.Duration {
	if g := e.info.ShutdownGracePeriod; g != nil {
		return time.Duration(g.Nanoseconds)
	}
	return e.agent.m.opts.ExecutorShutdownGracePeriod
}

// send puts an event on the executor's stream. What it is not there for is
// lost, as with Mesos.
func (e *executor) send(event *execproto.Event) {
	if e.stream == nil {
		e.agent.m.log.Debug("event lost: executor is not connected", "executor", e.executorID, "event", event.Type)
		return
	}
	action := Pass
	if hook := e.agent.m.faults.ExecutorEvent; hook != nil {
		action = hook(e.executorID, event)
	}
	switch action {
	case Drop:
	case Duplicate:
		e.stream.push(event)
		e.stream.push(event)
	default:
		e.stream.push(event)
	}
}

func (e *executor) deliver(r *run) {
	r.queued = false
	e.send(&execproto.Event{Type: execproto.Event_LAUNCH, Launch: &execproto.Event_Launch{Task: *r.info}})
}

// kill passes a KILL on. A task that waits for its executor is ended at once.
func (e *executor) kill(r *run, policy *mesos.KillPolicy) {
	switch {
	case e.state == terminating || e.state == terminated:
	case r.queued:
		r.report(mesos.TASK_KILLED, mesos.SOURCE_AGENT, mesos.REASON_TASK_KILLED_DURING_LAUNCH.Enum(),
			"Killed before delivery to the executor")
	default:
		e.send(&execproto.Event{Type: execproto.Event_KILL, Kill: &execproto.Event_Kill{TaskID: r.info.TaskID, KillPolicy: policy}})
	}
}

// shutdown asks an executor to end, and kills it after the grace period.
func (e *executor) shutdown() {
	if e.state == terminating || e.state == terminated {
		return
	}
	e.state = terminating
	e.agent.m.cancel(e.registration)
	e.send(&execproto.Event{Type: execproto.Event_SHUTDOWN})
	e.grace = e.agent.m.after(e.gracePeriod(), e.destroy)
}

// abandon shuts down an executor whose framework is no more.
func (e *executor) abandon() {
	e.orphan = true
	if e.state == terminated {
		e.remove()
		return
	}
	e.shutdown()
}

// destroy kills everything in the container.
func (e *executor) destroy() {
	if e.proc == nil {
		e.cancel()
		return
	}
	e.signal(syscall.SIGKILL)
}

// condemn destroys an executor that did not subscribe in time.
func (e *executor) condemn(t termination) {
	e.agent.m.log.Info("executor did not subscribe", "executor", e.executorID, "reason", t.reason)
	e.state, e.verdict = terminating, &t
	e.destroy()
}

func (e *executor) notRegistered() {
	if e.state == registering {
		e.condemn(termination{mesos.TASK_FAILED, mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT,
			"Executor did not register within " + formatDuration(e.agent.m.opts.ExecutorRegistrationTimeout)})
	}
}

// ended notes the end of the process; an agent that is down learns of it later.
func (e *executor) ended(status int) {
	e.exited, e.exit = true, status
	e.agent.m.cancel(e.registration)
	e.agent.m.cancel(e.grace)
	if e.stream != nil {
		e.stream.finish()
		e.stream = nil
	}
	if e.agent.life != agentDown {
		e.terminate()
	}
}

// terminate tells the master that an executor is gone, and ends its tasks.
func (e *executor) terminate() {
	e.state = terminated
	e.agent.m.executorExited(e)
	fate := e.verdict
	if fate == nil {
		fate = &termination{mesos.TASK_FAILED, mesos.REASON_EXECUTOR_TERMINATED, "Executor terminated"}
	}
	for _, r := range slices.Clone(e.tasks) {
		if !terminal(r.state) {
			r.report(fate.state, mesos.SOURCE_AGENT, &fate.reason, fate.message)
		}
	}
	if e.orphan || len(e.tasks) == 0 {
		e.remove()
	}
	if e.agent.life == agentRecovering {
		e.agent.recoveredAll()
	}
}

// forget moves a task to the past. The executor follows when it has ended too.
func (e *executor) forget(r *run) {
	e.tasks = slices.DeleteFunc(e.tasks, func(x *run) bool { return x == r })
	e.completed = keepLast(append(e.completed, r), maxExecutorTasks)
	if e.state == terminated && len(e.tasks) == 0 {
		e.remove()
	}
}

// remove moves an executor to the agent's past, where its sandbox can be found.
func (e *executor) remove() {
	a := e.agent
	if a.executors[e.key()] != e {
		return
	}
	delete(a.executors, e.key())
	a.pastExecs = keepLast(append(a.pastExecs, e), maxPastExecutors)
	for _, r := range slices.Clone(e.tasks) {
		r.orphan = true
		a.forget(r)
	}
	a.forgetIdle(e.frameworkID)
}
