package host

import (
	"context"
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// leading is the part of a host that acts while its node leads.
type leading struct {
	*Host
	cancel context.CancelFunc
	work   sync.WaitGroup
	came   chan struct{} // an application has come

	mu      sync.Mutex
	running map[string]*entry // with a backend that acts, by application
}

// Establish starts to lead. ctx ends with leadership.
func (l *leading) Establish(ctx context.Context, term uint64) error {
	ctx, l.cancel = context.WithCancel(ctx)
	l.running, l.came = make(map[string]*entry), make(chan struct{}, 1)
	l.cfg.Logger.Info("hosting applications", "term", term)
	l.work.Go(func() { l.follow(ctx) })
	l.work.Go(func() { l.watchDrivers(ctx) })
	return nil
}

// Revoke stops leading and waits until nothing of it runs any more.
func (l *leading) Revoke() {
	if l.cancel != nil {
		l.cancel()
		l.work.Wait()
		l.cancel = nil
	}
}

// follow starts the backend of each application, and hands it the changes that are
// its own.
func (l *leading) follow(ctx context.Context) {
	feed := l.cfg.State.Feed()
	next := feed.Next()
	l.startAll(ctx)
	for {
		changes, lost, wake := feed.Since(next, 0)
		if next += uint64(len(changes)); lost {
			next = feed.Next()
			l.loseAll()
			l.startAll(ctx)
		}
		for i := range changes {
			l.pass(ctx, &changes[i])
		}
		if len(changes) > 0 || lost {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

func (l *leading) pass(ctx context.Context, c *fsm.Change) {
	if c.Kind != fsm.ChangeApp && c.Kind != fsm.ChangeExecutor {
		return
	}
	l.mu.Lock()
	e := l.running[c.ID]
	l.mu.Unlock()
	if e != nil {
		e.feed.publish(*c)
	} else if c.App != nil {
		l.start(ctx, c.App)
	}
}

func (l *leading) startAll(ctx context.Context) {
	l.cfg.State.View().Apps(func(a *fsm.App) bool {
		l.start(ctx, a)
		return true
	})
}

// start lets the backend of an application act, if it is one that needs it.
func (l *leading) start(ctx context.Context, a *fsm.App) {
	if !a.Hosted() || a.Over() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[a.ID] != nil {
		return
	}
	e := l.entry(a)
	if e.err != nil {
		l.cfg.Logger.Error("an application cannot be run", "app", a.ID, "error", e.err)
		return
	}
	l.running[a.ID] = e
	select {
	case l.came <- struct{}{}:
	default:
	}
	l.work.Go(func() {
		e.coarse.Lead(ctx)
		l.mu.Lock()
		delete(l.running, a.ID)
		l.mu.Unlock()
		if ctx.Err() == nil {
			l.forget(a) // it is over
		}
	})
}

func (l *leading) loseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.running {
		e.feed.lose()
	}
}
