package executor

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

const maxMessage = 16 << 10 // of a status, in bytes

// Task is one task of this executor. Its methods may be called from any
// goroutine, while its Runner runs it.
type Task struct {
	// Info is as the scheduler made it. Not to be changed.
	Info mesos.TaskInfo

	engine *engine
	ctx    context.Context
	cancel context.CancelFunc
	limit  *time.Timer // of max_completion_time

	saying sync.Mutex // orders the updates; held while one waits for room
	said   mesos.TaskState

	mu       sync.Mutex
	running  bool // TASK_RUNNING was said
	over     bool
	killed   bool
	expired  bool
	deadline time.Time
	timer    *time.Timer // closes overdue
	overdue  chan struct{}
	closed   bool // overdue is
}

func newTask(e *engine, info mesos.TaskInfo) *Task {
	t := &Task{Info: info, engine: e, overdue: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// ID is the task's id.
func (t *Task) ID() string { return t.Info.TaskID.Value }

// Overdue is closed when a killed task's grace period is over.
func (t *Task) Overdue() <-chan struct{} { return t.overdue }

// Running says that the task runs: TASK_RUNNING, once.
func (t *Task) Running() {
	t.mu.Lock()
	first := !t.running && !t.killed && !t.over
	t.running = t.running || first
	t.mu.Unlock()
	if first {
		t.say(t.status(mesos.TASK_RUNNING, "", nil))
	}
}

// Report sends data to the scheduler in a further TASK_RUNNING, which Mesos
// delivers reliably. It waits while too many updates wait for the agent.
func (t *Task) Report(data []byte) {
	t.Running()
	t.say(t.status(mesos.TASK_RUNNING, "", data))
}

// Send sends a message to the scheduler, once; Mesos may lose it. Errors:
// mesosutil.CallError.
func (t *Task) Send(ctx context.Context, data []byte) error {
	return t.engine.driver.Message(ctx, data)
}

// say makes an update, unless it comes too late: what runs beside the Runner
// may be overtaken by the task's end.
func (t *Task) say(s *mesos.TaskStatus) {
	t.saying.Lock()
	defer t.saying.Unlock()
	switch t.said {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED:
		return
	case mesos.TASK_KILLING:
		if s.GetState() == mesos.TASK_RUNNING {
			return
		}
	}
	t.said = s.GetState()
	t.engine.update(s)
}

// run calls the Runner and returns the last status.
func (t *Task) run() *mesos.TaskStatus {
	t.say(t.status(mesos.TASK_STARTING, "", nil))
	if limit := t.Info.GetMaxCompletionTime(); limit != nil {
		t.limit = time.AfterFunc(max(0, time.Duration(limit.Nanoseconds)), t.expire)
		defer t.limit.Stop()
	}
	result := Result{State: mesos.TASK_KILLED, Message: "killed before it started"}
	if t.ctx.Err() == nil {
		result = t.call()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	switch {
	case t.expired:
		s := t.status(mesos.TASK_FAILED, "its max_completion_time is over: "+result.Message, result.Data)
		s.Reason = mesos.REASON_MAX_COMPLETION_TIME_REACHED.Enum()
		return s
	case t.killed:
		return t.status(mesos.TASK_KILLED, result.Message, result.Data)
	case result.State == mesos.TASK_FINISHED:
		return t.status(mesos.TASK_FINISHED, result.Message, result.Data)
	}
	return t.status(mesos.TASK_FAILED, result.Message, result.Data)
}

func (t *Task) call() (result Result) {
	defer func() {
		if p := recover(); p != nil {
			t.engine.log.Error("runner panicked", "task", t.ID(), "panic", p, "stack", string(debug.Stack()))
			result = Result{State: mesos.TASK_FAILED, Message: fmt.Sprintf("the runner panicked: %v", p)}
		}
	}()
	return t.engine.runner.Run(t.ctx, t)
}

func (t *Task) status(state mesos.TaskState, message string, data []byte) *mesos.TaskStatus {
	s := &mesos.TaskStatus{TaskID: t.Info.TaskID, State: &state, Data: data}
	if message = strings.ToValidUTF8(message, "?"); len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	if message != "" {
		s.Message = &message
	}
	return s
}

// grace is how long the task has when it is killed: as the KILL says, or the
// task, or the configuration.
func (t *Task) grace(policy *mesos.KillPolicy) time.Duration {
	for _, p := range []*mesos.KillPolicy{policy, t.Info.KillPolicy} {
		if p.GetGracePeriod() != nil {
			return max(0, time.Duration(p.GetGracePeriod().Nanoseconds))
		}
	}
	return t.engine.cfg.KillGrace
}

// stop kills the task, or shortens its grace period. It says whether this was
// the first time.
func (t *Task) stop(grace time.Duration) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	first = !t.killed
	t.killed = true
	t.endIn(grace)
	return first
}

func (t *Task) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over && !t.killed {
		t.expired = true
		t.endIn(0)
	}
}

// endIn ends the task's context now, and its grace period then. mu is held.
func (t *Task) endIn(grace time.Duration) {
	t.cancel()
	deadline := time.Now().Add(grace)
	if t.closed || !t.deadline.IsZero() && !deadline.Before(t.deadline) {
		return
	}
	t.deadline = deadline
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = time.AfterFunc(grace, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.closed {
			t.closed = true
			close(t.overdue)
		}
	})
}

// end releases what the task holds.
func (t *Task) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
