package dispatcher_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// TestPlacementProperties: no agent is given more than it offered, the same
// question gets the same answer, no driver is placed twice, and nobody is passed
// over for whom there is still room afterwards.
func TestPlacementProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := newQueue(t)
		n := rapid.IntRange(0, 40).Draw(rt, "drivers")
		for range n {
			need := needs(float64(rapid.IntRange(1, 40).Draw(rt, "cpus"))/10, float64(rapid.IntRange(1, 1000).Draw(rt, "mem")))
			need.GPUs = float64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "gpus"))
			q.submit(float64(rapid.IntRange(0, 2).Draw(rt, "priority")), need)
		}
		var offers []mesos.Offer
		total := make(map[string]map[string]float64)
		for i := range rapid.IntRange(0, 15).Draw(rt, "offers") {
			agent := fmt.Sprint("a", rapid.IntRange(0, 7).Draw(rt, "agent"))
			rs := scalars(float64(rapid.IntRange(0, 80).Draw(rt, "cpus"))/10, float64(rapid.IntRange(0, 3000).Draw(rt, "mem")))
			rs = append(rs, mesosutil.NewScalarResource("gpus", float64(rapid.IntRange(0, 2).Draw(rt, "gpus")), "", nil))
			offers = append(offers, offer(fmt.Sprint("o", i), agent, rs...))
			if total[agent] == nil {
				total[agent] = make(map[string]float64)
			}
			for _, r := range rs {
				total[agent][r.Name] += r.GetScalar().GetValue()
			}
		}
		p := q.decide(offers...)
		if diff := cmp.Diff(placed(p), placed(q.decide(offers...))); diff != "" {
			rt.Fatalf("not deterministic: %s", diff)
		}
		seen := make(map[string]bool)
		used := make(map[string]bool)
		for _, a := range p.Accepts {
			for _, id := range a.OfferIDs {
				if used[id] {
					rt.Fatalf("offer %s is used twice", id)
				}
				used[id] = true
			}
			for _, l := range a.Launches {
				if seen[l.Driver.ID] {
					rt.Fatalf("%s is placed twice", l.Driver.ID)
				}
				seen[l.Driver.ID] = true
				need := q.needs[l.Driver.ID]
				for name, want := range map[string]float64{"cpus": need.CPUs, "mem": need.MemMiB, "gpus": need.GPUs} {
					if got := mesosutil.ScalarSum(l.Resources, name); math.Abs(got-want) > 0.001 {
						rt.Fatalf("%s gets %v of %s, wants %v", l.Driver.ID, got, name, want)
					}
					total[a.AgentID][name] -= want
					if total[a.AgentID][name] < -0.001 {
						rt.Fatalf("agent %s is overcommitted in %s by %v", a.AgentID, name, -total[a.AgentID][name])
					}
				}
			}
		}
		for _, id := range p.Declines {
			if used[id] {
				rt.Fatalf("offer %s is both used and declined", id)
			}
			used[id] = true
		}
		if len(used) != len(offers) {
			rt.Fatalf("%d of %d offers are answered", len(used), len(offers))
		}
		for id, need := range q.needs {
			if seen[id] {
				continue
			}
			for agent, left := range total {
				if left["cpus"] >= need.CPUs+0.001 && left["mem"] >= need.MemMiB+0.001 && left["gpus"] >= need.GPUs {
					rt.Fatalf("%s (%+v) was passed over, and %s has %v left", id, need, agent, left)
				}
			}
		}
		if p.Unplaced != n-len(seen) {
			rt.Fatalf("%d unplaced, want %d", p.Unplaced, n-len(seen))
		}
	})
}

// BenchmarkDecide grows drivers and agents together; ns/(n·log2 n) should stay
// about equal.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{200, 2000, 20000} {
		for _, mode := range []string{"all fit", "none fit", "none match, all starve"} {
			b.Run(fmt.Sprintf("drivers=%d/agents=%d/%s", n, n/10, mode), func(b *testing.B) { benchmarkDecide(b, n, mode) })
		}
	}
}

func benchmarkDecide(b *testing.B, n int, mode string) {
	q := newQueue(b)
	nowhere, err := mesosutil.ParseConstraints("rack:nowhere")
	if err != nil {
		b.Fatal(err)
	}
	byID := make(map[string]*dispatcher.Need)
	for i := range n {
		need := needs(float64(1+i%4)/10, float64(64*(1+i%3)))
		switch mode {
		case "none fit":
			need.CPUs += 100
		case "none match, all starve":
			need.Constraints = nowhere
		}
		id := q.submit(float64(i%3), need)
		byID[id] = dispatcher.NewNeed(need)
	}
	var offers []mesos.Offer
	for i := range n / 10 {
		offers = append(offers, offer(fmt.Sprint("o", i), fmt.Sprint("a", i), scalars(8, 8192)...))
	}
	s := dispatcher.Situation{
		View: q.state.View(), Offers: offers, Now: time.UnixMilli(q.nowMs),
		Need: func(d *fsm.Driver) (*dispatcher.Need, error) { return byID[d.ID], nil },
	}
	if mode == "none match, all starve" {
		s.Now, s.HoldAfter, s.HoldFor = s.Now.Add(time.Minute), time.Second, time.Minute
	}
	b.ReportAllocs()
	for b.Loop() {
		dispatcher.Decide(s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(float64(n)*math.Log2(float64(n))), "ns/(n·log2(n))")
}
