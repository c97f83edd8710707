package dispatcher

import (
	"context"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const (
	// launchesPerPlan bounds one log entry and one ACCEPT.
	launchesPerPlan = 256
	eventsBuffered  = 256
	// acceptFilter is how long Mesos keeps back what an ACCEPT left over; its own
	// default. A submission in between revives the offers anyway.
	acceptFilter = 5 * time.Second
	declineAgain = time.Second
	hostLimit    = 1 << 10
)

// placer matches waiting drivers with offers. All of its fields belong to the
// goroutine of run.
type placer struct {
	*session
	events chan mesosutil.Event

	subscribed bool
	offers     []mesos.Offer
	owed       []string // offers that are still to be declined
	inverse    []mesos.InverseOffer
	holds      []Hold
	needs      *needs
	scan       bool      // the queue is to be looked through even without an offer
	dueAt      time.Time // when the next driver falls due that must wait for a while
	fresh      bool      // a driver fell due since the last revival
	held       bool      // Mesos may be keeping offers back
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
	p.fresh, p.scan = true, true // whatever waits was waiting for this session
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changes, lost, wake := feed.Since(next, 0)
		if lost {
			next, p.fresh, p.scan = feed.Next(), true, true
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
	now := p.cfg.Clock().UnixMilli()
	for i := range changes {
		d := changes[i].Driver
		switch {
		case d == nil:
		case d.State == fsm.DriverQueued || d.State == fsm.DriverRetrying:
			if d.NotBeforeMs <= now {
				p.fresh = true
			} else {
				p.dueBy(time.UnixMilli(d.NotBeforeMs))
			}
		case d.State.Terminal():
			p.needs.forget(d.ID)
		}
	}
}

func (p *placer) dueBy(t time.Time) {
	if !t.IsZero() && (p.dueAt.IsZero() || t.Before(p.dueAt)) {
		p.dueAt = t
	}
}

func (p *placer) take(ev mesosutil.Event) {
	switch e := ev.(type) {
	case mesosutil.EventSubscribed:
		p.subscribed, p.offers, p.owed, p.held, p.suppressed, p.fresh = true, nil, nil, false, false, true
	case mesosutil.EventDisconnected:
		p.subscribed, p.offers, p.owed = false, nil, nil
	case mesosutil.EventOffers:
		p.offers = append(p.offers, e.Offers...)
		p.m.offers(len(e.Offers))
	case mesosutil.EventRescind:
		p.rescind(e.OfferID)
	case mesosutil.EventInverseOffers:
		p.inverse = append(p.inverse, e.Offers...)
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
	p.declineInverse(ctx)
	owed := p.owed
	p.owed = nil
	p.decline(ctx, owed, p.cfg.RejectOffer)
	counts := p.state.Counts()
	if counts.Waiting+counts.Retrying == 0 {
		p.idle(ctx)
		return nil
	}
	p.idleSince = time.Time{}
	if p.dueNow() {
		p.fresh, p.scan = true, true
	}
	if len(p.offers) == 0 && !p.scan {
		// Nothing can be placed, and what falls due when is known: the queue, which
		// may be long, need not be looked through for each submission.
		p.wakeBy(p.dueAt)
		p.revive(ctx)
		return nil
	}
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
		p.scan, p.dueAt = false, plan.Wake
		p.wakeBy(plan.Wake)
		p.m.unplaced(plan.Unplaced)
		if plan.Unplaced == 0 {
			p.fresh = false // whoever fell due is placed
			return nil
		}
		p.revive(ctx)
		return nil
	}
}

func (p *placer) dueNow() bool { return !p.dueAt.IsZero() && !p.dueAt.After(p.cfg.Clock()) }

// idle gives back what is held, and stops the offers when nothing has waited for
// a while.
func (p *placer) idle(ctx context.Context) {
	now := p.cfg.Clock()
	if p.idleSince.IsZero() {
		p.idleSince = now
	}
	p.fresh = false
	p.decline(ctx, offerIDs(p.offers), p.cfg.RejectOffer)
	p.offers = nil
	if p.suppressed {
		return
	}
	if since := now.Sub(p.idleSince); since < p.cfg.SuppressAfter {
		p.wakeBy(now.Add(p.cfg.SuppressAfter - since))
		return
	}
	if err := p.mesos.Suppress(ctx); err != nil {
		p.logger.Debug("offers were not suppressed; it is tried again", "error", err)
		p.wakeBy(now.Add(p.cfg.SuppressAfter))
		return
	}
	p.suppressed = true
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

// decline gives offers back. Mesos offers nobody what one framework holds, so a
// DECLINE that fails is tried again for as long as the subscription lasts.
func (p *placer) decline(ctx context.Context, ids []string, refuse time.Duration) {
	if len(ids) == 0 {
		return
	}
	p.held = true
	if err := p.mesos.Decline(ctx, ids, refuse); err != nil {
		p.logger.Debug("offers were not declined; it is tried again", "error", err)
		p.owed = append(p.owed, ids...)
		p.wakeBy(p.cfg.Clock().Add(declineAgain))
		return
	}
	p.m.declined(len(ids))
}

// declineInverse answers the announcement of a maintenance: drivers do not move,
// and when their time comes the operator decides. An answer that gets lost does
// no harm, because Mesos asks again.
func (p *placer) declineInverse(ctx context.Context) {
	if len(p.inverse) == 0 {
		return
	}
	var ids []string
	for i := range p.inverse {
		o := &p.inverse[i]
		ids = append(ids, o.OfferID.Value)
		p.logger.Info("an agent is to be taken down for maintenance; its drivers stay until they end",
			"agent", o.AgentID.GetValue(), "from", time.Unix(0, o.Unavailability.Start.Nanoseconds))
	}
	p.inverse = nil
	if err := p.mesos.DeclineInverse(ctx, ids, p.cfg.RejectOffer); err != nil {
		p.logger.Debug("inverse offers were not declined; mesos asks again", "error", err)
	}
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
