package dispatcher

import (
	"context"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const (
	// launchesPerPlan bounds what is decided on one view of the state, so that a
	// driver which comes in meanwhile and is more urgent need not wait for long.
	launchesPerPlan = 4096
	// launchesPerEntry bounds one log entry, but for what one agent takes.
	launchesPerEntry = 256
	eventsBuffered   = 256
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
	streams    int // subscriptions begun and ended
	offers     []mesos.Offer
	offered    bool            // some of the offers have not been looked at
	rescinded  map[string]bool // while a plan is carried out
	owed       []string        // offers that are still to be declined
	inverse    []mesos.InverseOffer
	holds      []Hold
	heldFor    map[string]bool // drivers for which an agent is held
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
		if lost { // with it, which drivers are over
			next, p.fresh, p.scan, p.needs = feed.Next(), true, true, newNeeds(p.Service)
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
			if p.heldFor[d.ID] {
				p.scan = true // what is held for it is free for others
			}
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
		p.streams++
		p.subscribed, p.offers, p.offered, p.owed, p.held, p.suppressed, p.fresh = true, nil, false, nil, false, false, true
	case mesosutil.EventDisconnected:
		p.streams++
		p.subscribed, p.offers, p.offered, p.owed = false, nil, false, nil
	case mesosutil.EventOffers:
		p.offers, p.offered = append(p.offers, e.Offers...), true
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
	if p.rescinded != nil {
		p.rescinded[id] = true
	}
	p.forgetOffers([]string{id})
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
	if !p.offered && !p.scan {
		// Nothing can be placed: there are no offers, or only those of agents that
		// are held. What falls due when is known: the queue, which may be long, need
		// not be looked through for each submission.
		p.wakeBy(p.dueAt)
		p.revive(ctx)
		return nil
	}
	for {
		p.offered, p.scan = false, false
		plan := Decide(Situation{
			View: p.state.View(), Offers: p.offers, Now: p.cfg.Clock(), Need: p.needs.of, MaxLaunches: launchesPerPlan,
			Holds: p.holds, HoldAfter: p.cfg.HoldAfter, HoldFor: p.cfg.HoldFor,
		})
		p.setHolds(plan.Holds)
		if err := p.carryOut(ctx, plan); err != nil {
			return err
		}
		if !p.subscribed {
			return nil
		}
		if plan.More || p.offered || p.scan {
			continue
		}
		p.dueAt = plan.Wake
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

func (p *placer) setHolds(holds []Hold) {
	p.holds, p.heldFor = holds, make(map[string]bool, len(holds))
	for _, h := range holds {
		p.heldFor[h.DriverID] = h.AgentID != ""
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
	p.offers, p.offered = nil, false
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

// forgetOffers drops offers in one pass, however many they are.
func (p *placer) forgetOffers(ids []string) {
	if len(ids) == 0 {
		return
	}
	gone := make(map[string]bool, len(ids))
	for _, id := range ids {
		gone[id] = true
	}
	p.offers = slices.DeleteFunc(p.offers, func(o mesos.Offer) bool { return gone[o.ID.Value] })
}

func offerIDs(offers []mesos.Offer) []string {
	ids := make([]string, len(offers))
	for i := range offers {
		ids[i] = offers[i].ID.Value
	}
	return ids
}
