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
// and from time to time afterwards. A launched task of which nothing is heard is
// asked about as well: its ACCEPT may have got lost behind the master's door, or
// its intent may be of a leader that was deposed before it could send one.
//
// An intent whose ACCEPT is not known to have reached Mesos is left out: asked
// too early, Mesos would call it unknown, it would be launched again, and the
// first ACCEPT could still arrive.
type reconciler struct {
	*session
	poke chan struct{}

	mu       sync.Mutex
	running  bool
	open     map[string]*question // by task id
	onTheWay map[string]bool      // intents whose ACCEPT is under way
	next     time.Time            // nothing is due before
	round    time.Time            // the next round over all tasks
	implicit bool                 // the implicit question is still to be asked
}

// question is about one task and open until a status of it comes.
type question struct {
	agentID string
	due     time.Time
	wait    time.Duration // until it is asked again
}

func newReconciler(s *session) *reconciler {
	return &reconciler{
		session: s, poke: make(chan struct{}, 1),
		open: make(map[string]*question), onTheWay: make(map[string]bool),
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
	delete(r.onTheWay, task)
	r.mu.Unlock()
	r.killer.wakeUp()
}

// underWay tells whether the ACCEPT of a task may still reach Mesos.
func (r *reconciler) underWay(task string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.onTheWay[task]
}

// heard tells that a status of the task came.
func (r *reconciler) heard(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, task)
}

func (r *reconciler) wakeUp() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// begin starts a round over all active drivers. Callers hold mu.
func (r *reconciler) begin() {
	now := r.cfg.Clock()
	r.open = make(map[string]*question)
	r.state.View().Active(func(d *fsm.Driver) bool {
		if a := d.Current(); a != nil {
			r.open[a.TaskID] = &question{a.AgentID, now, r.cfg.ReconcileAgain}
		}
		return true
	})
	r.next, r.round, r.implicit = now, now.Add(r.cfg.ReconcileEvery), true
}

// look notes the launches in changes of the state.
func (r *reconciler) look(changes []fsm.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := r.cfg.Clock().Add(r.cfg.LaunchQuiet)
	for i := range changes {
		c := &changes[i]
		if c.Driver == nil || c.Driver.State != fsm.DriverLaunching || c.Event != fsm.EventLaunch {
			continue
		}
		if r.open[c.TaskID] != nil {
			continue // a round that began in between asks at once
		}
		r.open[c.TaskID] = &question{c.Driver.Current().AgentID, due, r.cfg.ReconcileAgain}
		r.next = earlier(r.next, due)
	}
}

func (r *reconciler) run(ctx context.Context) error {
	feed := r.state.Feed()
	next := feed.Next()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changes, lost, wake := feed.Since(next, 0)
		next += uint64(len(changes))
		if lost {
			next = feed.Next()
			r.mu.Lock()
			r.begin()
			r.mu.Unlock()
		}
		r.look(changes)
		timer.Reset(r.ask(ctx))
		select {
		case <-wake:
		case <-r.poke:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask asks what is due and returns how long to wait.
func (r *reconciler) ask(ctx context.Context) time.Duration {
	explicit, implicit, wait := r.questions()
	for len(explicit) > 0 {
		n := min(len(explicit), tasksPerReconcile)
		if err := r.mesos.Reconcile(ctx, explicit[:n]); err != nil {
			// Each of them falls due again.
			r.logger.Debug("reconcile was not sent; it is tried again", "error", err)
			break
		}
		explicit = explicit[n:]
	}
	if implicit {
		if err := r.mesos.Reconcile(ctx, nil); err != nil {
			wait = r.cfg.ReconcileAgain
			r.mu.Lock()
			r.implicit, r.next = true, r.cfg.Clock().Add(wait)
			r.mu.Unlock()
		}
	}
	return wait
}

func (r *reconciler) questions() (explicit []mesosutil.DriverTask, implicit bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Clock()
	switch {
	case !r.running:
		return nil, false, time.Hour
	case !now.Before(r.round):
		r.begin()
	case now.Before(r.next):
		return nil, false, r.next.Sub(now)
	}
	r.next = r.round
	for task, q := range r.open {
		switch {
		case !r.isCurrent(task):
			delete(r.open, task)
			continue
		case q.due.After(now):
		case r.onTheWay[task]:
			q.due = now.Add(r.cfg.ReconcileAgain)
		default:
			explicit = append(explicit, mesosutil.DriverTask{TaskID: task, AgentID: q.agentID})
			q.due = now.Add(q.wait)
			q.wait = min(2*q.wait, 64*r.cfg.ReconcileAgain)
		}
		r.next = earlier(r.next, q.due)
	}
	implicit, r.implicit = r.implicit, false
	r.m.reconciled(len(explicit))
	return explicit, implicit, r.next.Sub(now)
}

// isCurrent tells whether the task is the attempt of an active driver.
func (r *reconciler) isCurrent(task string) bool {
	d, found := r.state.Driver(fsm.DriverOfTask(task))
	return found && d.State.Active() && d.Current().TaskID == task
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
