package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// errFence ends a session in order to open another one: Mesos then refuses
// whatever of the old one may still be on its way.
var errFence = errors.New("subscribing again as a fence")

// errEnded is the end of a driver that gave no reason.
var errEnded = errors.New("the scheduler driver ended")

// session is the life of one scheduler driver. Its parts run side by side:
//
//	pump        reads the driver's events in order and hands them out
//	placer      offers and waiting drivers → intents → ACCEPT
//	recorder    updates → log → ACKNOWLEDGE
//	killer      KILLING drivers and stray tasks → KILL, again and again
//	reconciler  asks Mesos what became of the tasks
type session struct {
	*Leader
	mesos Mesos
	end   context.CancelCauseFunc

	placer     *placer
	recorder   *recorder
	killer     *killer
	reconciler *reconciler
}

func newSession(l *Leader, m Mesos, end context.CancelCauseFunc) *session {
	s := &session{Leader: l, mesos: m, end: end}
	s.killer = newKiller(s)
	s.reconciler = newReconciler(s)
	s.recorder = newRecorder(s)
	s.placer = newPlacer(s)
	return s
}

// run lasts until ctx ends or Mesos ends the driver for good.
func (s *session) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.mesos.Run(ctx); err != nil {
			return err
		}
		return errEnded
	})
	g.Go(func() error { return s.pump(ctx) })
	g.Go(func() error { return s.placer.run(ctx) })
	g.Go(func() error { return s.recorder.run(ctx) })
	g.Go(func() error { return s.killer.run(ctx) })
	g.Go(func() error { return s.reconciler.run(ctx) })
	return g.Wait()
}

// pump hands out the events. The framework id is committed before any offer of
// the subscription is handed on.
func (s *session) pump(ctx context.Context) error {
	for {
		var ev mesosutil.Event
		var open bool
		select {
		case ev, open = <-s.mesos.Events():
		case <-ctx.Done():
			return ctx.Err()
		}
		if !open { // Run returns the reason
			<-ctx.Done()
			return ctx.Err()
		}
		if err := s.handle(ctx, ev); err != nil {
			return err
		}
	}
}

func (s *session) handle(ctx context.Context, ev mesosutil.Event) error {
	switch e := ev.(type) {
	case mesosutil.EventSubscribed:
		return s.subscribed(ctx, e)
	case mesosutil.EventDisconnected:
		s.logger.Warn("lost the subscription to mesos", "error", e.Err)
		s.setStatus(LeaderStatus{Leading: true, Err: e.Err})
		s.reconciler.pause()
		if err := s.placer.give(ctx, e); err != nil {
			return err
		}
		// Recorded for people; the next subscription needs nothing of it.
		_ = s.frameworkEvent(ctx, &fsmpb.FrameworkEvent{Event: fsm.FrameworkDisconnect, Message: fmt.Sprint(e.Err)})
	case mesosutil.EventOffers, mesosutil.EventRescind, mesosutil.EventInverseOffers:
		return s.placer.give(ctx, e)
	case mesosutil.EventUpdate:
		return s.recorder.give(ctx, &e.Status)
	case mesosutil.EventFailure:
		if e.ExecutorID == "" {
			s.logger.Warn("mesos lost an agent", "agent", e.AgentID)
		}
	case mesosutil.EventError:
		s.logger.Error("mesos reports an error", "message", e.Message)
	}
	return nil
}

func (s *session) subscribed(ctx context.Context, e mesosutil.EventSubscribed) error {
	err := s.frameworkEvent(ctx, &fsmpb.FrameworkEvent{
		Event: fsm.FrameworkSubscribe, FrameworkId: e.FrameworkID, Master: e.MasterURL,
	})
	if err != nil {
		return fmt.Errorf("commit framework id %s: %w", e.FrameworkID, err)
	}
	s.logger.Info("subscribed to mesos", "framework", e.FrameworkID, "master", e.MasterURL, "again", e.Resubscribed)
	s.setStatus(LeaderStatus{Leading: true, Subscribed: true})
	s.reconciler.start()
	s.killer.start()
	return s.placer.give(ctx, e)
}
