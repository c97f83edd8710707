package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const (
	// launchesPerPlan bounds one log entry and one ACCEPT.
	launchesPerPlan = 256
	eventsBuffered  = 256
	// acceptFilter is how long Mesos keeps back what an ACCEPT left over; its own
	// default. A submission in between revives the offers anyway.
	acceptFilter = 5 * time.Second
)

// placer matches waiting drivers with offers. All of its fields belong to the
// goroutine of run.
type placer struct {
	*session
	events chan mesosutil.Event

	subscribed bool
	offers     []mesos.Offer
	holds      []Hold
	needs      *needs
	fresh      bool // a driver fell due since the last revival
	held       bool // Mesos may be keeping offers back
	suppressed bool
	revived    time.Time
	idleSince  time.Time
	wake       time.Time
}

func newPlacer(s *session) *placer {
	return &placer{session: s, events: make(chan mesosutil.Event, eventsBuffered), needs: newNeeds(s.Service)}
}

func (p *placer) give(ctx context.Context, ev mesosutil.Event) error {
	select {
	case p.events <- ev:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *placer) run(ctx context.Context) error {
	feed := p.state.Feed()
	next := feed.Next()
	p.fresh = true // whatever waits was waiting for this session
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changes, lost, wake := feed.Since(next, 0)
		if lost {
			next, p.fresh = feed.Next(), true
		}
		next += uint64(len(changes))
		p.look(changes)
		if err := p.step(ctx); err != nil {
			return err
		}
		timer.Reset(p.untilWake())
		if feed.Next() != next {
			continue
		}
		select {
		case ev := <-p.events:
			p.take(ev)
			p.drain()
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look notes in the changes whether there is somebody new to place.
func (p *placer) look(changes []fsm.Change) {
	for i := range changes {
		c := &changes[i]
		if c.Kind != fsm.ChangeDriver {
			continue
		}
		switch to := fsm.DriverState(c.To); {
		case to == fsm.DriverQueued || to == fsm.DriverRetrying:
			p.fresh = true
		case to.Terminal():
			p.needs.forget(c.ID)
		}
	}
}

func (p *placer) take(ev mesosutil.Event) {
	switch e := ev.(type) {
	case mesosutil.EventSubscribed:
		p.subscribed, p.offers, p.held, p.suppressed, p.fresh = true, nil, false, false, true
	case mesosutil.EventDisconnected:
		p.subscribed, p.offers = false, nil
	case mesosutil.EventOffers:
		p.offers = append(p.offers, e.Offers...)
		p.m.offers(len(e.Offers))
	case mesosutil.EventRescind:
		p.rescind(e.OfferID)
	}
}

func (p *placer) drain() {
	for {
		select {
		case ev := <-p.events:
			p.take(ev)
		default:
			return
		}
	}
}

func (p *placer) rescind(id string) {
	for i := range p.offers {
		if p.offers[i].ID.Value == id {
			p.offers = append(p.offers[:i], p.offers[i+1:]...)
			return
		}
	}
}

func (p *placer) untilWake() time.Duration {
	if p.wake.IsZero() {
		return time.Hour
	}
	return max(p.wake.Sub(p.cfg.Clock()), 0)
}

func (p *placer) wakeBy(t time.Time) {
	if !t.IsZero() && (p.wake.IsZero() || t.Before(p.wake)) {
		p.wake = t
	}
}

// step brings offers and drivers as far as they come at this moment.
func (p *placer) step(ctx context.Context) error {
	p.wake = time.Time{}
	if !p.subscribed {
		return nil
	}
	counts := p.state.Counts()
	if counts.Waiting+counts.Retrying == 0 {
		p.idle(ctx)
		return nil
	}
	p.idleSince = time.Time{}
	for {
		plan := Decide(Situation{
			View: p.state.View(), Offers: p.offers, Now: p.cfg.Clock(), Need: p.needs.of, MaxLaunches: launchesPerPlan,
			Holds: p.holds, HoldAfter: p.cfg.HoldAfter, HoldFor: p.cfg.HoldFor,
		})
		p.holds = plan.Holds
		if err := p.carryOut(ctx, plan); err != nil {
			return err
		}
		if plan.More {
			continue
		}
		p.wakeBy(plan.Wake)
		p.m.unplaced(plan.Unplaced)
		if plan.Unplaced > 0 || p.dueNow(plan.Wake) {
			p.revive(ctx)
		}
		return nil
	}
}

func (p *placer) dueNow(t time.Time) bool { return !t.IsZero() && !t.After(p.cfg.Clock()) }

// idle gives back what is held, and stops the offers when nothing has waited for
// a while.
func (p *placer) idle(ctx context.Context) {
	now := p.cfg.Clock()
	if p.idleSince.IsZero() {
		p.idleSince = now
	}
	p.fresh = false
	p.decline(ctx, offerIDs(p.offers))
	p.offers = nil
	if p.suppressed {
		return
	}
	if since := now.Sub(p.idleSince); since < p.cfg.SuppressAfter {
		p.wakeBy(now.Add(p.cfg.SuppressAfter - since))
		return
	}
	if err := p.mesos.Suppress(ctx); err == nil {
		p.suppressed = true
	}
}

// revive asks for offers that Mesos keeps back, once for each time that drivers
// fell due: for those that were there before, nothing would change.
func (p *placer) revive(ctx context.Context) {
	if !p.fresh || !p.held && !p.suppressed {
		return
	}
	now := p.cfg.Clock()
	if earliest := p.revived.Add(p.cfg.ReviveEvery); now.Before(earliest) {
		p.wakeBy(earliest)
		return
	}
	if err := p.mesos.Revive(ctx); err != nil {
		p.logger.Debug("offers were not revived", "error", err)
		p.wakeBy(now.Add(p.cfg.ReviveEvery))
		return
	}
	p.m.revived()
	p.revived, p.fresh, p.held, p.suppressed = now, false, false, false
}

// carryOut turns a plan into intents, and committed intents into ACCEPTs.
func (p *placer) carryOut(ctx context.Context, plan Plan) error {
	for _, r := range plan.Rejects {
		if err := p.reject(ctx, r.DriverID, r.Reason); err != nil {
			return err
		}
	}
	if len(plan.Accepts) > 0 {
		if err := p.launch(ctx, plan.Accepts); err != nil {
			return err
		}
	}
	p.decline(ctx, plan.Declines)
	if !plan.More {
		p.keepHeld()
	}
	return nil
}

// keepHeld drops all offers but those of agents that are held for a driver.
func (p *placer) keepHeld() {
	p.offers = slices.DeleteFunc(p.offers, func(o mesos.Offer) bool {
		return !slices.ContainsFunc(p.holds, func(h Hold) bool { return h.AgentID == o.AgentID.Value })
	})
}

func (p *placer) reject(ctx context.Context, id, reason string) error {
	p.logger.Warn("driver can never be launched", "driver", id, "reason", reason)
	_, err := p.prop.once(ctx, fsm.NumberRejectDriver, &fsmpb.RejectDriver{DriverId: id, Reason: clip(reason, messageLimit)})
	return err
}

// launch commits the intents of all accepts as one entry, then accepts.
func (p *placer) launch(ctx context.Context, accepts []Accept) error {
	frameworkID := p.state.Framework().ID
	body := &fsmpb.LaunchDrivers{}
	for _, a := range accepts {
		for _, l := range a.Launches {
			task := fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt)
			p.reconciler.accepting(task)
			body.Launches = append(body.Launches, &fsmpb.Launch{
				DriverId: l.Driver.ID, Attempt: l.Driver.NextAttempt, TaskId: task,
				AgentId: a.AgentID, AgentHost: a.Host, FrameworkId: frameworkID + "-" + task,
			})
		}
	}
	began := time.Now()
	res, err := p.prop.once(ctx, fsm.NumberLaunchDrivers, body)
	if err != nil {
		return fmt.Errorf("commit launch intents: %w", err)
	}
	p.m.intents(len(body.Launches), time.Since(began))
	if err := p.cfg.failpoint(ctx, FailIntentCommitted); err != nil {
		return err
	}
	outcomes := res.Launches
	for _, a := range accepts {
		n := len(a.Launches)
		if err := p.accept(ctx, a, outcomes[:n], frameworkID); err != nil {
			return err
		}
		outcomes = outcomes[n:]
	}
	return p.cfg.failpoint(ctx, FailAccepted)
}

// accept sends the tasks of one agent whose intents are committed.
func (p *placer) accept(ctx context.Context, a Accept, outcomes []*fsmpb.LaunchResult, frameworkID string) error {
	var tasks []mesos.TaskInfo
	for i, l := range a.Launches {
		if code := fsm.Code(outcomes[i].Code); code.Refused() {
			p.logger.Info("launch was overtaken", "driver", l.Driver.ID, "outcome", outcomes[i].Message)
			continue
		}
		task, err := p.task(a, l, frameworkID)
		if err != nil {
			p.logger.Error("task cannot be built", "driver", l.Driver.ID, "error", err)
			if err := p.undo(ctx, fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt), a.AgentID, fsm.TaskError, err); err != nil {
				return err
			}
			continue
		}
		tasks = append(tasks, task)
	}
	p.forgetOffers(a.OfferIDs)
	if len(tasks) == 0 {
		p.decline(ctx, a.OfferIDs)
		return nil
	}
	p.held = true
	err := p.mesos.Accept(ctx, a.OfferIDs, tasks, acceptFilter)
	for i := range tasks {
		if err == nil {
			p.reconciler.accepted(tasks[i].TaskID.Value)
			p.logger.Info("driver launched", "task", tasks[i].TaskID.Value, "agent", a.AgentID, "host", a.Host)
		}
	}
	if err != nil {
		return p.notAccepted(ctx, a, tasks, err)
	}
	return nil
}

// notAccepted deals with a failed ACCEPT. Where it surely had no effect the
// attempts are taken back at once. Where it may still arrive, only another
// subscription makes sure that it does not; Mesos is asked after that.
func (p *placer) notAccepted(ctx context.Context, a Accept, tasks []mesos.TaskInfo, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var call *mesosutil.CallError
	if !errors.As(err, &call) || !call.NoEffect() {
		p.logger.Warn("nobody knows whether mesos took a launch; subscribing again to be sure", "agent", a.AgentID, "error", err)
		p.end(errFence)
		return errFence
	}
	p.logger.Info("launch was not taken; its drivers go back to the queue", "agent", a.AgentID, "error", err)
	for i := range tasks {
		if err := p.undo(ctx, tasks[i].TaskID.Value, a.AgentID, fsm.TaskDropped, err); err != nil {
			return err
		}
	}
	return nil
}

// undo records that an attempt was never sent.
func (p *placer) undo(ctx context.Context, task, agentID string, state fsm.TaskState, why error) error {
	defer p.reconciler.accepted(task)
	_, err := p.prop.once(ctx, fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{{
		TaskId: task, State: int32(state), AgentId: agentID, Message: clip("not sent to Mesos: "+why.Error(), messageLimit),
		Timestamp: float64(p.cfg.Clock().UnixMilli()) / 1000,
	}}})
	return err
}

func (p *placer) task(a Accept, l Launch, frameworkID string) (mesos.TaskInfo, error) {
	desc, err := p.Description(l.Driver)
	if err != nil {
		return mesos.TaskInfo{}, err
	}
	task := fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt)
	return launch.Task(p.cfg.Launch, desc, launch.Placement{
		TaskID: task, AgentID: a.AgentID, Hostname: a.Host, FrameworkID: frameworkID + "-" + task,
		Attempt: int(l.Driver.NextAttempt), Resources: l.Resources,
	})
}

func (p *placer) decline(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	p.held = true
	if err := p.mesos.Decline(ctx, ids, p.cfg.RejectOffer); err != nil && ctx.Err() == nil {
		p.logger.Debug("offers were not declined", "error", err)
	}
	p.m.declined(len(ids))
}

func (p *placer) forgetOffers(ids []string) {
	for _, id := range ids {
		p.rescind(id)
	}
}

func offerIDs(offers []mesos.Offer) []string {
	ids := make([]string, len(offers))
	for i := range offers {
		ids[i] = offers[i].ID.Value
	}
	return ids
}
