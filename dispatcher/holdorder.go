package dispatcher

import (
	"cmp"
	"container/list"
	"slices"
)

// needsHeldPerPlan bounds for how many different needs one plan makes new holds:
// the agents are sorted for each of them. Those left out have their turn with
// the next plan, when the ones ahead of them have their holds.
const needsHeldPerPlan = 16

// holdOrders are the agents that may be held, for each shape of a need the one
// that comes closest to meeting it ahead. While a plan is made agents only drop
// out, and what those that remain have left does not change, so an order is made
// once for all drivers of a shape: there may be thousands.
type holdOrders map[string]*list.List

// newHoldOrder sorts the agents for a need. Agents that meet it as soon as our
// own drivers there end come first, those with most of it free ahead; others may
// never come free. Agents that are held, or used by this plan, or do not meet the
// constraints are left out.
func (p *pool) newHoldOrder(need *Need, ours map[string]room) *list.List {
	type candidate struct {
		*agent
		one   bool // large enough one day
		share float64
	}
	var all []candidate
	for _, a := range p.agents {
		if !a.holdable() || need.GPUs > 0 && a.gpus == 0 || !need.Constraints.Match(a.attributes) {
			continue
		}
		used := ours[a.id]
		one := room{a.cpus + used.cpus, a.mem + used.mem, a.gpus}.holds(need)
		all = append(all, candidate{a, one, room{a.cpus, a.mem, a.gpus}.share(need)})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.one != b.one {
			if a.one {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.share, a.share)
	})
	order := list.New()
	for _, c := range all {
		order.PushBack(c.agent)
	}
	return order
}

// nth is the agent to be held after n holds that did not help: the one that comes
// n-th closest, and the closest again when all had their turn; nil when none is
// left. Agents that dropped out since are passed once and then forgotten.
func nth(n int, order *list.List) *agent {
	seen := 0
	for e := order.Front(); e != nil; {
		this := e
		e = e.Next()
		a := this.Value.(*agent)
		if !a.holdable() {
			order.Remove(this)
			continue
		}
		if seen == n {
			return a
		}
		seen++
	}
	if seen == 0 {
		return nil
	}
	return nth(n%seen, order)
}

// holdable tells whether nothing speaks against a hold but what a driver needs.
func (a *agent) holdable() bool { return !a.reserved && len(a.launches) == 0 }

// share is the part of the need that is there, of the scarcest resource.
func (r room) share(n *Need) float64 {
	s := min(r.cpus/max(n.CPUs, epsilon), r.mem/max(n.MemMiB, epsilon))
	if n.GPUs > 0 {
		s = min(s, r.gpus/n.GPUs)
	}
	return s
}
