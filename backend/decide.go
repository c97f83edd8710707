package backend

import (
	"math"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Reason says what holds an offer back.
type Reason string

// The reasons, in the order in which they are looked at.
const (
	ReasonStopping    Reason = "application is stopping"
	ReasonLimit       Reason = "executor limit reached"
	ReasonConstraints Reason = "unmet constraints"
	ReasonMaxCores    Reason = "reached spark.cores.max"
	ReasonCores       Reason = "too few cpus"
	ReasonMemory      Reason = "too little memory"
	ReasonGPUs        Reason = "too few gpus"
	ReasonExcluded    Reason = "agent or host is excluded"
	ReasonDropped     Reason = "launches did not reach the agent"
	ReasonPorts       Reason = "fixed ports are not offered"
	ReasonLocality    Reason = "waiting for a preferred host"
	ReasonBatch       Reason = "enough launches for one step"
)

// Situation is all that a decision depends on.
type Situation struct {
	App      *fsm.App
	Live     []*fsm.Executor // those of the application that are not over
	Settings *Settings
	Offers   []mesos.Offer
	Now      time.Time
	// Launching and LocalitySince are those of the last plan.
	Launching     bool
	LocalitySince time.Time
	MaxLaunches   int // at most so many; 0: no limit
}

// Launch is one executor to start.
type Launch struct {
	Number    uint64
	Profile   uint32
	Cores     int64 // without the extra ones
	MemMiB    int64
	HeapMiB   int64 // 0: the application's
	GPUs      int64
	Resources []mesos.Resource
}

// Accept is one offer to use.
type Accept struct {
	OfferID, AgentID, Host string
	Launches               []Launch // in the order of their numbers
}

// Decline is one offer to give back.
type Decline struct {
	OfferID string
	Reason  Reason
	Refuse  *time.Duration // nil: Mesos' own default

	offer *mesos.Offer
}

// Plan is a decision.
type Plan struct {
	Accepts       []Accept
	Declines      []Decline
	Launching     bool
	LocalitySince time.Time
	// Retry is when offers are useful that are not now; zero: that depends.
	Retry time.Time
}

// Decide distributes executors over offers as Spark's coarse-grained backend
// does: in full rounds over the offers, at most one executor an offer and round,
// until a round launches nothing. It is pure.
func Decide(s Situation) Plan {
	d := newDecision(s)
	p := Plan{Launching: s.Launching, LocalitySince: s.LocalitySince}
	switch {
	case s.App.Stopped:
		p.declineAll(s.Offers, ReasonStopping)
		return p
	case !d.wantsAny():
		p.Launching = false
		p.declineAll(s.Offers, ReasonLimit)
		return p
	case !s.Launching:
		p.Launching, p.LocalitySince = true, s.Now
	}
	d.localitySince = p.LocalitySince
	var matched []*slot
	for i := range s.Offers {
		o := &s.Offers[i]
		if !s.Settings.Constraints.Match(o.Attributes) {
			p.decline(o, ReasonConstraints, &s.Settings.Refuse.UnmetConstraints)
			continue
		}
		matched = append(matched, &slot{offer: o, left: o.Resources})
	}
	for d.round(matched) {
	}
	if d.retryMs != 0 {
		p.Retry = time.UnixMilli(d.retryMs)
	}
	for _, m := range matched {
		switch {
		case len(m.launches) > 0:
			p.Accepts = append(p.Accepts, Accept{m.offer.ID.Value, m.offer.AgentID.Value, m.offer.Hostname, m.launches})
		case d.cores >= s.Settings.MaxCores:
			p.decline(m.offer, ReasonMaxCores, &s.Settings.Refuse.ReachedMaxCores)
		default:
			p.decline(m.offer, m.reason, nil)
		}
	}
	return p
}

func (p *Plan) decline(o *mesos.Offer, why Reason, refuse *time.Duration) {
	p.Declines = append(p.Declines, Decline{o.ID.Value, why, refuse, o})
}

func (p *Plan) declineAll(offers []mesos.Offer, why Reason) {
	for i := range offers {
		p.decline(&offers[i], why, nil)
	}
}

// slot is one offer with what is left of it.
type slot struct {
	offer    *mesos.Offer
	left     []mesos.Resource
	launches []Launch
	reason   Reason // why the last try on it launched nothing
}

type decision struct {
	Situation
	live          map[uint32]int64 // by profile
	hosts         map[string]bool  // with an executor
	cores, gpus   int64            // acquired
	next          uint64
	launched      int
	localitySince time.Time
	retryMs       int64
}

func (d *decision) retryBy(ms int64) {
	if d.retryMs == 0 || ms < d.retryMs {
		d.retryMs = ms
	}
}

func newDecision(s Situation) *decision {
	d := &decision{Situation: s, live: make(map[uint32]int64), hosts: make(map[string]bool), next: s.App.NextNumber}
	for _, e := range s.Live {
		d.count(e.Profile, e.Host, e.Cores, e.GPUs)
	}
	return d
}

func (d *decision) count(profile uint32, host string, cores, gpus int64) {
	d.live[profile]++
	d.hosts[host] = true
	d.cores += cores
	d.gpus += gpus
}

func (d *decision) wantsAny() bool {
	return slices.ContainsFunc(d.App.Totals, func(p *fsm.ProfileTotal) bool { return d.live[p.Profile] < p.Total })
}

// round makes one pass over the offers and tells whether it launched anything.
func (d *decision) round(slots []*slot) bool {
	any := false
	for _, m := range slots {
		m.reason = ReasonLimit
		for _, p := range d.App.Totals {
			if d.live[p.Profile] >= p.Total {
				continue
			}
			if m.reason = d.try(m, p); m.reason == "" {
				any = true
				break
			}
		}
	}
	return any
}

// try launches an executor of a profile on an offer; or tells why not.
func (d *decision) try(m *slot, p *fsm.ProfileTotal) Reason {
	set := d.Settings
	offered := int64(math.Floor(mesosutil.ScalarSum(m.left, "cpus")))
	cores := firstSet(p.Cores, set.ExecutorCores)
	if cores == 0 {
		cores = min(offered, set.MaxCores-d.cores)
	}
	mem := firstSet(p.MemMib, set.MemoryMiB)
	gpus := int64(math.Floor(mesosutil.ScalarSum(m.left, "gpus")))
	if p.Gpus > gpus {
		return ReasonGPUs
	}
	if gpus = min(max(0, set.MaxGPUs-d.gpus), gpus); p.Gpus > 0 {
		gpus = p.Gpus
	}
	host, notBefore := m.offer.Hostname, d.App.NotBeforeMs(m.offer.AgentID.Value)
	switch {
	case d.MaxLaunches > 0 && d.launched >= d.MaxLaunches:
		return ReasonBatch
	case d.cores >= set.MaxCores || cores > 0 && cores+d.cores > set.MaxCores:
		return ReasonMaxCores
	case cores <= 0 || cores > offered:
		return ReasonCores
	case float64(mem) > mesosutil.ScalarSum(m.left, "mem"):
		return ReasonMemory
	case d.App.Excluded(m.offer.AgentID.Value, host, d.Now.UnixMilli()) != nil:
		return ReasonExcluded
	case notBefore != 0 && notBefore > d.Now.UnixMilli():
		d.retryBy(notBefore)
		return ReasonDropped
	case !mesosutil.CheckPorts(set.Ports, mesosutil.RangeValues(m.left, mesosutil.PortsResource)):
		return ReasonPorts
	case !d.local(host):
		d.retryBy(d.localitySince.Add(set.LocalityWait).UnixMilli() + 1)
		return ReasonLocality
	}
	d.launch(m, p, cores, mem, gpus)
	return ""
}

func firstSet(a, b int64) int64 {
	if a != 0 {
		return a
	}
	return b
}

// local tells whether a host is preferred, or others may be used by now.
func (d *decision) local(host string) bool {
	if !d.Settings.DynamicAllocation || len(d.App.Hosts) == 0 {
		return true
	}
	_, desired := slices.BinarySearch(d.App.Hosts, host)
	return desired && !d.hosts[host] || d.Now.Sub(d.localitySince) > d.Settings.LocalityWait
}

func (d *decision) launch(m *slot, p *fsm.ProfileTotal, cores, mem, gpus int64) {
	l := Launch{Number: d.next, Profile: p.Profile, Cores: cores, MemMiB: mem, HeapMiB: p.HeapMib, GPUs: gpus}
	for _, part := range []struct {
		name   string
		amount int64
	}{{"cpus", cores}, {"mem", mem}} {
		l.Resources = m.take(l.Resources, part.name, part.amount)
	}
	if rest, used, err := mesosutil.PartitionPortResources(d.Settings.Ports, m.left); err == nil {
		m.left, l.Resources = rest, append(l.Resources, used...)
	}
	l.Resources = m.take(l.Resources, "gpus", gpus)
	m.launches = append(m.launches, l)
	d.next++
	d.launched++
	d.count(p.Profile, m.offer.Hostname, cores, gpus)
}

// take moves an amount of a resource out of what is left of the offer.
func (m *slot) take(to []mesos.Resource, name string, amount int64) []mesos.Resource {
	rest, used := mesosutil.PartitionResources(m.left, name, float64(amount), mesosutil.ReservedFirst)
	m.left = rest
	return append(to, used...)
}
