package dispatcher

import (
	"context"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// tasksPerReconcile bounds one RECONCILE call.
const tasksPerReconcile = 500

// reconciler asks Mesos what became of the tasks: explicitly for each one after
// a subscription, again with a growing wait for those without an answer (their
// agents may not have come back to the master yet), then for all tasks at once,
// and from time to time afterwards.
//
// An intent whose ACCEPT is not known to have reached Mesos is left out: asked
// too early, Mesos would call it unknown, it would be launched again, and the
// first ACCEPT could still arrive.
type reconciler struct {
	*session
	poke chan struct{}

	mu       sync.Mutex
	running  bool
	unheard  map[string]string // task id → agent id, asked about and not answered
	onTheWay map[string]bool   // intents whose ACCEPT is under way
	due      time.Time
	wait     time.Duration
	implicit bool // the implicit question is still to be asked
}

func newReconciler(s *session) *reconciler {
	return &reconciler{
		session: s, poke: make(chan struct{}, 1),
		unheard: make(map[string]string), onTheWay: make(map[string]bool),
	}
}

// start begins a round for a new subscription. What was under way on the old one
// cannot arrive any more.
func (r *reconciler) start() {
	r.mu.Lock()
	r.onTheWay = make(map[string]bool)
	r.running = true
	r.begin()
	r.mu.Unlock()
	r.wakeUp()
}

// pause stops asking until the next subscription.
func (r *reconciler) pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
}

// accepting keeps a task out until accepted.
func (r *reconciler) accepting(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onTheWay[task] = true
}

// accepted tells that Mesos has the task, or that it never will.
func (r *reconciler) accepted(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.onTheWay, task)
}

// heard tells that a status of the task came.
func (r *reconciler) heard(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unheard, task)
}

func (r *reconciler) wakeUp() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// begin starts a round over all active drivers. Callers hold mu.
func (r *reconciler) begin() {
	r.unheard = make(map[string]string)
	r.state.View().Active(func(d *fsm.Driver) bool {
		if a := d.Current(); a != nil && !r.onTheWay[a.TaskID] {
			r.unheard[a.TaskID] = a.AgentID
		}
		return true
	})
	r.due, r.wait, r.implicit = r.cfg.Clock(), r.cfg.ReconcileAgain, true
}

func (r *reconciler) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.poke:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		timer.Reset(r.round(ctx))
	}
}

// round asks what is due and returns how long to wait.
func (r *reconciler) round(ctx context.Context) time.Duration {
	explicit, implicit, wait := r.questions()
	for len(explicit) > 0 {
		n := min(len(explicit), tasksPerReconcile)
		if err := r.mesos.Reconcile(ctx, explicit[:n]); err != nil {
			r.logger.Debug("reconcile was not sent; it is tried again", "error", err)
			return r.cfg.ReconcileAgain
		}
		explicit = explicit[n:]
	}
	if implicit {
		if err := r.mesos.Reconcile(ctx, nil); err != nil {
			r.mu.Lock()
			r.implicit = true
			r.mu.Unlock()
			return r.cfg.ReconcileAgain
		}
	}
	return wait
}

func (r *reconciler) questions() (explicit []mesosutil.DriverTask, implicit bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running {
		return nil, false, time.Hour
	}
	now := r.cfg.Clock()
	if r.due.After(now) {
		return nil, false, r.due.Sub(now)
	}
	if len(r.unheard) == 0 && !r.implicit {
		r.begin() // the periodic round
	}
	for task, agent := range r.unheard {
		if d, found := r.state.Driver(fsm.DriverOfTask(task)); !found || !d.State.Active() || d.Current().TaskID != task {
			delete(r.unheard, task)
			continue
		}
		explicit = append(explicit, mesosutil.DriverTask{TaskID: task, AgentID: agent})
	}
	implicit, r.implicit = r.implicit, false
	wait = r.cfg.ReconcileEvery
	if len(explicit) > 0 {
		wait = r.wait
		r.wait = min(2*r.wait, 64*r.cfg.ReconcileAgain)
	}
	r.due = now.Add(wait)
	r.m.reconciled(len(explicit))
	return explicit, implicit, wait
}
