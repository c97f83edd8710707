package backend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// LeaderStatus is how this node gets on with Mesos, where it leads.
type LeaderStatus struct {
	Leading    bool
	Subscribed bool
	Err        error // why not, where that is known
}

// leader is the part of a backend that acts while its node leads.
type leader struct {
	*application
	ends      bool // with the application, and not only with the leadership
	cancel    context.CancelFunc
	done      chan struct{}
	takeovers int // in a row; belongs to lead
}

// Establish starts to lead. ctx ends with leadership.
func (l *leader) Establish(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	l.done = make(chan struct{})
	l.mu.Lock()
	l.leads++
	l.mu.Unlock()
	l.cfg.Logger.Info("leading", "term", term)
	go func() {
		defer close(l.done)
		l.setLead(LeaderStatus{Leading: true})
		var tokens sync.WaitGroup
		tokens.Go(func() { l.renewTokens(ctx) })
		l.run(ctx)
		cancel()
		tokens.Wait()
		l.setLead(LeaderStatus{})
	}()
	return nil
}

// Revoke stops leading and waits until nothing of it runs any more.
func (l *leader) Revoke() {
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
	l.cancel = nil
}

func (c *application) setLead(s LeaderStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead = s
}

// run holds a subscription for as long as ctx lasts and the application is one to
// hold it for.
func (l *leader) run(ctx context.Context) {
	for ctx.Err() == nil {
		a, found := l.app()
		switch {
		case l.ends && (!found || a.Over()):
			return
		case !found || a.Over():
			l.awaitChange(ctx, a)
			continue
		case a.Framework.State == fsm.FrameworkRemoved || a.Framework.State == fsm.FrameworkTornDown:
			l.setLead(LeaderStatus{Leading: true, Err: ErrFrameworkRemoved})
			l.awaitChange(ctx, a)
			continue
		}
		began := l.cfg.Clock()
		err := l.subscribe(ctx, a.Framework.ID)
		if ctx.Err() != nil {
			return
		}
		l.setLead(LeaderStatus{Leading: true, Err: err})
		l.after(ctx, a.Framework.ID, err, l.cfg.Clock().Sub(began))
	}
}

// awaitChange waits until the application is another than was.
func (l *leader) awaitChange(ctx context.Context, was *fsm.App) {
	for ctx.Err() == nil {
		feed := l.cfg.Feed
		_, _, wake := feed.Since(feed.Next(), 0)
		if now, _ := l.app(); now != was {
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

func (l *leader) subscribe(ctx context.Context, frameworkID string) error {
	m, err := l.cfg.NewMesos(l.framework(frameworkID), l.cfg.Log.VerifyLeader)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.mesos = m
	l.mu.Unlock()
	return newSession(l, m).run(ctx)
}

// after does what the end of a session asks for.
func (l *leader) after(ctx context.Context, frameworkID string, err error, lasted time.Duration) {
	log := l.cfg.Logger
	switch {
	case errors.Is(err, errOver):
	case errors.Is(err, errTornDown):
		_ = l.frameworkEvent(ctx, &fsmpb.FrameworkEvent{Event: fsm.FrameworkTearDown, FrameworkId: frameworkID})
	case errors.Is(err, mesosutil.ErrFrameworkRemoved):
		log.Error("mesos has removed the framework of the application, and its executors with it", "framework", frameworkID)
		if l.frameworkEvent(ctx, &fsmpb.FrameworkEvent{Event: fsm.FrameworkRemove, FrameworkId: frameworkID, Message: err.Error()}) != nil {
			sleep(ctx, 100*time.Millisecond)
		}
	case errors.Is(err, errFence), errors.Is(err, mesosutil.ErrGate):
		sleep(ctx, 10*time.Millisecond)
	case errors.Is(err, mesosutil.ErrFailedOver) && l.takeOverAgain(lasted) && l.cfg.Log.VerifyLeader(ctx) == nil:
		log.Warn("an older subscription came in late; taking over again")
		sleep(ctx, 100*time.Millisecond)
	case ofLog(err):
		// Not committed, or not surely: the next session takes what it finds in the
		// state. If leadership is lost, ctx ends any moment.
		log.Warn("subscribing again after the log failed", "error", err)
		sleep(ctx, 100*time.Millisecond)
	default:
		log.Error("subscription ended", "error", err, "next_try_in", l.cfg.Resubscribe)
		sleep(ctx, l.cfg.Resubscribe)
	}
}

// takeOverAgain tells whether a lost subscription is worth taking back at once:
// that of a deposed leader may have come in late, and its own gate makes it give
// up. A scheduler that is none of ours does not give up, so that after a few short
// sessions the long wait keeps the two from chasing each other.
func (l *leader) takeOverAgain(lasted time.Duration) bool {
	if lasted >= l.cfg.Resubscribe {
		l.takeovers = 0
	}
	l.takeovers++
	return l.takeovers <= 3
}

func (c *application) frameworkEvent(ctx context.Context, e *fsmpb.FrameworkEvent) error {
	r, err := c.propose(ctx, fsm.NumberAppFrameworkEvent, &fsmpb.AppFrameworkEvent{AppId: c.cfg.AppID, Event: e})
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil && ctx.Err() == nil {
		c.cfg.Logger.Warn("framework event was not recorded", "event", e.Event, "error", err)
	}
	if err != nil {
		return fmt.Errorf("commit that the framework of %s is to %s: %w", c.cfg.AppID, e.Event, err)
	}
	return nil
}
