package dispatcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// killer sends KILL for every driver in KILLING until its task is over, and for
// tasks that must not run. A KILL can get lost, so it is repeated with a growing
// wait.
type killer struct {
	*session
	poke chan struct{}

	mu      sync.Mutex
	pending *dueQueue[kill] // with a due time of zero: never sent yet
	rescan  bool
}

type kill struct {
	agentID string
	wait    time.Duration
	stray   bool
	tries   int
}

// strayTries bounds the kills of a task that no driver owns any more: nothing
// else says when it is over.
const strayTries = 8

func newKiller(s *session) *killer {
	return &killer{session: s, poke: make(chan struct{}, 1), pending: newDueQueue[kill](), rescan: true}
}

// start begins afresh with a new subscription.
func (k *killer) start() {
	k.mu.Lock()
	k.rescan = true
	k.pending.moveAll(time.Time{}, func(p *kill) { p.wait = k.cfg.KillAgain })
	k.mu.Unlock()
	k.wakeUp()
}

// stray kills a task that must not run.
func (k *killer) stray(task, agentID string) {
	k.mu.Lock()
	if k.pending.get(task) == nil {
		k.pending.put(task, time.Time{}, kill{agentID: agentID, wait: k.cfg.KillAgain, stray: true})
	}
	k.mu.Unlock()
	k.logger.Warn("killing a task that is not the current attempt of its driver", "task", task, "agent", agentID)
	k.wakeUp()
}

// settled tells that a task is no stray any more: a status says that it is over.
func (k *killer) settled(task string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pending.get(task); p != nil && p.value.stray {
		k.pending.drop(task)
	}
}

func (k *killer) wakeUp() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

func (k *killer) run(ctx context.Context) error {
	feed := k.state.Feed()
	next := feed.Next()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changes, lost, wake := feed.Since(next, 0)
		next += uint64(len(changes))
		if lost {
			next = feed.Next()
			k.start()
		}
		k.look(changes)
		if err := k.send(ctx); err != nil {
			return err
		}
		timer.Reset(k.untilDue())
		select {
		case <-wake:
		case <-k.poke:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *killer) look(changes []fsm.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rescan {
		k.rescan = false
		k.state.View().Active(func(d *fsm.Driver) bool {
			k.add(d)
			return true
		})
	}
	for i := range changes {
		c := &changes[i]
		if c.Driver == nil {
			continue
		}
		k.add(c.Driver)
		if p := k.pending.get(c.TaskID); p != nil && k.over(c.TaskID, &p.value) {
			k.pending.drop(c.TaskID)
		}
	}
}

// add notes a driver that is to be killed.
func (k *killer) add(d *fsm.Driver) {
	a := d.Current()
	if d.State != fsm.DriverKilling || a == nil || k.pending.get(a.TaskID) != nil {
		return
	}
	k.pending.put(a.TaskID, time.Time{}, kill{agentID: a.AgentID, wait: k.cfg.KillAgain})
}

// send sends what is due and forgets what is over.
func (k *killer) send(ctx context.Context) error {
	due := k.takeDue()
	if len(due) == 0 {
		return nil
	}
	if err := k.cfg.failpoint(ctx, FailKillCommitted); err != nil {
		return err
	}
	for _, o := range due {
		k.m.killed()
		err := k.mesos.Kill(ctx, o.task, o.agentID, nil)
		if err == nil {
			continue
		}
		k.logger.Debug("kill was not sent; it is tried again", "task", o.task, "error", err)
		if !errors.Is(err, mesosutil.ErrCallRejected) {
			return ctx.Err() // Mesos cannot be reached; all of them fall due again
		}
	}
	return nil
}

// killCall is a KILL that is to be sent.
type killCall struct{ task, agentID string }

// takeDue is what is to be sent now. Each of it falls due again.
func (k *killer) takeDue() (due []killCall) {
	now := k.cfg.Clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.pending.take(now) {
		p := e.value
		switch {
		case k.over(e.task, &p):
		case k.reconciler.underWay(e.task):
			// A KILL that overtakes its ACCEPT kills nothing, and the driver would
			// count as killed while its task starts.
			k.pending.put(e.task, now.Add(k.cfg.KillAgain), p)
		default:
			again := now.Add(p.wait)
			p.wait = min(2*p.wait, 32*k.cfg.KillAgain)
			p.tries++
			k.pending.put(e.task, again, p)
			due = append(due, killCall{e.task, p.agentID})
		}
	}
	return due
}

// over tells whether a kill has nothing left to do. Callers hold mu.
func (k *killer) over(task string, p *kill) bool {
	if p.stray {
		return p.tries >= strayTries
	}
	d, found := k.state.Driver(fsm.DriverOfTask(task))
	return !found || d.State != fsm.DriverKilling || d.Current() == nil || d.Current().TaskID != task
}

func (k *killer) untilDue() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	due, some := k.pending.first()
	if !some {
		return time.Hour
	}
	return min(max(due.Sub(k.cfg.Clock()), 0), time.Hour)
}
