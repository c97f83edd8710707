package backend

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func rolesOf(name string, amounts ...float64) (out []mesos.Resource) {
	for i, amount := range amounts {
		out = append(out, mesosutil.NewScalarResource(name, amount, []string{"*", "eng"}[i%2], nil))
	}
	return out
}

func TestResourcesAreTakenByRole(t *testing.T) {
	o := offerOf("1", 0, 0)
	o.Resources = append(rolesOf("cpus", 1, 2), rolesOf("mem", 1000, 1000)...)
	plan := Decide(Situation{
		App: &fsm.App{Totals: []*fsm.ProfileTotal{{Total: 1}}}, Settings: settingsOf(t, nil), Offers: []mesos.Offer{o},
	})
	l := plan.Accepts[0].Launches[0]
	var got []string
	for _, r := range l.Resources {
		got = append(got, fmt.Sprintf("%s(%s):%g", r.Name, mesosutil.ResourceRole(&r), r.Scalar.Value))
	}
	if want := "[cpus(eng):2 cpus(*):1 mem(eng):1000 mem(*):408]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestEachDeclineHasItsReason(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	app := func() *fsm.App { return &fsm.App{Totals: []*fsm.ProfileTotal{{Total: 2}}} }
	for _, c := range []struct {
		want   Reason
		conf   []string
		change func(*Situation)
	}{
		{ReasonStopping, nil, func(s *Situation) { s.App.Stopped = true }},
		{ReasonLimit, nil, func(s *Situation) { s.App.Totals[0].Total = 0 }},
		{ReasonConstraints, []string{"spark.mesos.constraints", "os:"}, nil},
		{ReasonMaxCores, []string{"spark.cores.max", "2"}, func(s *Situation) { s.Live = []*fsm.Executor{{Cores: 2}} }},
		{ReasonCores, []string{"spark.executor.cores", "5"}, nil},
		{ReasonMemory, []string{"spark.executor.memory", "4g"}, nil},
		{ReasonGPUs, nil, func(s *Situation) { s.App.Totals[0].Gpus = 1 }},
		{ReasonExcluded, nil, func(s *Situation) { s.App.Exclusions = []*fsm.Exclusion{{Host: "hosts1", Excluded: true}} }},
		{ReasonDropped, nil, func(s *Situation) {
			s.App.Exclusions = []*fsm.Exclusion{{AgentId: "s1", Drops: 1, NotBeforeMs: now.UnixMilli() + 1}}
		}},
		{ReasonPorts, []string{"spark.blockManager.port", "99"}, nil},
		{ReasonLocality, []string{"spark.dynamicAllocation.enabled", "true"}, func(s *Situation) { s.App.Hosts = []string{"other"} }},
	} {
		t.Run(string(c.want), func(t *testing.T) {
			s := Situation{App: app(), Settings: settingsOf(t, nil, c.conf...), Offers: []mesos.Offer{offerOf("1", execMem, 4)}, Now: now}
			if c.change != nil {
				c.change(&s)
			}
			plan := Decide(s)
			if len(plan.Accepts) != 0 || len(plan.Declines) != 1 || plan.Declines[0].Reason != c.want {
				t.Errorf("%+v", plan)
			}
			if waits := c.want == ReasonDropped || c.want == ReasonLocality; waits != !plan.Retry.IsZero() {
				t.Errorf("retry at %v", plan.Retry)
			}
		})
	}
}

func TestABatchHasALimit(t *testing.T) {
	plan := Decide(Situation{
		App: &fsm.App{Totals: []*fsm.ProfileTotal{{Total: 9}}}, Settings: settingsOf(t, nil, "spark.executor.cores", "1"),
		Offers: []mesos.Offer{offerOf("1", 9*execMem, 9), offerOf("2", 9*execMem, 9), offerOf("3", 9*execMem, 9)}, MaxLaunches: 2,
	})
	if len(plan.Accepts) != 2 || len(plan.Declines) != 1 || plan.Declines[0].Reason != ReasonBatch {
		t.Errorf("%+v", plan)
	}
}

// Whatever is offered: no plan takes more than is offered, wanted or allowed,
// each offer is answered once, and numbers run on without a gap.
func TestPlansStayWithinTheirLimits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var conf []string
		if n := rapid.IntRange(0, 4).Draw(rt, "executor cores"); n > 0 {
			conf = append(conf, "spark.executor.cores", fmt.Sprint(n))
		}
		if n := rapid.IntRange(0, 20).Draw(rt, "max cores"); n > 0 {
			conf = append(conf, "spark.cores.max", fmt.Sprint(n))
		}
		conf = append(conf, "spark.mesos.gpus.max", fmt.Sprint(rapid.IntRange(0, 5).Draw(rt, "max gpus")))
		s := Situation{Settings: settingsOf(t, nil, conf...), Now: time.UnixMilli(1)}
		s.App = &fsm.App{NextNumber: 7, Totals: []*fsm.ProfileTotal{
			{Total: int64(rapid.IntRange(0, 6).Draw(rt, "total"))},
			{Profile: 1, Total: int64(rapid.IntRange(0, 3).Draw(rt, "total 1")), Cores: 2, MemMib: 500},
		}}
		live := map[uint32]int64{}
		var cores, gpus int64
		for range rapid.IntRange(0, 3).Draw(rt, "live") {
			e := &fsm.Executor{Cores: int64(rapid.IntRange(1, 3).Draw(rt, "cores")), Profile: uint32(rapid.IntRange(0, 1).Draw(rt, "profile"))}
			s.Live = append(s.Live, e)
			live[e.Profile]++
			cores += e.Cores
		}
		cores = min(cores, s.Settings.MaxCores)
		for i := range rapid.IntRange(0, 5).Draw(rt, "offers") {
			s.Offers = append(s.Offers, offerOf(fmt.Sprint(i), float64(rapid.IntRange(0, 6000).Draw(rt, "mem")),
				float64(rapid.IntRange(0, 80).Draw(rt, "cpus"))/10, gpusOf(float64(rapid.IntRange(0, 3).Draw(rt, "gpus")))))
		}
		before := fmt.Sprint(s.Offers)
		plan := Decide(s)
		if fmt.Sprint(s.Offers) != before {
			rt.Fatal("the offers were changed")
		}
		if len(plan.Accepts)+len(plan.Declines) != len(s.Offers) {
			rt.Fatalf("%d offers, %d used and %d declined", len(s.Offers), len(plan.Accepts), len(plan.Declines))
		}
		offers := map[string]*mesos.Offer{}
		for i := range s.Offers {
			offers[s.Offers[i].ID.Value] = &s.Offers[i]
		}
		seen := map[uint64]bool{}
		for _, a := range plan.Accepts {
			used := map[string]float64{}
			for _, l := range a.Launches {
				live[l.Profile]++
				cores += l.Cores
				gpus += l.GPUs
				seen[l.Number] = true
				for _, name := range []string{"cpus", "mem", "gpus"} {
					used[name] += mesosutil.ScalarSum(l.Resources, name)
				}
				if float64(l.Cores) != mesosutil.ScalarSum(l.Resources, "cpus") || float64(l.MemMiB) != mesosutil.ScalarSum(l.Resources, "mem") {
					rt.Fatalf("%+v", l)
				}
			}
			for name, amount := range used {
				if amount > mesosutil.ScalarSum(offers[a.OfferID].Resources, name)+0.0005 {
					rt.Fatalf("%g %s of %s are used", amount, name, a.OfferID)
				}
			}
		}
		for n := range uint64(len(seen)) {
			if !seen[7+n] {
				rt.Fatalf("numbers %v", seen)
			}
		}
		launched := len(seen) > 0
		if launched && (cores > s.Settings.MaxCores || gpus > s.Settings.MaxGPUs) {
			rt.Fatalf("%d cores of %d, %d gpus of %d", cores, s.Settings.MaxCores, gpus, s.Settings.MaxGPUs)
		}
		for _, p := range s.App.Totals {
			if launched && live[p.Profile] > max(p.Total, 3) {
				rt.Fatalf("%d executors of profile %d, %d wanted", live[p.Profile], p.Profile, p.Total)
			}
		}
	})
}
