package localmesos

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// run is one task at its agent: a sandbox, a process, and the updates that
// were not acknowledged yet. Its fields are guarded by Mesos.mu.
//
// A task with a command runs here the way Mesos' command executor runs it. A
// task that brings an executor of its own would need the executor API; begin is
// the place where such a run is told from a command's.
type run struct {
	agent       *agent
	frameworkID string
	info        *mesos.TaskInfo
	role        string
	resources   mesos.Resources
	containerID string
	sandbox     string // absolute

	state          mesos.TaskState
	started, ended time.Time
	pending        []*mesos.TaskStatus
	retry          *timer
	orphan         bool // its framework is no more: no updates

	cancel    context.CancelFunc // ends preparation
	proc      *process           // nil until it was started
	pid       int
	exited    bool
	killed    bool // by KILL, abandonment, or because its time was up
	expired   bool
	killTimer *timer // SIGKILL
	killAt    time.Time
}

func (r *run) id() string { return r.info.TaskID.Value }

// executorID is the task's for a command task, as with Mesos.
func (r *run) executorID() string {
	if r.info.Executor != nil {
		return r.info.Executor.ExecutorID.Value
	}
	return r.id()
}

func (r *run) containerStatus() *mesos.ContainerStatus {
	if r.pid == 0 {
		return nil
	}
	pid, host := uint32(r.pid), *address(r.agent.m.servers[0].addr).IP
	return &mesos.ContainerStatus{
		ContainerID: &mesos.ContainerID{Value: r.containerID}, ExecutorPID: &pid,
		NetworkInfos: []mesos.NetworkInfo{{IPAddresses: []mesos.NetworkInfo_IPAddress{{
			Protocol: mesos.IPv4.Enum(), IPAddress: &host}}}},
	}
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
	err := r.unsupported()
	if err == nil {
		err = m.makeSandbox(r)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, m.opts.FetchTimeout)
		err = fetchAll(ctx, r.info.GetCommand().GetURIs(), r.sandbox)
		cancel()
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
		noteInSandbox(r, err)
		r.finish(mesos.TASK_FAILED, mesos.SOURCE_AGENT, mesos.REASON_CONTAINER_LAUNCH_FAILED.Enum(),
			"Failed to launch container: "+err.Error())
	default:
		return true
	}
	return false
}

// unsupported names what a scheduler may ask for and this Mesos does not have.
func (r *run) unsupported() error {
	c := r.info.Container
	if r.info.Executor != nil {
		return fmt.Errorf("custom executors are not supported by the embedded Mesos: use a command task, or a real agent")
	}
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
	spec, err := r.command()
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
	if r.exited {
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

// signal does not wait: finding the members of a session reads /proc.
func (r *run) signal(s syscall.Signal) {
	if p := r.proc; !r.exited && p != nil {
		r.agent.m.work.Go(func() { p.signal(s) })
	}
}

// abandon kills a run whose framework is no more.
func (r *run) abandon() {
	r.orphan = true
	r.pending = nil
	r.agent.m.cancel(r.retry)
	if r.exited {
		r.agent.forget(r)
		return
	}
	r.kill(nil)
}
