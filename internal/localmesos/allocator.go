package localmesos

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// offer is an outstanding offer: resources that nobody else is offered.
type offer struct {
	id        string
	framework *framework
	agent     *agent
	role      string
	resources mesos.Resources
	timeout   *timer
}

// filter keeps what a framework declined away from it: on that agent, in that
// role, any subset of those resources, until it expires.
type filter struct {
	agent     *agent
	role      string
	resources mesos.Resources
	until     time.Time
}

// wakeAllocator asks for a round of offers; asking twice makes one round.
func (m *Mesos) wakeAllocator() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

func (m *Mesos) allocateLoop() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.kick:
		}
		m.mu.Lock()
		m.allocate()
		m.mu.Unlock()
		pause.Reset(m.opts.AllocationInterval)
	}
}

// client is a framework in one of its roles.
type client struct {
	framework *framework
	role      string
}

// allocate offers what is free. Agents come in random order; of the frameworks
// that may have an agent's resources, the one with the least share gets them
// all, as Mesos' hierarchical allocator does without quotas.
func (m *Mesos) allocate() {
	if m.leader < 0 {
		return
	}
	fresh := map[*framework][]mesos.Offer{}
	clients := m.clients()
	for _, i := range rand.Perm(len(m.agents)) {
		a := m.agents[i]
		if !a.connected {
			continue
		}
		free := a.free()
		slices.SortStableFunc(clients, func(x, y client) int { return compareShare(x.framework, y.framework) })
		for _, c := range clients {
			if rs := m.offerable(free, a, c); rs != nil {
				fresh[c.framework] = append(fresh[c.framework], m.makeOffer(a, c, rs))
				free = free.Minus(rs...)
			}
		}
	}
	for f, offers := range fresh {
		m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_OFFERS, Offers: &scheduler.Event_Offers{Offers: offers}})
	}
}

func (m *Mesos) clients() (all []client) {
	for _, f := range m.master.frameworks {
		if f.stream == nil || !f.stream.isOpen() {
			continue
		}
		for _, role := range f.roles() {
			if !f.suppressed[role] {
				all = append(all, client{f, role})
			}
		}
	}
	slices.SortFunc(all, func(x, y client) int {
		return strings.Compare(x.framework.id+x.role, y.framework.id+y.role)
	})
	return all
}

// compareShare orders by dominant share. All frameworks divide by the same
// totals, so a fixed weight of CPUs to memory is enough.
func compareShare(x, y *framework) int {
	share := func(f *framework) float64 { return max(f.cpus, f.memory/4096) }
	switch d := share(x) - share(y); {
	case math.Abs(d) < 1e-9:
		return 0
	case d < 0:
		return -1
	}
	return 1
}

// offerable is the part of free that c may be offered now, or nil.
func (m *Mesos) offerable(free mesos.Resources, a *agent, c client) mesos.Resources {
	if scalarOf(a.total, "gpus") > 0 && !c.framework.can(mesos.FrameworkInfo_Capability_GPU_RESOURCES) {
		return nil // kept for those who know what to do with it
	}
	var rs mesos.Resources
	for i := range free {
		if free[i].IsAllocatableTo(c.role) {
			rs.Add1(free[i])
		}
	}
	if !allocatable(rs) || c.framework.filtered(a, c.role, rs) {
		return nil
	}
	return rs
}

func (f *framework) filtered(a *agent, role string, rs mesos.Resources) bool {
	now := time.Now()
	f.filters = slices.DeleteFunc(f.filters, func(x filter) bool { return !x.until.After(now) })
	return slices.ContainsFunc(f.filters, func(x filter) bool {
		return x.agent == a && x.role == role && contains(x.resources, rs)
	})
}

func (m *Mesos) makeOffer(a *agent, c client, rs mesos.Resources) mesos.Offer {
	o := &offer{id: fmt.Sprintf("%s-O%d", m.master.id, m.master.nextOffer),
		framework: c.framework, agent: a, role: c.role, resources: rs}
	m.master.nextOffer++
	m.master.offers[o.id] = o
	a.offered.Add(rs...)
	c.framework.account(rs, 1)
	if d := m.opts.OfferTimeout; d > 0 {
		o.timeout = m.after(d, func() { m.rescind(o); m.wakeAllocator() })
	}
	out := mesos.Offer{
		ID: mesos.OfferID{Value: o.id}, FrameworkID: mesos.FrameworkID{Value: c.framework.id},
		AgentID: mesos.AgentID{Value: a.id}, Hostname: a.hostname, URL: a.url(),
		Resources: forFramework(rs, c.framework, c.role), Attributes: a.attributes,
		ExecutorIDs: a.executorIDs(c.framework.id),
	}
	if c.framework.can(mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		out.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &c.role}
	}
	return out
}

// account keeps what a framework holds, for its share.
func (f *framework) account(rs mesos.Resources, sign float64) {
	f.cpus += sign * scalarOf(rs, "cpus")
	f.memory += sign * scalarOf(rs, "mem")
}

// removeOffer ends an offer: its resources are free again. The framework is
// not told.
func (m *Mesos) removeOffer(o *offer) {
	delete(m.master.offers, o.id)
	m.cancel(o.timeout)
	o.agent.offered.Subtract(o.resources...)
	o.framework.account(o.resources, -1)
	m.wakeAllocator()
}

// rescind ends an offer and tells its framework.
func (m *Mesos) rescind(o *offer) {
	m.removeOffer(o)
	m.sendEvent(o.framework, &scheduler.Event{Type: scheduler.Event_RESCIND,
		Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: o.id}}})
}

func (m *Mesos) rescindAll(a *agent) {
	for _, o := range m.master.offers {
		if o.agent == a {
			m.rescind(o)
		}
	}
}

func (m *Mesos) decline(f *framework, call *scheduler.Call_Decline) {
	for _, id := range call.OfferIDs {
		// An offer that is no longer there is no mistake: it may have been
		// rescinded on the way.
		if o := m.master.offers[id.Value]; o != nil && o.framework == f {
			m.removeOffer(o)
			m.refuse(f, o.agent, o.role, o.resources, call.Filters)
		}
	}
}

// refuse installs the filter of a DECLINE or of what an ACCEPT left over.
func (m *Mesos) refuse(f *framework, a *agent, role string, rs mesos.Resources, filters *mesos.Filters) {
	d := defaultRefuse
	if filters != nil && filters.RefuseSeconds != nil {
		switch s := *filters.RefuseSeconds; {
		case s >= maxRefuse.Seconds():
			d = maxRefuse
		case s >= 0: // false for NaN as well
			d = seconds(s)
		}
	}
	if d == 0 || len(rs) == 0 {
		return
	}
	f.filters = append(f.filters, filter{a, role, rs, time.Now().Add(d)})
	m.after(d+time.Millisecond, m.wakeAllocator)
}

// revive clears filters and suppression of some roles, or of all if none is
// named.
func (m *Mesos) revive(f *framework, roles []string) {
	if len(roles) == 0 {
		f.filters = nil
		clear(f.suppressed)
	}
	for _, role := range roles {
		delete(f.suppressed, role)
		f.filters = slices.DeleteFunc(f.filters, func(x filter) bool { return x.role == role })
	}
	m.wakeAllocator()
}

func (m *Mesos) suppress(f *framework, roles []string) {
	if len(roles) == 0 {
		roles = f.roles()
	}
	for _, role := range roles {
		f.suppressed[role] = true
	}
}

// suppress makes roles the only suppressed ones, as a subscription says it.
func (f *framework) suppress(roles []string) {
	clear(f.suppressed)
	for _, role := range roles {
		f.suppressed[role] = true
	}
}
