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
	pending map[string]*kill // by task id
	rescan  bool
}

type kill struct {
	agentID string
	due     time.Time
	wait    time.Duration
	stray   bool
	tries   int
}

// strayTries bounds the kills of a task that no driver owns any more: nothing
// else says when it is over.
const strayTries = 8

func newKiller(s *session) *killer {
	return &killer{session: s, poke: make(chan struct{}, 1), pending: make(map[string]*kill), rescan: true}
}

// start begins afresh with a new subscription.
func (k *killer) start() {
	k.mu.Lock()
	k.rescan = true
	for _, p := range k.pending {
		p.due, p.wait = time.Time{}, k.cfg.KillAgain
	}
	k.mu.Unlock()
	k.wakeUp()
}

// stray kills a task that must not run.
func (k *killer) stray(task, agentID string) {
	k.mu.Lock()
	if k.pending[task] == nil {
		k.pending[task] = &kill{agentID: agentID, wait: k.cfg.KillAgain, stray: true}
	}
	k.mu.Unlock()
	k.logger.Warn("killing a task that is not the current attempt of its driver", "task", task, "agent", agentID)
	k.wakeUp()
}

// settled tells that a task is no stray any more: a status says that it is over.
func (k *killer) settled(task string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pending[task]; p != nil && p.stray {
		delete(k.pending, task)
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
		if changes[i].Driver != nil {
			k.add(changes[i].Driver)
		}
	}
}

// add notes a driver that is to be killed.
func (k *killer) add(d *fsm.Driver) {
	a := d.Current()
	if d.State != fsm.DriverKilling || a == nil || k.pending[a.TaskID] != nil {
		return
	}
	p := &kill{agentID: a.AgentID, wait: k.cfg.KillAgain}
	k.pending[a.TaskID] = p
}

// send sends what is due and forgets what is over.
func (k *killer) send(ctx context.Context) error {
	now := k.cfg.Clock()
	type order struct {
		task string
		kill
	}
	var due []order
	k.mu.Lock()
	for task, p := range k.pending {
		switch {
		case k.over(task, p):
			delete(k.pending, task)
		case p.due.After(now):
		case k.reconciler.underWay(task):
			// A KILL that overtakes its ACCEPT kills nothing, and the driver would
			// count as killed while its task starts.
			p.due = now.Add(k.cfg.KillAgain)
		default:
			p.due = now.Add(p.wait)
			p.wait = min(2*p.wait, 32*k.cfg.KillAgain)
			p.tries++
			due = append(due, order{task, *p})
		}
	}
	k.mu.Unlock()
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
	wait := time.Hour
	now := k.cfg.Clock()
	for _, p := range k.pending {
		wait = min(wait, max(p.due.Sub(now), 0))
	}
	return wait
}
