package dispatcher

import (
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Situation is all that a decision depends on.
type Situation struct {
	View   *fsm.View
	Offers []mesos.Offer // held by the leader, in the order in which they came
	Now    time.Time
	// Need tells what a driver asks for. An error means that the driver can never
	// be launched.
	Need func(*fsm.Driver) (*Need, error)
	// MaxLaunches bounds one plan, because a plan becomes one log entry; 0: no
	// bound.
	MaxLaunches int

	// Holds are those of the last plan. A driver that has been due for HoldAfter
	// and finds no room gets an agent held for HoldFor; HoldAfter 0: never.
	Holds     []Hold
	HoldAfter time.Duration
	HoldFor   time.Duration
}

// Plan is what the leader is to do, in this order: reject, commit the launches,
// accept, decline.
type Plan struct {
	Accepts  []Accept
	Declines []string // ids of offers that serve nobody
	Rejects  []Reject
	// Wake is when the next driver falls due that must wait for a while; zero:
	// none.
	Wake time.Time
	// Unplaced is how many drivers are due and found no room.
	Unplaced int
	// More tells that the bound on launches cut the plan short.
	More bool
	// Holds are to be handed to the next decision, with the offers of the agents
	// that they name: those are not declined.
	Holds []Hold
}

// Accept is what one agent's offers are used for.
type Accept struct {
	AgentID  string
	Host     string
	OfferIDs []string
	Launches []Launch
}

// Launch is one attempt to be started.
type Launch struct {
	Driver    *fsm.Driver
	Resources []mesos.Resource
}

// Reject ends a driver that can never be launched.
type Reject struct {
	DriverID string
	Reason   string
}

// Decide places the drivers that are due on what is offered. It is pure: no
// clock, no I/O, no state of its own.
//
// Drivers are taken in the order of the queue: priority first, then acceptance;
// a driver whose retry is due stands where it stood at first. Each goes to the
// first agent with room. A driver that finds no room does not block the ones
// behind it, and does not starve behind them either: see Hold. With d drivers, a
// agents and s different needs the cost is O(d + s·a + launches·log a), and
// O(a·log a) for new holds, however many.
func Decide(s Situation) Plan {
	d := decision{Situation: s, pool: newPool(s.Offers), holdOrders: make(holdOrders)}
	d.holds = newHolds(&d.Situation, len(d.pool.agents))
	d.pool.reserve(d.holds.byAgent)
	due := d.dueRetries()
	s.View.Waiting(func(w *fsm.Driver) bool {
		for len(due) > 0 && before(due[0], w) {
			if !d.place(due[0]) {
				return false
			}
			due = due[1:]
		}
		if w.NotBeforeMs > d.nowMs() {
			d.wakeAt(w.NotBeforeMs)
			return true
		}
		return d.place(w)
	})
	for _, r := range due {
		if !d.place(r) {
			break
		}
	}
	return d.plan()
}

type decision struct {
	Situation
	pool  *pool
	holds *holds
	out   Plan
	n     int
	wake  int64

	inUse      map[string]room // see ours
	holdOrders holdOrders
	sorted     int // orders with an agent in them
}

func (d *decision) nowMs() int64 { return d.Now.UnixMilli() }

func (d *decision) wakeAt(ms int64) {
	if d.wake == 0 || ms < d.wake {
		d.wake = ms
	}
}

func before(a, b *fsm.Driver) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.Seq < b.Seq
}

func (d *decision) dueRetries() []*fsm.Driver {
	var due []*fsm.Driver
	d.View.Retrying(func(r *fsm.Driver) bool {
		if r.NotBeforeMs > d.nowMs() {
			d.wakeAt(r.NotBeforeMs)
			return false
		}
		due = append(due, r)
		return true
	})
	slices.SortFunc(due, func(a, b *fsm.Driver) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return due
}

// place finds room for one driver; false ends the plan.
func (d *decision) place(dr *fsm.Driver) bool {
	if d.MaxLaunches > 0 && d.n >= d.MaxLaunches {
		d.out.More = true
		return false
	}
	if d.hopeless(dr) {
		d.out.Unplaced++
		return true
	}
	need, err := d.Need(dr)
	if err != nil {
		d.out.Rejects = append(d.out.Rejects, Reject{dr.ID, err.Error()})
		return true
	}
	a := d.held(dr, need)
	if a == nil {
		a = d.pool.find(need)
	}
	if a == nil {
		d.out.Unplaced++
		d.hold(dr, need)
		return true
	}
	d.holds.drop(dr.ID)
	a.launches = append(a.launches, Launch{Driver: dr, Resources: d.pool.take(a, need)})
	d.n++
	return true
}

// hopeless tells, from what its record says of it, that no agent has room for a
// driver and none is or will be held for it. In a full cluster this is what is
// asked of every driver in the queue, so it must cost next to nothing.
func (d *decision) hopeless(dr *fsm.Driver) bool {
	most := d.pool.tree[1]
	return (dr.Cores > most.cpus+epsilon || float64(dr.MemMiB) > most.mem+epsilon) &&
		d.holds.byDriver[dr.ID] == nil && !d.holds.open(&d.Situation, dr)
}

// held is the agent that is held for the driver, if it has room by now.
func (d *decision) held(dr *fsm.Driver, need *Need) *agent {
	hold := d.holds.byDriver[dr.ID]
	if hold == nil || hold.AgentID == "" {
		return nil
	}
	a := d.pool.byID[hold.AgentID]
	if a == nil || !need.Constraints.Match(a.attributes) || !need.Fit(a.left) {
		return nil
	}
	return a
}

// hold holds an agent for a driver that has waited for long.
func (d *decision) hold(dr *fsm.Driver, need *Need) {
	if !d.holds.open(&d.Situation, dr) {
		return
	}
	order := d.holdOrders[need.Shape]
	switch {
	case order != nil:
	case d.sorted == needsHeldPerPlan:
		return
	default:
		order = d.pool.newHoldOrder(need, d.ours())
		d.holdOrders[need.Shape] = order
		if order.Len() > 0 {
			d.sorted++
		}
	}
	a := nth(d.holds.failed[dr.ID], order)
	if a == nil {
		return
	}
	d.holds.add(&d.Situation, dr, a.id)
	d.pool.reserve(map[string]*Hold{a.id: nil})
}

// ours is what this dispatcher's drivers use on each agent, and what will come
// free there one day. GPUs, few and seldom shared, are left out.
func (d *decision) ours() map[string]room {
	if d.inUse == nil {
		d.inUse = make(map[string]room)
		d.View.Active(func(dr *fsm.Driver) bool {
			if a := dr.Current(); a != nil {
				r := d.inUse[a.AgentID]
				d.inUse[a.AgentID] = room{r.cpus + dr.Cores, r.mem + float64(dr.MemMiB), r.gpus}
			}
			return true
		})
	}
	return d.inUse
}

func (d *decision) plan() Plan {
	for _, a := range d.pool.agents {
		switch {
		case len(a.launches) > 0:
			d.out.Accepts = append(d.out.Accepts, Accept{a.id, a.host, a.offers, a.launches})
		case !d.out.More && d.holds.byAgent[a.id] == nil:
			d.out.Declines = append(d.out.Declines, a.offers...)
		}
	}
	var until time.Time
	d.out.Holds, until = d.holds.list()
	if !until.IsZero() {
		d.wakeAt(until.UnixMilli() + 1)
	}
	if d.wake > 0 {
		d.out.Wake = time.UnixMilli(d.wake)
	}
	return d.out
}
