package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Mesos is what a leader needs of a scheduler driver; *mesosutil.Driver is one.
type Mesos interface {
	Run(ctx context.Context) error
	Events() <-chan mesosutil.Event
	Accept(ctx context.Context, offerIDs []string, tasks []mesos.TaskInfo, refuse time.Duration) error
	Decline(ctx context.Context, offerIDs []string, refuse time.Duration) error
	DeclineInverse(ctx context.Context, offerIDs []string, refuse time.Duration) error
	Kill(ctx context.Context, taskID, agentID string, grace *time.Duration) error
	Acknowledge(ctx context.Context, agentID, taskID string, uuid []byte) error
	Reconcile(ctx context.Context, tasks []mesosutil.DriverTask) error
	Revive(ctx context.Context, roles ...string) error
	Suppress(ctx context.Context, roles ...string) error
	Teardown(ctx context.Context) error
	Status() mesosutil.DriverStatus
}

// MesosFactory makes a driver for a framework id, which is empty for a framework
// that is still to be registered. gate must hold before each subscription.
type MesosFactory func(frameworkID string, gate func(context.Context) error) (Mesos, error)

// Leader is the part of a node that acts while the node leads: it subscribes to
// Mesos, places drivers, records what becomes of them, and kills. It implements
// raftstore.LeaderTask; what Establish starts, Revoke ends.
type Leader struct {
	*Service
	logger *slog.Logger
	m      *metrics

	prop      *proposer // for this leadership alone
	cancel    context.CancelFunc
	done      chan struct{}
	takeovers int // in a row; belongs to lead

	mu     sync.Mutex
	status LeaderStatus
	mesos  Mesos // of the session under way, nil between two
}

// LeaderStatus is how the leader of this node gets on with Mesos.
type LeaderStatus struct {
	Leading    bool
	Subscribed bool
	Err        error // why not, where that is known
	Since      time.Time
}

var _ raftstore.LeaderTask = (*Leader)(nil)

// NewLeader makes the leader part of a node's service.
func NewLeader(s *Service) (*Leader, error) {
	m, err := newMetrics(s.cfg.Registerer, s.state)
	if err != nil {
		return nil, err
	}
	return &Leader{Service: s, logger: s.cfg.Logger.With("part", "leader"), m: m}, nil
}

// Status of the subscription. It is safe for concurrent use.
func (l *Leader) Status() LeaderStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.status
	if st.Leading && !st.Subscribed && l.mesos != nil {
		if err := l.mesos.Status().Err; err != nil {
			st.Err = err
		}
	}
	return st
}

func (l *Leader) setMesos(m Mesos) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mesos = m
}

func (l *Leader) setStatus(s LeaderStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Subscribed == l.status.Subscribed && s.Leading == l.status.Leading {
		s.Since = l.status.Since
	} else {
		s.Since = l.cfg.Clock()
	}
	l.status = s
}

// Establish commits the policy and starts to lead. ctx ends with leadership.
func (l *Leader) Establish(ctx context.Context, term uint64) error {
	l.prop = &proposer{log: l.log, clock: l.cfg.Clock, term: term}
	r, err := l.prop.once(ctx, fsm.NumberSetPolicy, l.cfg.Policy)
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		return fmt.Errorf("commit the policy: %w", err)
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.done = make(chan struct{})
	l.logger.Info("leading", "term", term)
	go func() {
		defer close(l.done)
		l.setStatus(LeaderStatus{Leading: true})
		forgetting := make(chan struct{})
		go func() {
			defer close(forgetting)
			l.forgetExcess(ctx)
		}()
		l.lead(ctx)
		<-forgetting
		l.setStatus(LeaderStatus{})
	}()
	return nil
}

// forgetExcess sees to it that a lowered limit of finished drivers is reached
// even if nothing else is written: every entry drops some of them.
func (l *Leader) forgetExcess(ctx context.Context) {
	most := max(int(l.cfg.Policy.RetainedDrivers), 1)
	for ctx.Err() == nil && l.state.Counts().Finished > most {
		if _, err := l.prop.once(ctx, fsm.NumberSetPolicy, l.cfg.Policy); err != nil {
			l.sleep(ctx, 100*time.Millisecond)
		}
	}
}

// Revoke stops leading and waits until nothing of it runs any more. It is a
// no-op where Establish failed.
func (l *Leader) Revoke() {
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
	l.cancel = nil
	l.logger.Info("no longer leading")
}

// lead holds a subscription to Mesos for as long as ctx lasts.
func (l *Leader) lead(ctx context.Context) {
	for ctx.Err() == nil {
		fw := l.state.Framework()
		if fw.State == fsm.FrameworkRemoved || fw.State == fsm.FrameworkTornDown {
			l.setStatus(LeaderStatus{Leading: true, Err: fmt.Errorf("framework %s is %s: "+
				"go on with 'ha-dispatcher cluster reset-framework'", fw.ID, fw.State)})
			l.awaitFrameworkChange(ctx, fw.State)
			continue
		}
		if err := l.AwaitsImport(); err != nil {
			l.setStatus(LeaderStatus{Leading: true, Err: err})
			l.awaitFrameworkChange(ctx, fw.State)
			continue
		}
		began := l.cfg.Clock()
		err := l.subscribe(ctx, fw.ID)
		if ctx.Err() != nil {
			return
		}
		l.setStatus(LeaderStatus{Leading: true, Err: err})
		l.afterSession(ctx, fw.ID, err, l.cfg.Clock().Sub(began))
	}
}

// subscribe runs one session and returns why it ended.
func (l *Leader) subscribe(ctx context.Context, frameworkID string) error {
	m, err := l.cfg.NewMesos(frameworkID, l.gate)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.setMesos(m)
	defer l.setMesos(nil)
	s := newSession(l, m, cancel)
	err = s.run(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errFence) {
		return cause
	}
	return err
}

// gate keeps a deposed leader from taking the subscription back.
func (l *Leader) gate(ctx context.Context) error { return l.log.VerifyLeader(ctx) }

// afterSession does what the end of a session asks for.
func (l *Leader) afterSession(ctx context.Context, frameworkID string, err error, lasted time.Duration) {
	switch {
	case errors.Is(err, mesosutil.ErrFrameworkRemoved):
		l.logger.Error("mesos has removed the framework; its drivers are gone and no new one is launched", "framework", frameworkID,
			"next", "ha-dispatcher cluster reset-framework")
		if l.frameworkEvent(ctx, &fsmpb.FrameworkEvent{Event: fsm.FrameworkRemove, FrameworkId: frameworkID, Message: err.Error()}) != nil {
			l.sleep(ctx, 100*time.Millisecond)
		}
	case errors.Is(err, errFence), errors.Is(err, mesosutil.ErrGate):
		l.sleep(ctx, 10*time.Millisecond)
	case errors.Is(err, mesosutil.ErrFailedOver) && l.takeOverAgain(lasted) && l.gate(ctx) == nil:
		l.logger.Warn("an older subscription came in late; taking over again")
		l.sleep(ctx, 100*time.Millisecond)
	case ofLog(err):
		// Not committed, or not surely: the new session takes what it finds in the
		// state. If leadership is lost, ctx ends any moment.
		l.logger.Warn("subscribing again after the log failed", "error", err)
		l.sleep(ctx, 100*time.Millisecond)
	default:
		l.logger.Error("subscription ended", "error", err, "next_try_in", l.cfg.Resubscribe)
		l.sleep(ctx, l.cfg.Resubscribe)
	}
}

// takeOverAgain tells whether a lost subscription is worth taking back at once.
// The subscription of a deposed leader may have been on its way and have come in
// after ours; its own gate makes it give up. A scheduler that is none of ours
// does not give up: after a few short sessions the long wait keeps the two from
// chasing each other.
func (l *Leader) takeOverAgain(lasted time.Duration) bool {
	if lasted >= l.cfg.Resubscribe {
		l.takeovers = 0
	}
	l.takeovers++
	return l.takeovers <= 3
}

func (l *Leader) frameworkEvent(ctx context.Context, e *fsmpb.FrameworkEvent) error {
	r, err := l.prop.once(ctx, fsm.NumberFrameworkEvent, e)
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil && ctx.Err() == nil {
		l.logger.Warn("framework event was not recorded", "event", e.Event, "error", err)
	}
	return err
}

func (l *Leader) awaitFrameworkChange(ctx context.Context, was fsm.FrameworkState) {
	for next := l.state.Feed().Next(); l.state.Framework().State == was; {
		changes, _, wake := l.state.Feed().Since(next, 0)
		next += uint64(len(changes))
		if len(changes) > 0 {
			continue
		}
		select {
		case <-wake:
			next = min(next, l.state.Feed().Next())
		case <-ctx.Done():
			return
		}
	}
}

func (l *Leader) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
