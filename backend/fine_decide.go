package backend

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// The reasons that only fine-grained mode has.
const (
	ReasonNoTask   Reason = "no task for it"
	ReasonLost     Reason = "its executor is gone"
	ReasonOther    Reason = "its executor was started with other settings"
	ReasonUnknown  Reason = "an executor from before is still there"
	ReasonVersion  Reason = "a member of the log does not know these commands"
	ReasonExecutor Reason = "its executor cannot be described"
)

// agentOffers are the offers of one agent of one batch, taken together. Spark
// expects one offer an agent and forgets all but the last.
type agentOffers struct {
	agentID, host string
	offers        []*mesos.Offer
	left          []mesos.Resource
	executor      *fsm.AgentExecutor // nil: the first task starts one
	running       bool               // Mesos says that an executor of ours runs there
	started       []mesos.Resource   // of the executor that is to be started
	tasks         []fineTask
}

// fineTask is one task to launch.
type fineTask struct {
	TaskDescription
	resources []mesos.Resource
}

func (g *agentOffers) ids() []string {
	out := make([]string, len(g.offers))
	for i, o := range g.offers {
		out[i] = o.ID.Value
	}
	return out
}

// finePlan is what comes of offers before the task scheduler is asked.
type finePlan struct {
	usable   []*agentOffers // in the order of the offers
	declines []Decline
	retryMs  int64 // then offers are useful that are not now; 0: that depends
}

// mergeOffers puts the offers of each agent together.
func mergeOffers(offers []mesos.Offer) []*agentOffers {
	var out []*agentOffers
	byAgent := make(map[string]*agentOffers)
	for i := range offers {
		o := &offers[i]
		g := byAgent[o.AgentID.Value]
		if g == nil {
			g = &agentOffers{agentID: o.AgentID.Value, host: o.Hostname}
			byAgent[g.agentID] = g
			out = append(out, g)
		}
		g.offers = append(g.offers, o)
		g.left = append(g.left, o.Resources...)
	}
	return out
}

// sortOffers finds the offers that a task could use. lost tells of agents whose
// executor is gone. It is pure.
func sortOffers(a *fsm.App, set *Settings, offers []mesos.Offer, now time.Time, lost func(agentID string) bool) finePlan {
	var p finePlan
	for _, g := range mergeOffers(offers) {
		g.executor = a.OnAgent(g.agentID)
		g.running = g.names(g.agentID)
		notBefore := a.NotBeforeMs(g.agentID)
		switch {
		case a.Stopped:
			p.decline(g, ReasonStopping, nil)
		case !set.Constraints.Match(g.offers[0].Attributes):
			p.decline(g, ReasonConstraints, &set.Refuse.UnmetConstraints)
		case lost(g.agentID):
			p.decline(g, ReasonLost, nil)
		case notBefore > now.UnixMilli():
			if p.retryMs == 0 || notBefore < p.retryMs {
				p.retryMs = notBefore
			}
			p.decline(g, ReasonDropped, nil)
		case g.cpus(set) < float64(set.TaskCPUs):
			p.decline(g, ReasonCores, nil)
		case g.executor == nil && mesosutil.ScalarSum(g.left, "mem") < float64(set.MemoryMiB):
			p.decline(g, ReasonMemory, nil)
		default:
			p.usable = append(p.usable, g)
		}
	}
	return p
}

// names tells whether Mesos says with an offer that this executor of ours runs on
// the agent.
func (g *agentOffers) names(executorID string) bool {
	return slices.ContainsFunc(g.offers, func(o *mesos.Offer) bool {
		return slices.ContainsFunc(o.ExecutorIDs, func(id mesos.ExecutorID) bool { return id.Value == executorID })
	})
}

// cpus are those for tasks: what is offered, without those of an executor that has
// to be started.
func (g *agentOffers) cpus(set *Settings) float64 {
	cpus := mesosutil.ScalarSum(g.left, "cpus")
	if g.executor == nil && g.started == nil {
		cpus -= set.AgentExecutorCores
	}
	return cpus
}

func (p *finePlan) decline(g *agentOffers, why Reason, refuse *time.Duration) {
	for _, o := range g.offers {
		p.declines = append(p.declines, Decline{o.ID.Value, why, refuse, o})
	}
}

// workerOffers is what the task scheduler is shown.
func (p *finePlan) workerOffers(set *Settings) []WorkerOffer {
	out := make([]WorkerOffer, len(p.usable))
	for i, g := range p.usable {
		out[i] = WorkerOffer{g.agentID, g.host, int(math.Floor(g.cpus(set) + 1e-9))}
	}
	return out
}

// refusal is a task that is not launched.
type refusal struct {
	task TaskDescription
	err  *TaskError
}

// assign puts tasks on the agents that they name, in the order of their ids, of
// which next is the first that is free. It is pure but for the plan.
func (p *finePlan) assign(set *Settings, tasks []TaskDescription, next uint64) (refused []refusal) {
	tasks = slices.Clone(tasks)
	slices.SortStableFunc(tasks, func(a, b TaskDescription) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range tasks {
		if t.CPUs == 0 {
			t.CPUs = float64(set.TaskCPUs)
		}
		if why := p.place(set, t, next); why != "" {
			refused = append(refused, refusal{t, &TaskError{t.ID, why}})
			continue
		}
		next = uint64(t.ID) + 1
	}
	return refused
}

// place puts a task on its agent; or tells why not.
func (p *finePlan) place(set *Settings, t TaskDescription, next uint64) string {
	i := slices.IndexFunc(p.usable, func(g *agentOffers) bool { return g.agentID == t.ExecutorID })
	switch {
	case t.ID < 0 || t.ID > MaxTaskID:
		return fmt.Sprintf("its id must lie between 0 and %d", int64(MaxTaskID))
	case uint64(t.ID) < next:
		return fmt.Sprintf("its id was used before, or is less than one that was; the next is %d", next)
	case len(t.Name) > messageLimit:
		return fmt.Sprintf("its name is longer than %d bytes", messageLimit)
	case len(t.Data) > MaxTaskData:
		return fmt.Sprintf("its data are longer than %d bytes; let the task fetch them", MaxTaskData)
	case math.IsNaN(t.CPUs) || t.CPUs < 0.001:
		return "it needs at least 0.001 cpus"
	case i < 0:
		return fmt.Sprintf("executor %q is not among those offered", clip(t.ExecutorID))
	case t.CPUs > p.usable[i].cpus(set)+1e-9:
		return fmt.Sprintf("executor %s has only %g cpus left, and it needs %g", t.ExecutorID, max(0, p.usable[i].cpus(set)), t.CPUs)
	}
	g := p.usable[i]
	if g.executor == nil && g.started == nil {
		g.started = append(g.take("cpus", set.AgentExecutorCores), g.take("mem", float64(set.MemoryMiB))...)
	}
	t.Name = strings.ToValidUTF8(t.Name, "")
	g.tasks = append(g.tasks, fineTask{t, g.take("cpus", t.CPUs)})
	return ""
}

// take moves an amount of a resource out of what is left.
func (g *agentOffers) take(name string, amount float64) []mesos.Resource {
	rest, used := mesosutil.PartitionResources(g.left, name, amount, mesosutil.ReservedFirst)
	g.left = rest
	return used
}
