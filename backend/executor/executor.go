package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Config of an executor. Mesos is required; the zero value of the rest is the
// default.
type Config struct {
	// Mesos is how to reach the agent: mesosutil.ExecutorConfigFromEnv(os.Getenv).
	Mesos mesosutil.ExecutorConfig
	// KillGrace is how long a task that is killed has where neither it nor the
	// KILL says. Default 3 s.
	KillGrace time.Duration
	// MaxTasks is how many tasks run at a time: 1 to 5000 (a command holds a
	// thread of this process), default 1000. More fail at once, and say so.
	MaxTasks int
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Mesos.Logger == nil {
		c.Mesos.Logger = c.Logger
	}
	if c.KillGrace == 0 {
		c.KillGrace = 3 * time.Second
	}
	if c.MaxTasks == 0 {
		c.MaxTasks = 1000
	}
	if c.Mesos.ShutdownGracePeriod == 0 {
		c.Mesos.ShutdownGracePeriod = 5 * time.Second
	}
	switch {
	case c.KillGrace < 0:
		return c, fmt.Errorf("%w: KillGrace %v is negative", ErrConfig, c.KillGrace)
	case c.MaxTasks < 1 || c.MaxTasks > 5000:
		return c, fmt.Errorf("%w: MaxTasks is %d, not 1 to 5000", ErrConfig, c.MaxTasks)
	}
	return c, nil
}

// Runner runs tasks. Its methods are called from many goroutines.
type Runner interface {
	// Run runs one task to its end and says how that was. It calls
	// task.Running once the task runs. When ctx ends the task is to end: in good
	// order until task.Overdue is closed, and then at once. Run must return soon
	// after that.
	Run(ctx context.Context, task *Task) Result
}

// MessageReceiver is a Runner that wants the scheduler's messages. Message must
// not block: launches and kills wait behind it.
type MessageReceiver interface {
	Message(data []byte)
}

// Result is how a task ended. If it was killed the state is TASK_KILLED whatever
// it says.
type Result struct {
	State   mesos.TaskState // TASK_FINISHED, or TASK_FAILED; others count as the latter
	Message string          // for people; cut to 16 KiB
	Data    []byte          // for the scheduler
}

// engine is one Run. Its loop is the only one that reads the driver's events,
// and never waits for anything else, since acknowledgements come the same way.
type engine struct {
	cfg    Config
	runner Runner
	driver *mesosutil.ExecutorDriver
	log    *slog.Logger
	work   sync.WaitGroup // tasks

	ctx context.Context // of updates: ends with the driver

	mu      sync.Mutex
	tasks   map[string]*Task
	closing bool // no task is begun any more
	killing bool // the framework knows TASK_KILLING
}

// Run is an executor: it runs the tasks that the agent launches until
//   - the agent asks it to shut down, or ctx ends: all tasks are killed, the
//     agent gets their last updates, and Run returns nil or ctx.Err(),
//   - the agent is lost or does not want it: all tasks are killed, and Run
//     returns the driver's error.
//
// When it returns no task runs. Errors: ErrConfig, mesosutil.ErrExecutorConfig
// and those of mesosutil.ExecutorDriver.Run.
func Run(ctx context.Context, cfg Config, runner Runner) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	driver, err := mesosutil.NewExecutorDriver(cfg.Mesos)
	if err != nil {
		return err
	}
	// The driver outlives ctx, so that the last updates reach the agent.
	driverCtx, stopDriver := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDriver()
	e := &engine{cfg: cfg, runner: runner, driver: driver, log: cfg.Logger, ctx: driverCtx, tasks: map[string]*Task{}}
	ended := make(chan error, 1)
	go func() { ended <- driver.Run(driverCtx) }()
	done := e.loop(ctx, stopDriver)
	err = <-ended
	e.stopTasks(cfg.KillGrace)
	e.work.Wait()
	switch {
	case done && ctx.Err() != nil:
		return ctx.Err()
	case done && errors.Is(err, context.Canceled):
		return nil
	}
	return err
}

// loop handles events until the driver has ended; done says that this was in
// good order: all tasks have ended and the agent knows.
func (e *engine) loop(ctx context.Context, stopDriver func()) (done bool) {
	idle := make(chan struct{})
	cancelled := ctx.Done()
	shuttingDown := false
	shutdown := func() {
		if !shuttingDown {
			shuttingDown = true
			go e.shutdown(idle)
		}
	}
	for {
		select {
		case ev, open := <-e.driver.Events():
			if !open {
				if shuttingDown {
					<-idle
				}
				return shuttingDown
			}
			if e.handle(ev) {
				shutdown()
			}
		case <-cancelled:
			cancelled = nil
			shutdown()
		case <-idle:
			stopDriver()
			for range e.driver.Events() { // to its close
			}
			return true
		}
	}
}

// handle says whether the executor is to shut down.
func (e *engine) handle(ev mesosutil.ExecutorEvent) (shutdown bool) {
	switch ev := ev.(type) {
	case mesosutil.ExecutorSubscribed:
		e.mu.Lock()
		for _, c := range ev.Framework.Capabilities {
			e.killing = e.killing || c.Type == mesos.FrameworkInfo_Capability_TASK_KILLING_STATE
		}
		e.mu.Unlock()
	case mesosutil.ExecutorLaunch:
		e.launch(ev.Task)
	case mesosutil.ExecutorKill:
		e.kill(ev)
	case mesosutil.ExecutorMessage:
		if r, ok := e.runner.(MessageReceiver); ok {
			r.Message(ev.Data)
		}
	case mesosutil.ExecutorShutdown:
		return true
	case mesosutil.ExecutorDisconnected:
		e.log.Warn("the agent is away; tasks run on", "err", ev.Err)
	}
	return false
}

// shutdown ends all tasks and closes idle when the agent knows of it, or the
// time that the agent gives is nearly over.
func (e *engine) shutdown(idle chan<- struct{}) {
	defer close(idle)
	period := e.cfg.Mesos.ShutdownGracePeriod
	ctx, cancel := context.WithTimeout(e.ctx, period*9/10)
	defer cancel()
	e.log.Info("shutting down")
	e.stopTasks(period * 6 / 10) // the rest is for SIGKILL and the last updates
	e.work.Wait()
	if err := e.driver.Flush(ctx); err != nil && !errors.Is(err, mesosutil.ErrExecutorDone) {
		e.log.Warn("updates are left that the agent has not acknowledged", "err", err)
	}
}

// stopTasks begins no more tasks, and kills those there are.
func (e *engine) stopTasks(most time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing = true
	for _, t := range e.tasks {
		t.stop(min(t.grace(nil), most))
	}
}

// launch begins a task.
func (e *engine) launch(info mesos.TaskInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := info.TaskID.Value
	if e.tasks[id] != nil {
		e.log.Info("task launched again", "task", id)
		return
	}
	t := newTask(e, info)
	var refusal *mesos.TaskStatus
	switch {
	case e.closing:
		refusal = t.status(mesos.TASK_KILLED, "the executor is shutting down", nil)
	case len(e.tasks) >= e.cfg.MaxTasks:
		refusal = t.status(mesos.TASK_FAILED, fmt.Sprintf("the executor runs %d tasks, its limit: launch it elsewhere or later", e.cfg.MaxTasks), nil)
	}
	if refusal != nil {
		e.work.Go(func() { e.update(refusal) })
		return
	}
	e.tasks[id] = t
	e.work.Go(func() {
		defer t.end()
		t.say(t.run())
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.tasks, id)
	})
}

func (e *engine) kill(ev mesosutil.ExecutorKill) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tasks[ev.TaskID]
	if t == nil {
		e.log.Info("KILL of a task that does not run here", "task", ev.TaskID) // its last update is on the way
		return
	}
	if first := t.stop(t.grace(ev.Policy)); first && e.killing {
		e.work.Go(func() { t.say(t.status(mesos.TASK_KILLING, "", nil)) })
	}
}

// update hands a status to the driver, which keeps it. It waits where too many
// wait already.
func (e *engine) update(s *mesos.TaskStatus) {
	err := e.driver.Update(e.ctx, *s)
	if errors.Is(err, mesosutil.ErrStatusSize) {
		message := err.Error()
		s.Data, s.Message = nil, &message
		if s.GetState() == mesos.TASK_FINISHED {
			s.State = mesos.TASK_FAILED.Enum() // its result is lost
		}
		err = e.driver.Update(e.ctx, *s)
	}
	if err != nil {
		e.log.Warn("update lost: the agent is gone", "task", s.TaskID.Value, "state", s.GetState(), "err", err)
	}
}
