package backend

import (
	"cmp"
	"maps"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Status is how an application stands, as this node knows it.
type Status struct {
	LeaderStatus
	ApplicationID string // the framework id; empty before it is known
	Framework     fsm.FrameworkState
	Stopped       bool
	Totals        []*fsm.ProfileTotal
	Live          int   // executors that are not over
	Running       int   // of these, those that Mesos reported running
	Draining      int   // of these, those that are being killed
	Cores, GPUs   int64 // held by the live ones
	// HeldBack counts the declined offers by reason, since this node leads.
	HeldBack map[Reason]uint64
	// Problem is why nothing starts, where that is known: an *OversizedError, or
	// what is wrong with the command.
	Problem    error
	Exclusions []*fsm.Exclusion

	// In fine-grained mode Live, Running and Draining count tasks.
	CPUs           float64 // held by tasks and by the executors under them
	AgentExecutors []*fsm.AgentExecutor
}

// Status of the application.
func (c *application) Status() Status { return c.StatusIn(c.cfg.State.View()) }

// StatusIn is Status as of a view.
func (c *application) StatusIn(v *fsm.View) Status {
	out := StatusOf(v, c.cfg.AppID)
	c.mu.Lock()
	defer c.mu.Unlock()
	out.LeaderStatus, out.HeldBack, out.Problem = c.lead, maps.Clone(c.held), c.problem
	if c.lead.Leading && !c.lead.Subscribed && c.mesos != nil {
		out.Err = cmp.Or(c.mesos.Status().Err, out.Err)
	}
	return out
}

// StatusOf is what a view alone tells of an application; what its leader knows
// besides is missing.
func StatusOf(v *fsm.View, appID string) (out Status) {
	a, found := v.App(appID)
	if !found {
		return out
	}
	out.ApplicationID, out.Framework, out.Stopped = a.Framework.ID, a.Framework.State, a.Stopped
	out.Totals, out.Exclusions = a.Totals, a.Exclusions
	for _, x := range a.AgentExecutors {
		out.CPUs += x.Cpus
	}
	out.AgentExecutors = a.AgentExecutors
	v.Live(a.ID, func(e *fsm.Executor) bool {
		out.Live++
		out.CPUs += e.CPUs
		out.Cores += e.Cores
		out.GPUs += e.GPUs
		switch e.State {
		case fsm.ExecutorRunning:
			out.Running++
		case fsm.ExecutorDraining:
			out.Draining++
		}
		return true
	})
	return out
}

// Executors of the application: those that live, and the latest that are over, in
// the order of their numbers.
func (c *application) Executors() []*fsm.Executor {
	var out []*fsm.Executor
	c.cfg.State.View().Executors(c.cfg.AppID, func(e *fsm.Executor) bool {
		out = append(out, e)
		return true
	})
	return out
}

func (c *application) setProblem(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problem = err
}

func (c *application) holdBack(declines []Decline) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range declines {
		c.held[d.Reason]++
	}
}

// tally counts what held offers back.
func (s *coarseDuty) tally(a *fsm.App, plan Plan) {
	s.holdBack(plan.Declines)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(plan.Accepts) > 0 {
		s.problem = nil
		return
	}
	for _, p := range a.Totals {
		cores, mem := max(firstSet(p.Cores, s.settings.ExecutorCores), 1), firstSet(p.MemMib, s.settings.MemoryMiB)
		if p.Total > 0 && (float64(cores) > s.largest.cores || float64(mem) > s.largest.mem) {
			s.problem = &OversizedError{p.Profile, cores, mem, s.largest.cores, s.largest.mem}
			return
		}
	}
	s.problem = nil
}
