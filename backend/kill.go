package backend

import (
	"context"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// kills are the tasks to kill. A KILL can get lost, so it is repeated with a
// growing wait.
type kills map[string]*killing

type killing struct {
	agentID string
	due     time.Time
	wait    time.Duration
	stray   bool
	tries   int
}

// strayTries bounds the kills of a task that is no executor of ours: nothing else
// says when it is over.
const strayTries = 8

func (k *kills) add(task, agentID string, wait time.Duration, stray bool) {
	if *k == nil {
		*k = make(kills)
	}
	if (*k)[task] == nil {
		(*k)[task] = &killing{agentID: agentID, wait: wait, stray: stray}
	}
}

// again makes all due, for a new subscription.
func (k kills) again(wait time.Duration) {
	for _, p := range k {
		p.due, p.wait = time.Time{}, wait
	}
}

// settled tells that a status says that a stray is over.
func (k kills) settled(task string) {
	if p := k[task]; p != nil && p.stray {
		delete(k, task)
	}
}

// kill sends what is due and forgets what is over.
func (s *session) kill(ctx context.Context) error {
	now := s.cfg.Clock()
	passed := false
	for task, p := range s.kills {
		if s.killed(task, p) {
			delete(s.kills, task)
			continue
		}
		if !p.due.After(now) {
			if !passed {
				passed = true
				if err := s.cfg.failpoint(ctx, FailKillCommitted); err != nil {
					return err
				}
			}
			p.due, p.wait = now.Add(p.wait), min(2*p.wait, 32*s.cfg.KillAgain)
			p.tries++
			if err := s.mesos.Kill(ctx, task, p.agentID, s.cfg.KillGrace); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Debug("kill was not sent; it is tried again", "task", task, "error", err)
			}
			s.m.kills.Inc()
		}
		s.wakeBy(p.due)
	}
	return nil
}

// killed tells whether a kill has nothing left to do.
func (s *session) killed(task string, p *killing) bool {
	if p.stray {
		return p.tries >= strayTries
	}
	e, found := s.cfg.State.Executor(s.cfg.AppID, task)
	return !found || e.State != fsm.ExecutorDraining
}
