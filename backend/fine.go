package backend

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Fine is the fine-grained backend of one application on one node: on each agent
// it uses it has one Mesos executor, and each task of the task scheduler is a
// Mesos task on it, so that cores are held only while a task runs.
//
// As with Coarse, every node of the log may run one for the same application, and
// that of the leader talks to Mesos. All methods are safe for concurrent use.
type Fine struct {
	application
	scheduler FineScheduler
	ledger    ledger // belongs to the session
	asked     atomic.Bool
}

var _ SchedulerBackend = (*Fine)(nil)

// NewFine checks the configuration, of which Scheduler has to be a FineScheduler.
// Nothing is written or sent before Start. An error joins one *InvalidError for
// each property that cannot be used.
func NewFine(cfg Config) (*Fine, error) {
	ts, fit := cfg.Scheduler.(FineScheduler)
	if !fit {
		return nil, ErrNoFineScheduler
	}
	cfg, settings, err := cfg.withDefaults(fineGrained)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	f := &Fine{scheduler: ts, ledger: newLedger()}
	f.init(cfg, settings, m)
	f.newDuty = func(s *session) duty {
		return &fineDuty{session: s, fine: f, losses: make(map[string]*loss)}
	}
	return f, nil
}

// Start registers the application, in the log and then, through whichever node
// leads, with Mesos, and returns when that is done. It must be called on every
// node; ctx bounds the waiting only. After an error, Close.
//
// Errors: as Coarse.Start; ErrOtherMode.
func (f *Fine) Start(ctx context.Context) error {
	if a, found := f.app(); found && len(a.Totals) > 0 {
		return ErrOtherMode
	}
	before := f.cfg.State.View()
	err := f.start(ctx, func(ctx context.Context) { f.changes(ctx, before, f.tell) }, &fsmpb.RegisterApp{
		AppId: f.cfg.AppID, Name: f.settings.AppName, User: f.settings.User, FrameworkId: f.settings.Framework.ID,
	})
	if a, found := f.app(); err == nil && found && len(a.Totals) > 0 {
		return ErrOtherMode
	}
	return err
}

// tell tells the task scheduler of the end of the framework, on every node.
func (f *Fine) tell(ch *fsm.Change) {
	if ch.App != nil && ch.ID == f.cfg.AppID && ch.Event == fsm.FrameworkRemove {
		f.scheduler.Error("Mesos error: " + ch.Reason)
	}
}

// KillTask kills a task. It returns when that is committed; from then on the task
// is killed, whatever node fails. One that is over already stays so.
//
// Errors: ErrUnknownTask, ErrNotStarted, those of the log.
func (f *Fine) KillTask(ctx context.Context, id int64) error {
	if !f.registered() {
		return ErrNotStarted
	}
	if id < 0 {
		return fmt.Errorf("%w: %d", ErrUnknownTask, id)
	}
	_, err := f.request(ctx, fsm.NumberKillExecutors, &fsmpb.KillExecutors{
		AppId: f.cfg.AppID, TaskIds: []string{strconv.FormatInt(id, 10)}, Reason: "asked for by the application",
	})
	return unknownTask(err)
}

// ReviveOffers asks Mesos for the offers that it keeps back because they were
// declined: there are tasks to run. It does not wait. On a node that does not
// lead, it does nothing.
func (f *Fine) ReviveOffers() {
	f.asked.Store(true)
	f.wake()
}

// DefaultParallelism is spark.default.parallelism, or 8.
func (f *Fine) DefaultParallelism() int { return int(f.settings.DefaultParallelism) }

// MaxNumConcurrentTasks is 0, as in Spark: how many tasks can run at once depends
// on offers to come, so that there are no barrier stages in this mode.
func (*Fine) MaxNumConcurrentTasks() int { return 0 }

// SufficientResourcesRegistered is always true: no executor is waited for.
func (*Fine) SufficientResourcesRegistered() bool { return true }

// unknownTask says task where the log's refusals are about executors.
func unknownTask(err error) error {
	if errors.Is(err, ErrUnknownExecutor) {
		return fmt.Errorf("%w: %w", ErrUnknownTask, err)
	}
	return err
}
