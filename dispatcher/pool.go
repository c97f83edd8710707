package dispatcher

import (
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// epsilon is half of the thousandth in which Mesos counts resources.
const epsilon = 0.0005

// agent is all that one agent offers, over all of its offers: Mesos lets one
// ACCEPT use several offers of the same agent.
type agent struct {
	id         string
	host       string
	attributes []mesos.Attribute
	offers     []string
	left       []mesos.Resource
	cpus       float64
	mem        float64
	gpus       float64
	launches   []Launch
	place      int  // in the pool
	reserved   bool // held for a driver: nobody else finds it
}

// pool is what can be placed on: agents in the order of their first offer, and a
// tree over them that finds the next one with room.
type pool struct {
	agents []*agent
	byID   map[string]*agent
	tree   []room // a binary tree of maxima; leaves from size on
	size   int
	next   map[string]int // shape → the first agent not yet found too small for it
}

// room is the largest free amount of each resource among some agents. One agent
// with all three need not exist: a search may have to look further.
type room struct{ cpus, mem, gpus float64 }

func (r room) holds(n *Need) bool {
	return r.cpus+epsilon >= n.CPUs && r.mem+epsilon >= n.MemMiB && r.gpus+epsilon >= n.GPUs
}

func larger(a, b room) room {
	return room{max(a.cpus, b.cpus), max(a.mem, b.mem), max(a.gpus, b.gpus)}
}

func newPool(offers []mesos.Offer) *pool {
	p := &pool{next: make(map[string]int), byID: make(map[string]*agent)}
	for i := range offers {
		o := &offers[i]
		a := p.byID[o.AgentID.Value]
		if a == nil {
			a = &agent{id: o.AgentID.Value, host: o.Hostname, attributes: o.Attributes}
			a.place = len(p.agents)
			p.byID[a.id] = a
			p.agents = append(p.agents, a)
		}
		a.offers = append(a.offers, o.ID.Value)
		a.left = append(a.left, o.Resources...)
	}
	for p.size = 1; p.size < len(p.agents); p.size *= 2 {
	}
	p.tree = make([]room, 2*p.size)
	for i, a := range p.agents {
		a.measure()
		p.tree[p.size+i] = a.room()
	}
	for i := p.size - 1; i > 0; i-- {
		p.tree[i] = larger(p.tree[2*i], p.tree[2*i+1])
	}
	return p
}

func (a *agent) measure() {
	a.cpus = mesosutil.ScalarSum(a.left, "cpus")
	a.mem = mesosutil.ScalarSum(a.left, "mem")
	a.gpus = mesosutil.ScalarSum(a.left, "gpus")
}

func (a *agent) room() room {
	if a.reserved {
		return room{-1, -1, -1}
	}
	return room{a.cpus, a.mem, a.gpus}
}

// reserve hides agents from find.
func (p *pool) reserve(agents map[string]*Hold) {
	for id := range agents {
		if a := p.byID[id]; a != nil {
			a.reserved = true
			p.update(a)
		}
	}
}

// update brings the tree in line with what an agent has left.
func (p *pool) update(a *agent) {
	i := p.size + a.place
	p.tree[i] = a.room()
	for i /= 2; i > 0; i /= 2 {
		p.tree[i] = larger(p.tree[2*i], p.tree[2*i+1])
	}
}

// find is the first agent that can meet the need, or nil. What an agent has left
// only shrinks while a plan is made, so an agent that was too small for a shape
// is not looked at for that shape again.
func (p *pool) find(n *Need) *agent {
	for from := p.next[n.Shape]; ; from++ {
		i := p.search(1, 0, p.size, from, n)
		if i < 0 {
			p.next[n.Shape] = len(p.agents)
			return nil
		}
		a := p.agents[i]
		if n.Constraints.Match(a.attributes) && n.Fit(a.left) {
			p.next[n.Shape] = i
			return a
		}
		from = i
	}
}

// search is the place of the first agent from `from` on with room for n, in the
// part of the tree below node, which spans [lo, hi); -1 for none.
func (p *pool) search(node, lo, hi, from int, n *Need) int {
	if hi <= from || lo >= len(p.agents) || !p.tree[node].holds(n) {
		return -1
	}
	if hi-lo == 1 {
		return lo
	}
	mid := (lo + hi) / 2
	if i := p.search(2*node, lo, mid, from, n); i >= 0 {
		return i
	}
	return p.search(2*node+1, mid, hi, from, n)
}

// take carves the need out of what an agent has left.
func (p *pool) take(a *agent, n *Need) []mesos.Resource {
	rest, used, _ := n.Carve(a.left, mesosutil.ReservedFirst)
	a.left = rest
	a.measure()
	p.update(a)
	return used
}
