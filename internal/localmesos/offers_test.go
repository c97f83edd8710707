package localmesos_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/resources"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func refuseFor(d time.Duration) *mesos.Filters {
	s := d.Seconds()
	return &mesos.Filters{RefuseSeconds: &s}
}

func cpusOf(o mesos.Offer) float64 {
	c, _ := resources.CPUs(o.Resources...)
	return c
}

func TestOfferShowsTheAgent(t *testing.T) {
	m := start(t, localmesos.Options{Resources: "cpus:2.5;mem:512;ports:[100-200,300-300];zones:{a,b}", Attributes: "rack:r1;level:3;set:{x,y};span:[1-9]"})
	for _, media := range bothMedia {
		f := subscribe(t, m.Addr(), media, aware())
		o := f.offer()
		if got := mesos.Resources(o.Resources).String(); got != "cpus:2.5;mem:512;ports:[100-200,300];zones:{a,b}" {
			t.Errorf("resources: %s", got)
		}
		var kinds []string
		for _, a := range o.Attributes {
			kinds = append(kinds, a.Name+" "+a.Type.String())
		}
		if got := strings.Join(kinds, ","); got != "rack TEXT,level SCALAR,set SET,span RANGES" {
			t.Errorf("attributes: %s", got)
		}
		if o.Hostname != "127.0.0.1" || o.GetURL().GetPath() != "/slave(1)" || o.AllocationInfo.GetRole() != "*" {
			t.Errorf("offer: %v", o)
		}
		f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	}
	if o := subscribe(t, m.Addr(), codecs.MediaTypeJSON, plainInfo()).offer(); o.AllocationInfo != nil || o.Resources[0].AllocationInfo != nil {
		t.Errorf("a framework of one role got allocation info: %v", o)
	}
}

func TestDeclinedResourcesStayAway(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 2})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	first, second := f.offer(), f.offer()
	if first.AgentID == second.AgentID {
		t.Fatalf("two offers of one agent: %v %v", first, second)
	}
	f.decline(first, refuseFor(time.Hour))
	f.decline(second, noFilter)
	for range 3 { // only the other agent is offered, again and again
		o := f.offer()
		if o.AgentID != second.AgentID {
			t.Fatalf("offer of an agent under a filter: %v", o)
		}
		f.decline(o, noFilter)
	}
	f.decline(f.offer(), refuseFor(time.Hour))
	f.silent(scheduler.Event_OFFERS)

	f.call(&scheduler.Call{Type: scheduler.Call_REVIVE})
	first, second = f.offer(), f.offer()
	f.decline(first, refuseFor(50*time.Millisecond))
	f.decline(second, refuseFor(time.Hour))
	if o := f.offer(); o.AgentID != first.AgentID {
		t.Errorf("wanted the agent whose filter expired, not %v", o)
	}
}

func TestFilterHoldsForSubsetsOnly(t *testing.T) {
	m := start(t, localmesos.Options{Resources: "cpus:4;mem:4096"})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	task := shell("t", "sleep 100")
	task.Resources = resourcesOf(3, 3000)
	o := f.offer()
	task.AgentID = o.AgentID
	f.accept(refuseFor(time.Hour), []mesos.OfferID{o.ID}, task)
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	f.silent(scheduler.Event_OFFERS) // what the task left over was refused
	f.kill("t", 0)
	f.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED)
	if o := f.offer(); cpusOf(o) != 4 { // more than what was refused
		t.Errorf("offer: %v", o)
	}
}

func TestSuppressAndRevive(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	o := f.offer()
	f.call(&scheduler.Call{Type: scheduler.Call_SUPPRESS})
	f.decline(o, noFilter)
	f.silent(scheduler.Event_OFFERS)
	f.call(&scheduler.Call{Type: scheduler.Call_REVIVE})
	f.offer()
}

func TestOffersAreNeverShared(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 4})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	eventually(t, "four offers", func() bool { return m.Frameworks()[0].Offers == 4 })
	g := subscribe(t, m.Addr(), codecs.MediaTypeJSON, aware())
	seen := map[string]bool{}
	for range 4 {
		o := f.offer() // f was there first and holds them all
		if seen[o.AgentID.Value] {
			t.Fatalf("agent offered twice: %v", o)
		}
		seen[o.AgentID.Value] = true
		f.decline(o, refuseFor(time.Hour))
	}
	for range 4 {
		g.offer()
	}
	f.silent(scheduler.Event_OFFERS)
}

func TestOfferTimeoutRescinds(t *testing.T) {
	m := start(t, localmesos.Options{OfferTimeout: 30 * time.Millisecond})
	f := subscribe(t, m.Addr(), codecs.MediaTypeJSON, aware())
	o := f.offer()
	if r := f.next(scheduler.Event_RESCIND).Rescind; r.OfferID != o.ID {
		t.Errorf("rescinded %v, want %v", r.OfferID, o.ID)
	}
	task := shell("late", "true")
	task.AgentID = o.AgentID
	f.accept(noFilter, []mesos.OfferID{o.ID}, task)
	f.until("late", mesos.TASK_DROPPED)
}

func TestReservedResourcesGoToTheirRole(t *testing.T) {
	m := start(t, localmesos.Options{Resources: "cpus:1;mem:100;cpus(eng):2;mem(eng):200"})
	roles := func(info *mesos.FrameworkInfo, roles ...string) *mesos.FrameworkInfo { info.Roles = roles; return info }
	eng := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, roles(aware(), "eng"))
	if o := eng.offer(); cpusOf(o) != 3 || o.AllocationInfo.GetRole() != "eng" {
		t.Errorf("eng was offered %v", o)
	} else {
		task := shell("reserved", "true")
		task.AgentID, task.Resources = o.AgentID, resourcesOf(2, 32)
		role := "eng"
		task.Resources[0].Role = &role
		eng.accept(refuseFor(time.Hour), []mesos.OfferID{o.ID}, task)
		eng.until("reserved", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	}
	eng.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	ops := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, roles(aware(), "ops"))
	if o := ops.offer(); cpusOf(o) != 1 || o.AllocationInfo.GetRole() != "ops" {
		t.Errorf("ops was offered %v", o)
	}
	ops.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	refined := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, roles(aware(mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT), "eng"))
	i := slices.IndexFunc(refined.offer().Resources, func(r mesos.Resource) bool { return len(r.Reservations) == 1 && *r.Reservations[0].Role == "eng" })
	if i < 0 {
		t.Error("a framework that knows refinement saw no reservations")
	}
}

func TestEachRoleGetsItsOffers(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 1})
	info := aware()
	info.Roles = []string{"a", "b"}
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, info)
	o := f.offer()
	f.decline(o, refuseFor(time.Hour)) // for that role only
	p := f.offer()
	if o.AllocationInfo.GetRole() == p.AllocationInfo.GetRole() {
		t.Fatalf("both for role %q", o.AllocationInfo.GetRole())
	}
	f.call(&scheduler.Call{Type: scheduler.Call_REVIVE, Revive: &scheduler.Call_Revive{Roles: []string{o.AllocationInfo.GetRole()}}})
	f.decline(p, refuseFor(time.Hour))
	if q := f.offer(); q.AllocationInfo.GetRole() != o.AllocationInfo.GetRole() {
		t.Errorf("revived role got nothing")
	}
}

func TestGPUsNeedTheCapability(t *testing.T) {
	m := start(t, localmesos.Options{Resources: "cpus:1;mem:100;gpus:2"})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.silent(scheduler.Event_OFFERS)
	g := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware(mesos.FrameworkInfo_Capability_GPU_RESOURCES))
	if n, _ := resources.GPUs(g.offer().Resources...); n != 2 {
		t.Errorf("%d GPUs", n)
	}
}

func TestSeveralOffersOfOneAgentMakeOneLaunch(t *testing.T) {
	m := start(t, localmesos.Options{Resources: "cpus:2;mem:200"})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	half := shell("half", "sleep 100")
	half.Resources = resourcesOf(1, 100)
	f.launch(half)
	f.until("half", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	o := f.offer() // one half, held while the other comes free
	f.kill("half", 0)
	f.until("half", mesos.TASK_KILLING, mesos.TASK_KILLED)
	p := f.offer()
	whole, small := shell("whole", "true"), shell("too-much", "true")
	whole.Resources, whole.AgentID, small.AgentID = resourcesOf(2, 150), o.AgentID, o.AgentID
	f.accept(noFilter, []mesos.OfferID{o.ID, p.ID}, whole, small)
	if s := f.until("too-much", mesos.TASK_ERROR); !strings.Contains(s.GetMessage(), "is more than available") {
		t.Errorf("message: %s", s.GetMessage())
	}
	f.until("whole", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
}

func TestInvalidTasksAndOffers(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 2})
	with := func(change func(*mesos.TaskInfo)) mesos.TaskInfo {
		task := shell("t", "true")
		change(&task)
		return task
	}
	for text, task := range map[string]mesos.TaskInfo{
		"Task uses no resources":                                                with(func(t *mesos.TaskInfo) { t.Resources = nil }),
		"required by task and its executor is more":                             with(func(t *mesos.TaskInfo) { t.Resources = resourcesOf(100, 32) }),
		"Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0":    with(func(t *mesos.TaskInfo) { t.Resources = resourcesOf(-1, 32) }),
		"Resource 'mem:0.0001' is invalid: Invalid scalar resource: value <= 0": with(func(t *mesos.TaskInfo) { t.Resources = resourcesOf(1, 0.0001) }),
		"at least one (but not both) of CommandInfo":                            with(func(t *mesos.TaskInfo) { t.Command = nil }),
		"'a/b' contains invalid characters":                                     with(func(t *mesos.TaskInfo) { t.TaskID.Value = "a/b" }),
		"'..' is disallowed":                                                    with(func(t *mesos.TaskInfo) { t.TaskID.Value = ".." }),
		"ID must not be empty":                                                  with(func(t *mesos.TaskInfo) { t.TaskID.Value = "" }),
		"Task uses invalid agent nowhere while agent":                           with(func(t *mesos.TaskInfo) { t.AgentID.Value = "nowhere" }),
		"'kill_policy.grace_period' must be non-negative": with(func(t *mesos.TaskInfo) {
			t.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: -1}}
		}),
	} {
		f := subscribe(t, m.Addr(), codecs.MediaTypeJSON, aware())
		o := f.offer()
		if task.AgentID.Value == "" {
			task.AgentID = o.AgentID
		}
		f.accept(noFilter, []mesos.OfferID{o.ID}, task)
		s := f.until(task.TaskID.Value, mesos.TASK_ERROR)
		if s.GetReason() != mesos.REASON_TASK_INVALID || !strings.Contains(s.GetMessage(), text) {
			t.Errorf("%s %q, want %q", s.GetReason(), s.GetMessage(), text)
		}
		f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	}
}

func TestInvalidOffersLoseTheTask(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 2})
	for _, c := range []struct {
		info  *mesos.FrameworkInfo
		state mesos.TaskState
	}{{aware(), mesos.TASK_DROPPED}, {plainInfo(), mesos.TASK_LOST}} {
		f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, c.info)
		o, p := f.offer(), f.offer()
		check := func(id string, offers []mesos.OfferID, text string) {
			t.Helper()
			task := shell(id, "true")
			task.AgentID = o.AgentID
			f.accept(noFilter, offers, task)
			s := f.until(id, c.state)
			if want := "Task launched with invalid offers: " + text; s.GetReason() != mesos.REASON_INVALID_OFFERS || s.GetMessage() != want || s.UUID != nil {
				t.Errorf("%s %q, want %q", s.GetReason(), s.GetMessage(), want)
			}
		}
		check("two-agents", []mesos.OfferID{o.ID, p.ID}, "Aggregated offers must belong to one single agent. Offer "+
			p.ID.Value+" uses agent "+p.AgentID.Value+" and agent "+o.AgentID.Value)
		check("used", []mesos.OfferID{o.ID}, "Offer "+o.ID.Value+" is no longer valid")
		check("none", nil, "No offers specified")
		o = f.offer()
		check("twice", []mesos.OfferID{o.ID, o.ID}, "Duplicate offer "+o.ID.Value+" in offer list")
		f.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	}
}
