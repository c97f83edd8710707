package localmesos

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// run is one task at its agent, and the updates that were not acknowledged yet.
// Its fields are guarded by Mesos.mu.
//
// A task with a command runs in a container of its own, here, the way Mesos'
// command executor runs it. One that brings an executor shares the executor's
// container, and is run by that: see executor.go.
type run struct {
	*container
	exec      *executor // nil for a command task
	info      *mesos.TaskInfo
	resources mesos.Resources

	state          mesos.TaskState
	started, ended time.Time
	pending        []*mesos.TaskStatus
	retry          *timer
	orphan         bool // its framework is no more: no updates

	// Of a task of an executor:
	queued   bool            // not delivered to it yet
	received map[string]bool // UUIDs of its updates

	// Of a command task:
	killed    bool // by KILL, abandonment, or because its time was up
	expired   bool
	killTimer *timer // SIGKILL
	killAt    time.Time
}

func (r *run) id() string { return r.info.TaskID.Value }

// over says that nothing of the task runs any more.
func (r *run) over() bool {
	if r.exec != nil {
		return terminal(r.state)
	}
	return r.exited
}

func (r *run) containerStatus() *mesos.ContainerStatus {
	if r.queued {
		return nil
	}
	return r.status()
}

// begin starts the goroutine that sees a run through.
func (m *Mesos) begin(r *run) {
	if m.closed {
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	r.cancel = cancel
	m.work.Go(func() {
		defer cancel()
		if m.prepare(ctx, r) {
			m.execute(r)
		}
	})
}

// prepare makes the sandbox ready. Without it there is no run.
func (m *Mesos) prepare(ctx context.Context, r *run) bool {
	err := unsupported(r.info.Container)
	if err == nil {
		err = r.prepare(ctx, r.info.Command)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case r.killed:
		r.exited = true
		r.finish(mesos.TASK_KILLED, mesos.SOURCE_AGENT, mesos.REASON_TASK_KILLED_DURING_LAUNCH.Enum(),
			"Killed before delivery to the executor")
	case err != nil:
		r.exited = true
		m.log.Info("launch failed", "task", r.id(), "err", err)
		r.note(err)
		r.finish(mesos.TASK_FAILED, mesos.SOURCE_AGENT, mesos.REASON_CONTAINER_LAUNCH_FAILED.Enum(),
			"Failed to launch container: "+err.Error())
	default:
		return true
	}
	return false
}

// unsupported names what a scheduler may ask for and this Mesos does not have.
func unsupported(c *mesos.ContainerInfo) error {
	if c == nil {
		return nil
	}
	if c.GetType() == mesos.ContainerInfo_DOCKER {
		return fmt.Errorf("no containerizer could create a container for image %q: the embedded Mesos runs plain processes only, not Docker",
			c.GetDocker().GetImage())
	}
	if c.GetMesos().GetImage() != nil {
		return fmt.Errorf("container images are not supported by the embedded Mesos: it runs plain processes only")
	}
	return nil
}

// execute runs the command to its end.
func (m *Mesos) execute(r *run) {
	m.mu.Lock()
	extra := map[string]string{"MESOS_TASK_ID": r.id(), "MESOS_AGENT_ID": r.agent.id,
		"MESOS_CONTAINER_ID": r.containerID, "MESOS_ALLOCATION_ROLE": r.role}
	if r.agent.frameworks[r.frameworkID].GetCheckpoint() {
		extra["MESOS_CHECKPOINT"] = "1"
	}
	m.mu.Unlock()
	spec, err := r.process(r.info.Command, extra)
	m.mu.Lock()
	r.report(mesos.TASK_STARTING, mesos.SOURCE_EXECUTOR, nil, "")
	m.mu.Unlock()
	var p *process
	if err == nil {
		p, err = m.spawner.start(spec)
	}
	m.mu.Lock()
	if err != nil {
		r.exited = true
		r.finish(mesos.TASK_FAILED, mesos.SOURCE_EXECUTOR, nil, "Failed to launch: "+err.Error())
		m.mu.Unlock()
		return
	}
	r.proc, r.pid = p, p.pid
	if r.killed { // asked for while it started
		r.terminate()
	} else {
		r.report(mesos.TASK_RUNNING, mesos.SOURCE_EXECUTOR, nil, "")
	}
	limit := m.limitTime(r)
	m.mu.Unlock()

	dontKill := context.AfterFunc(m.ctx, func() { p.signal(syscall.SIGKILL) })
	status := p.wait()
	dontKill()

	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancel(limit)
	r.exited = true
	m.cancel(r.killTimer)
	m.log.Info("task ended", "task", r.id(), "status", describe(status))
	switch {
	case r.expired:
		r.finish(mesos.TASK_FAILED, mesos.SOURCE_EXECUTOR, mesos.REASON_MAX_COMPLETION_TIME_REACHED.Enum(), describe(status))
	case r.killed:
		r.finish(mesos.TASK_KILLED, mesos.SOURCE_EXECUTOR, nil, describe(status))
	case status.ExitStatus() == 0:
		r.finish(mesos.TASK_FINISHED, mesos.SOURCE_EXECUTOR, nil, describe(status))
	default:
		r.finish(mesos.TASK_FAILED, mesos.SOURCE_EXECUTOR, nil, describe(status))
	}
}

// finish reports the last state; an orphan is forgotten with it.
func (r *run) finish(state mesos.TaskState, source mesos.TaskStatus_Source, reason *mesos.TaskStatus_Reason, message string) {
	r.report(state, source, reason, message)
	if r.orphan {
		r.agent.forget(r)
	}
}

// limitTime holds a task to its max_completion_time.
func (m *Mesos) limitTime(r *run) *timer {
	limit := r.info.GetMaxCompletionTime()
	if limit == nil {
		return nil
	}
	return m.after(time.Duration(limit.Nanoseconds), func() {
		if !r.exited && !r.killed {
			r.killed, r.expired = true, true
			r.signal(syscall.SIGKILL)
		}
	})
}

// describe is what Mesos says of a command's end (stout's WSTRINGIFY).
func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		name := s.Signal().String()
		return "Command terminated with signal " + strings.ToUpper(name[:1]) + name[1:]
	}
	return fmt.Sprintf("Command exited with status %d", s.ExitStatus())
}

// kill ends a run: SIGTERM, and SIGKILL after a grace period, to everything it
// started. A second kill can only shorten the grace period.
func (r *run) kill(policy *mesos.KillPolicy) {
	if r.over() {
		return
	}
	if r.exec != nil {
		r.exec.kill(r, policy)
		return
	}
	grace := r.agent.m.opts.KillGracePeriod
	for _, p := range []*mesos.KillPolicy{policy, r.info.KillPolicy} {
		if p.GetGracePeriod() != nil {
			grace = max(0, time.Duration(p.GetGracePeriod().Nanoseconds))
			break
		}
	}
	at := time.Now().Add(grace)
	first := !r.killed
	if first || at.Before(r.killAt) {
		r.killAt = at
	}
	r.killed = true
	if r.proc == nil {
		r.cancel()
		return
	}
	if first {
		r.terminate()
	} else {
		r.armSIGKILL()
	}
}

func (r *run) terminate() {
	info := r.agent.frameworks[r.frameworkID]
	if info != nil && (&framework{info: info}).can(mesos.FrameworkInfo_Capability_TASK_KILLING_STATE) {
		r.report(mesos.TASK_KILLING, mesos.SOURCE_EXECUTOR, nil, "")
	}
	r.signal(syscall.SIGTERM)
	r.armSIGKILL()
}

func (r *run) armSIGKILL() {
	m := r.agent.m
	m.cancel(r.killTimer)
	r.killTimer = m.after(time.Until(r.killAt), func() { r.signal(syscall.SIGKILL) })
}

// abandon kills a run whose framework is no more.
func (r *run) abandon() {
	r.orphan = true
	r.pending = nil
	r.agent.m.cancel(r.retry)
	switch {
	case r.over():
		r.agent.forget(r)
	case r.exec == nil:
		r.kill(nil)
	} // an executor ends its tasks itself, or takes them with it
}
