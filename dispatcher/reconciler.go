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
	open     *dueQueue[question]
	onTheWay map[string]bool // intents whose ACCEPT is under way
	round    time.Time       // the next round over all tasks
	implicit time.Time       // when the implicit question is to be asked; zero: it was
}

// question is about one task and open until a status of it comes.
type question struct {
	agentID string
	wait    time.Duration // until it is asked again
}

func newReconciler(s *session) *reconciler {
	return &reconciler{
		session: s, poke: make(chan struct{}, 1),
		open: newDueQueue[question](), onTheWay: make(map[string]bool),
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
	r.open.drop(task)
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
	r.open = newDueQueue[question]()
	r.state.View().Active(func(d *fsm.Driver) bool {
		if a := d.Current(); a != nil {
			r.open.put(a.TaskID, now, question{a.AgentID, r.cfg.ReconcileAgain})
		}
		return true
	})
	r.round, r.implicit = now.Add(r.cfg.ReconcileEvery), now
}

// look notes the launches in changes of the state, and forgets what is over.
func (r *reconciler) look(changes []fsm.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := r.cfg.Clock().Add(r.cfg.LaunchQuiet)
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Driver == nil:
		case !c.Driver.State.Active():
			if !r.isCurrent(c.TaskID) { // the change may be of before this round
				r.open.drop(c.TaskID)
			}
		case c.Driver.State != fsm.DriverLaunching || c.Event != fsm.EventLaunch:
		case r.open.get(c.TaskID) == nil: // a round that began in between asks at once
			r.open.put(c.TaskID, due, question{c.Driver.Current().AgentID, r.cfg.ReconcileAgain})
		}
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
			again := r.cfg.ReconcileAgain
			r.mu.Lock()
			r.implicit = r.cfg.Clock().Add(again)
			r.mu.Unlock()
			wait = min(wait, again)
		}
	}
	return wait
}

// questions are what is due, and how long nothing else will be.
func (r *reconciler) questions() (explicit []mesosutil.DriverTask, implicit bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.running {
		return nil, false, time.Hour
	}
	now := r.cfg.Clock()
	if !now.Before(r.round) {
		r.begin()
	}
	for _, e := range r.open.take(now) {
		q := e.value
		switch {
		case !r.isCurrent(e.task):
		case r.onTheWay[e.task]:
			r.open.put(e.task, now.Add(r.cfg.ReconcileAgain), q)
		default:
			explicit = append(explicit, mesosutil.DriverTask{TaskID: e.task, AgentID: q.agentID})
			again := now.Add(q.wait)
			q.wait = min(2*q.wait, 64*r.cfg.ReconcileAgain)
			r.open.put(e.task, again, q)
		}
	}
	next := r.round
	if due, some := r.open.first(); some {
		next = earlier(next, due)
	}
	switch {
	case r.implicit.IsZero():
	case r.implicit.After(now):
		next = earlier(next, r.implicit)
	default:
		implicit, r.implicit = true, time.Time{}
	}
	r.m.reconciled(len(explicit))
	return explicit, implicit, next.Sub(now)
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
