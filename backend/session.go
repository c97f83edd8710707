package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

var (
	// errFence ends a session in order to open another one: Mesos then refuses
	// whatever of the old one may still be on its way.
	errFence = errors.New("subscribing again as a fence")
	// errTornDown is the end of the session of an application that is over.
	errTornDown = errors.New("the framework was torn down")
	// errOver is the end of the session of an application that was stopped before
	// Mesos knew it.
	errOver  = errors.New("the application was stopped before mesos knew it")
	errEnded = errors.New("the scheduler driver ended")
)

// session is the life of one scheduler driver. One goroutine does all of it, step
// by step, so that no KILL can overtake its ACCEPT and no status the intent that
// it is about. A step brings all that is known as far as it comes:
//
//	updates      → log → ACKNOWLEDGE
//	offers       → Decide → intents → log → ACCEPT
//	DRAINING executors and strays → KILL, again and again
//	executors without news → RECONCILE
//	a stopped application → TEARDOWN
type session struct {
	*leader
	mesos Mesos

	subscribed bool
	updates    []*mesos.TaskStatus
	offers     []mesos.Offer

	next   uint64    // change of the feed
	wakeAt time.Time // the next step is due then, whatever comes

	reviving  reviving
	kills     kills
	questions questions
	ending    bool // the framework is being torn down

	duty duty
}

func newSession(l *leader, m Mesos) *session {
	s := &session{leader: l, mesos: m, next: l.cfg.Feed.Next()}
	s.duty = l.newDuty(s)
	s.rescan()
	return s
}

// run lasts until ctx ends or Mesos ends the driver for good.
func (s *session) run(ctx context.Context) error {
	defer s.duty.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.mesos.Run(ctx); err != nil {
			return err
		}
		if a, found := s.app(); found && a.Stopped {
			return errTornDown
		}
		return errEnded
	})
	g.Go(func() error { return s.loop(ctx) })
	return g.Wait()
}

func (s *session) loop(ctx context.Context) error {
	feed := s.cfg.Feed
	timer := time.NewTimer(0)
	defer timer.Stop()
	events := s.mesos.Events()
	for {
		changes, lost, wake := feed.Since(s.next, 0)
		if s.next += uint64(len(changes)); lost {
			s.next = feed.Next()
			s.rescan()
		}
		if err := s.look(ctx, changes); err != nil {
			return err
		}
		if err := s.step(ctx); err != nil {
			return err
		}
		timer.Reset(s.untilWake())
		if feed.Next() != s.next {
			continue
		}
		select {
		case ev, open := <-events:
			if !open { // Run returns the reason
				events = nil
				continue
			}
			if err := s.take(ctx, ev, events); err != nil {
				return err
			}
		case <-wake:
		case <-s.poke:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// eventsPerStep bounds what is taken in before something is done about it.
const eventsPerStep = 256

// take takes in an event and those that wait behind it.
func (s *session) take(ctx context.Context, ev mesosutil.Event, more <-chan mesosutil.Event) error {
	for n := 0; ; n++ {
		if err := s.handle(ctx, ev); err != nil {
			return err
		}
		if n == eventsPerStep {
			return nil
		}
		select {
		case next, open := <-more:
			if !open {
				return nil
			}
			ev = next
		default:
			return nil
		}
	}
}

func (s *session) handle(ctx context.Context, ev mesosutil.Event) error {
	switch e := ev.(type) {
	case mesosutil.EventSubscribed:
		return s.onSubscribed(ctx, e)
	case mesosutil.EventDisconnected:
		s.cfg.Logger.Warn("lost the subscription to mesos", "error", e.Err)
		s.subscribed, s.offers = false, nil
		s.setLead(LeaderStatus{Leading: true, Err: e.Err})
		// For people to see; the next subscription says otherwise.
		_ = s.frameworkEvent(ctx, &fsmpb.FrameworkEvent{Event: fsm.FrameworkDisconnect, Message: fmt.Sprint(e.Err)})
	case mesosutil.EventOffers:
		s.offers = append(s.offers, e.Offers...)
	case mesosutil.EventRescind:
		s.forgetOffer(e.OfferID)
	case mesosutil.EventUpdate:
		s.updates = append(s.updates, &e.Status)
	case mesosutil.EventFailure:
		if e.ExecutorID == "" {
			s.cfg.Logger.Info("Mesos agent lost: " + e.AgentID)
		}
		s.duty.failed(e)
	case mesosutil.EventError:
		s.cfg.Logger.Error("Mesos error: " + e.Message)
	}
	return nil
}

// onSubscribed commits the framework id before any offer is looked at.
func (s *session) onSubscribed(ctx context.Context, e mesosutil.EventSubscribed) error {
	err := s.frameworkEvent(ctx, &fsmpb.FrameworkEvent{
		Event: fsm.FrameworkSubscribe, FrameworkId: e.FrameworkID, Master: e.MasterURL,
	})
	if err != nil {
		return err
	}
	s.cfg.Logger.Info("Registered as framework ID "+e.FrameworkID, "master", e.MasterURL, "again", e.Resubscribed)
	s.setLead(LeaderStatus{Leading: true, Subscribed: true})
	s.subscribed, s.offers = true, nil
	s.reviving = reviving{}
	s.questions.begin(s)
	s.kills.again(s.cfg.KillAgain)
	return s.duty.ready(ctx)
}

func (s *session) forgetOffer(id string) {
	for i := range s.offers {
		if s.offers[i].ID.Value == id {
			s.offers = append(s.offers[:i], s.offers[i+1:]...)
			return
		}
	}
}

// look acts on what changed in the state.
func (s *session) look(ctx context.Context, changes []fsm.Change) error {
	for i := range changes {
		c := &changes[i]
		if c.ID != s.cfg.AppID {
			continue
		}
		switch {
		case c.Kind == fsm.ChangeApp:
			if err := s.duty.appChanged(ctx, c); err != nil {
				return err
			}
		case c.Executor != nil:
			s.changed(c.Executor, c.Event)
		}
	}
	return nil
}

// changed notes what is to be done about an executor.
func (s *session) changed(e *fsm.Executor, event string) {
	switch {
	case e.State.Terminal(): // nothing is left to do
	case e.State == fsm.ExecutorDraining:
		s.kills.add(e.TaskID(), e.AgentID, s.cfg.KillAgain, false)
	case event == fsm.EventLaunch:
		s.questions.ask(e, s.cfg.Clock().Add(s.cfg.LaunchQuiet), s.cfg.ReconcileAgain)
	}
	s.duty.executorChanged(e, event)
}

// rescan notes what there is in the state, for a new session and after changes
// that the feed forgot.
func (s *session) rescan() {
	s.reviving.wanted = true
	s.cfg.State.View().Live(s.cfg.AppID, func(e *fsm.Executor) bool {
		s.changed(e, "")
		return true
	})
	s.duty.rescanned()
}

// step does all there is to do at this moment.
func (s *session) step(ctx context.Context) error {
	s.wakeAt = time.Time{}
	if err := s.record(ctx); err != nil {
		return err
	}
	if !s.subscribed {
		if a, found := s.app(); found && a.Over() {
			return errOver
		}
		return nil
	}
	for _, part := range []func(context.Context) error{s.duty.place, s.kill, s.reconcile, s.finish} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// finish tears the framework of a stopped application down as soon as its
// executors are gone, or when they took too long.
func (s *session) finish(ctx context.Context) error {
	a, found := s.app()
	if !found || !a.Stopped {
		return nil
	}
	live := 0
	s.cfg.State.View().Live(a.ID, func(*fsm.Executor) bool { live++; return true })
	limit := s.settings.ShutdownTimeout
	if end := time.UnixMilli(a.StoppedMs).Add(limit); live > 0 && limit > 0 {
		if s.cfg.Clock().Before(end) {
			s.wakeBy(end)
			return nil
		}
		if !s.ending {
			s.cfg.Logger.Warn(fmt.Sprintf("Timed out waiting for %d remaining executors to terminate within %d ms. "+
				"This may leave temporary files on the mesos nodes.", live, limit.Milliseconds()))
		}
	}
	s.ending = true
	if err := s.mesos.Teardown(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("the framework was not torn down; it is tried again", "error", err)
		s.wakeBy(s.cfg.Clock().Add(time.Second))
	}
	return nil
}

func (s *session) wakeBy(t time.Time) {
	if !t.IsZero() && (s.wakeAt.IsZero() || t.Before(s.wakeAt)) {
		s.wakeAt = t
	}
}

func (s *session) untilWake() time.Duration {
	if s.wakeAt.IsZero() {
		return time.Hour
	}
	return max(s.wakeAt.Sub(s.cfg.Clock()), 0)
}
