package dispatcher

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func agentOffers(cpus ...float64) (out []mesos.Offer) {
	for i, c := range cpus {
		id := fmt.Sprintf("a%d", i)
		out = append(out, mesos.Offer{
			ID: mesos.OfferID{Value: "o" + id}, AgentID: mesos.AgentID{Value: id}, Hostname: id,
			Resources: []mesos.Resource{mesosutil.NewScalarResource("cpus", c, "", nil), mesosutil.NewScalarResource("mem", 1e6, "", nil)},
		})
	}
	return out
}

// An order that is kept while agents drop out is the one that a new sort would
// give each time.
func TestAKeptHoldOrderIsThatOfANewSort(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var cpus []float64
		for range rapid.IntRange(0, 12).Draw(rt, "agents") {
			cpus = append(cpus, float64(rapid.IntRange(0, 4).Draw(rt, "cpus")))
		}
		p := newPool(agentOffers(cpus...))
		ours := map[string]room{"a0": {4, 0, 0}, "a3": {1, 0, 0}, "a5": {4, 0, 0}}
		need := NewNeed(launch.Requirements{CPUs: 4, MemMiB: 1})
		order := p.newHoldOrder(need, ours)
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			n := rapid.IntRange(0, 30).Draw(rt, "n")
			got := nth(n, order)
			fresh := p.newHoldOrder(need, ours)
			if fresh.Len() == 0 {
				if got != nil {
					rt.Fatalf("got %s of none", got.id)
				}
				return
			}
			e := fresh.Front()
			for range n % fresh.Len() {
				e = e.Next()
			}
			if want := e.Value.(*agent); got != want {
				rt.Fatalf("agent %d is %v, want %s", n, got, want.id)
			}
			switch gone := rapid.IntRange(0, len(p.agents)-1).Draw(rt, "gone"); rapid.IntRange(0, 2).Draw(rt, "how") {
			case 0:
				p.reserve(map[string]*Hold{p.agents[gone].id: nil})
			case 1:
				p.agents[gone].launches = make([]Launch, 1)
			}
		}
	})
}

// starving is a situation in which no driver fits and all have waited for long.
func starving(t *testing.T, agents, drivers, shapes int) Situation {
	in := newInside(t)
	for i := range drivers {
		in.apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-", Cores: 4, MemMib: int64(1 + i%shapes)})
	}
	var cpus []float64
	for i := range agents {
		cpus = append(cpus, float64(i%3)+0.5)
	}
	known := make(map[int64]*Need)
	return Situation{
		View: in.state.View(), Offers: agentOffers(cpus...), Now: in.now.Add(time.Hour), HoldAfter: time.Second, HoldFor: time.Minute,
		Need: func(d *fsm.Driver) (*Need, error) {
			if known[d.MemMiB] == nil {
				known[d.MemMiB] = NewNeed(launch.Requirements{CPUs: d.Cores, MemMiB: float64(d.MemMiB)})
			}
			return known[d.MemMiB], nil
		},
	}
}

// 16 needs have new holds in one plan; the others have theirs with the next ones.
func TestNewHoldsOfManyNeedsTakeTurns(t *testing.T) {
	s := starving(t, 400, 80, 40)
	for _, want := range []int{2 * needsHeldPerPlan, 50, 50} { // 50 is one agent in eight
		s.Holds = Decide(s).Holds
		if len(s.Holds) != want {
			t.Errorf("%d holds, want %d", len(s.Holds), want)
		}
	}
}

// Eight times as many agents and new holds cost about eight times as much.
// Sorting the agents for each hold cost 64 times as much and more.
func TestNewHoldsDoNotCostTheSquareOfTheAgents(t *testing.T) {
	best := func(agents int) (best time.Duration) {
		s := starving(t, agents, agents, 4)
		for range 5 {
			began := time.Now()
			if holds := len(Decide(s).Holds); holds != agents/8 {
				t.Fatalf("%d holds", holds)
			}
			if took := time.Since(began); best == 0 || took < best {
				best = took
			}
		}
		return best
	}
	few, many := best(500), best(4000)
	t.Logf("%v, %v", few, many)
	if many > 35*few {
		t.Errorf("%v for 4000 agents, %v for 500", many, few)
	}
}
