package backend

import (
	"context"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// ExecutorEvent is one step in the life of an executor.
type ExecutorEvent struct {
	Executor *fsm.Executor
	Event    string // such as fsm.EventLaunch; empty for one that was there before
	From     fsm.ExecutorState
}

// Watch calls visit for each live executor and then for each change of one, in
// order, until ctx ends or visit returns an error, which it returns. A watcher
// that falls far behind is given the live ones again.
func (c *application) Watch(ctx context.Context, visit func(ExecutorEvent) error) error {
	feed := c.cfg.State.Feed() // with the numbers that a View knows
	for lost := true; ; {
		var next uint64
		if lost {
			v := c.cfg.State.View()
			var err error
			v.Live(c.cfg.AppID, func(e *fsm.Executor) bool {
				err = visit(ExecutorEvent{Executor: e})
				return err == nil
			})
			if err != nil {
				return err
			}
			next, lost = v.NextChange(), false
		}
		for !lost {
			var changes []fsm.Change
			var wake <-chan struct{}
			changes, lost, wake = feed.Since(next, 0)
			next += uint64(len(changes))
			for i := range changes {
				if ch := &changes[i]; ch.Executor != nil && ch.ID == c.cfg.AppID {
					if err := visit(ExecutorEvent{ch.Executor, ch.Event, fsm.ExecutorState(ch.From)}); err != nil {
						return err
					}
				}
			}
			if lost || len(changes) > 0 {
				continue
			}
			select {
			case <-wake:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// follow tells the task scheduler of executors that are over, and of the end of
// the framework.
func (c *Coarse) follow(ctx context.Context, from *fsm.View) { c.changes(ctx, from, c.tell) }

// changes calls tell for each change, and tells the launcher of the application's
// state, from a view on. What had changed when ctx ends is told still; what comes
// too fast is left out.
func (c *application) changes(ctx context.Context, from *fsm.View, tell func(*fsm.Change)) {
	feed, next := c.cfg.Feed, from.NextChange()
	var h handle
	a, _ := from.App(c.cfg.AppID)
	c.tellLauncher(&h, a)
	for ended := false; ; {
		changes, lost, wake := feed.Since(next, 0)
		if next += uint64(len(changes)); lost {
			next = feed.Next()
		}
		for i := range changes {
			tell(&changes[i])
			if a := changes[i].App; a != nil && a.ID == c.cfg.AppID {
				c.tellLauncher(&h, a)
			}
		}
		switch {
		case lost:
			a, _ := c.app()
			c.tellLauncher(&h, a)
			continue
		case len(changes) > 0:
			continue
		case ended:
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
			ended = true
		}
	}
}

func (c *Coarse) tell(ch *fsm.Change) {
	if ch.ID != c.cfg.AppID {
		return
	}
	switch {
	case ch.Executor != nil && ch.Executor.State.Terminal():
		id := ch.Executor.TaskID()
		c.ExecutorUnregistered(id)
		if a, found := c.app(); c.cfg.Scheduler != nil && found && !a.Stopped {
			c.cfg.Scheduler.ExecutorLost(id, "Executor finished with state "+string(ch.Executor.State))
		}
	case ch.App != nil && ch.Event == fsm.FrameworkRemove && c.cfg.Scheduler != nil:
		c.cfg.Scheduler.Error("Mesos error: " + ch.Reason)
	}
}
