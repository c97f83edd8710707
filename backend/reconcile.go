package backend

import (
	"context"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// tasksPerReconcile bounds one RECONCILE call.
const tasksPerReconcile = 500

// questions are the executors that Mesos is asked about: each one after a
// subscription, again with a growing wait until a status of it comes (its agent
// may not have come back to the master yet), and then all of them from time to
// time. A launched one of which nothing is heard is asked about as well: its
// ACCEPT may have got lost, or its intent may be of a leader that was deposed
// before it could send one.
type questions struct {
	open     map[string]*question // by task id
	round    time.Time            // the next round over all
	implicit bool                 // "what else is there" is still to be asked
}

type question struct {
	agentID string
	due     time.Time
	wait    time.Duration // until it is asked again
}

func (q *questions) ask(e *fsm.Executor, due time.Time, wait time.Duration) {
	if q.open == nil {
		q.open = make(map[string]*question)
	}
	q.open[e.TaskID()] = &question{e.AgentID, due, wait}
}

func (q *questions) heard(task string) { delete(q.open, task) }

// begin starts a round over all live executors.
func (q *questions) begin(s *session) {
	now := s.cfg.Clock()
	q.open, q.implicit, q.round = nil, true, now.Add(s.cfg.ReconcileEvery)
	s.cfg.State.View().Live(s.cfg.AppID, func(e *fsm.Executor) bool {
		q.ask(e, now, s.cfg.ReconcileAgain)
		return true
	})
}

// reconcile asks what is due.
func (s *session) reconcile(ctx context.Context) error {
	q, now := &s.questions, s.cfg.Clock()
	if !now.Before(q.round) {
		q.begin(s)
	}
	s.wakeBy(q.round)
	var due []mesosutil.DriverTask
	for task, o := range q.open {
		e, found := s.cfg.State.Executor(s.cfg.AppID, task)
		if !found || e.State.Terminal() {
			delete(q.open, task)
			continue
		}
		if !o.due.After(now) {
			due = append(due, mesosutil.DriverTask{TaskID: task, AgentID: o.agentID})
			o.due, o.wait = now.Add(o.wait), min(2*o.wait, 64*s.cfg.ReconcileAgain)
		}
		s.wakeBy(o.due)
	}
	for len(due) > 0 {
		n := min(len(due), tasksPerReconcile)
		if s.mesos.Reconcile(ctx, due[:n]) != nil {
			break // each of them falls due again
		}
		due = due[n:]
	}
	if q.implicit {
		if q.implicit = s.mesos.Reconcile(ctx, nil) != nil; q.implicit {
			s.wakeBy(now.Add(s.cfg.ReconcileAgain))
		}
	}
	return nil
}
