package dispatcher_test

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// holdCase drives Decide with a large driver ahead of an endless stream of small
// ones, on agents whose tasks end one after the other.
type holdCase struct {
	t     *testing.T
	state *fsm.State
	index uint64
	now   time.Time
	holds []dispatcher.Hold
	kept  []mesos.Offer // of held agents
	seen  map[string]bool
}

func newHoldCase(t *testing.T) *holdCase {
	c := &holdCase{t: t, state: fsm.New(), now: time.UnixMilli(1_000_000), seen: make(map[string]bool)}
	c.apply(fsm.NumberSetPolicy, &fsmpb.Policy{MaxDrivers: 1000, RetainedDrivers: 10, RetryWaitMaxS: 60, DedupWindow: 10})
	c.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "fw"})
	return c
}

func (c *holdCase) apply(n fsm.Number, body proto.Message) *fsmpb.Result {
	c.t.Helper()
	c.index++
	var id fsm.RequestID
	copy(id[:], fmt.Sprintf("%016d", c.index))
	data, err := fsm.Encode(n, fsm.Stamp{RequestID: id, TimeMs: c.now.UnixMilli()}, body)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := fsm.DecodeResult(c.state.Apply(c.index, data))
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *holdCase) submit(cores float64) string {
	return c.apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-", Cores: cores, MemMib: 10}).DriverId
}

// decide offers one cpu of an agent beside what is held, and commits the plan.
func (c *holdCase) decide(agent string, cpus float64) dispatcher.Plan {
	offer := mesos.Offer{
		ID: mesos.OfferID{Value: fmt.Sprintf("o%d", c.index)}, AgentID: mesos.AgentID{Value: agent}, Hostname: agent,
		Resources: []mesos.Resource{
			mesosutil.NewScalarResource("cpus", cpus, "", nil), mesosutil.NewScalarResource("mem", 10*cpus, "", nil),
		},
	}
	plan := dispatcher.Decide(dispatcher.Situation{
		View: c.state.View(), Offers: append(c.kept, offer), Now: c.now, Holds: c.holds,
		HoldAfter: 30 * time.Second, HoldFor: time.Minute,
		Need: func(d *fsm.Driver) (*dispatcher.Need, error) {
			return dispatcher.NewNeed(launch.Requirements{CPUs: d.Cores, MemMiB: float64(d.MemMiB)}), nil
		},
	})
	c.holds = plan.Holds
	gone := make(map[string]bool)
	for _, id := range plan.Declines {
		gone[id] = true
	}
	for _, a := range plan.Accepts {
		for _, id := range a.OfferIDs {
			gone[id] = true
		}
		for _, l := range a.Launches {
			c.seen[l.Driver.ID] = true
			c.apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{
				DriverId: l.Driver.ID, TaskId: l.Driver.ID, AgentId: a.AgentID,
			}}})
		}
	}
	var kept []mesos.Offer
	for _, o := range append(c.kept, offer) {
		if !gone[o.ID.Value] {
			kept = append(kept, o)
		}
	}
	c.kept = kept
	return plan
}

// A driver that needs four cpus comes first; one cpu comes free at a time, and
// there is always a small driver that could take it.
func TestLargeDriverDoesNotStarveBehindSmallOnes(t *testing.T) {
	c := newHoldCase(t)
	large := c.submit(4)
	for round := 0; !c.seen[large]; round++ {
		if round > 100 {
			t.Fatal("the large driver starves")
		}
		c.submit(1)
		c.now = c.now.Add(5 * time.Second)
		c.decide("a", 1)
	}
	if len(c.seen) < 2 {
		t.Error("no small driver ran while the large one waited")
	}
	if len(c.holds) != 0 {
		t.Errorf("holds are left: %v", c.holds)
	}
}

// What no agent can ever run is given up on for longer and longer, so that the
// small ones get most of the agent.
func TestImpossibleDriverBlocksOthersForABoundedShare(t *testing.T) {
	c := newHoldCase(t)
	impossible := c.submit(1000)
	launched, held := 0, 0
	for range 2000 {
		c.submit(1)
		c.now = c.now.Add(5 * time.Second)
		before := len(c.seen)
		c.decide("a", 1)
		if len(c.kept) > 0 {
			held++
		}
		launched += len(c.seen) - before
		for id := range c.seen { // every small one ends at once
			if d, found := c.state.Driver(id); found && !d.State.Terminal() {
				c.apply(fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{{TaskId: id, State: int32(fsm.TaskFinished)}}})
			}
		}
	}
	if c.seen[impossible] {
		t.Error("launched what does not fit")
	}
	if held == 0 || held > 400 {
		t.Errorf("the agent was held in %d of 2000 decisions; want some, and at most a fifth", held)
	}
	if launched < 1600 {
		t.Errorf("only %d small drivers ran", launched)
	}
}

func TestOnlyOneAgentInEightIsHeld(t *testing.T) {
	c := newHoldCase(t)
	for range 5 {
		c.submit(4)
	}
	c.now = c.now.Add(time.Minute)
	for i := range 16 {
		c.decide(fmt.Sprintf("agent-%d", i), 1)
	}
	if n := len(c.holds); n == 0 || n > 2 {
		t.Errorf("%d agents of 16 are held", n)
	}
}

// plan decides over these offers; a driver needs the gpus that its id maps to.
func (c *holdCase) plan(gpus map[string]float64, offers ...mesos.Offer) dispatcher.Plan {
	plan := dispatcher.Decide(dispatcher.Situation{
		View: c.state.View(), Offers: offers, Now: c.now, Holds: c.holds, HoldAfter: 30 * time.Second, HoldFor: time.Minute,
		Need: func(d *fsm.Driver) (*dispatcher.Need, error) {
			return dispatcher.NewNeed(launch.Requirements{CPUs: d.Cores, MemMiB: float64(d.MemMiB), GPUs: gpus[d.ID]}), nil
		},
	})
	c.holds = plan.Holds
	return plan
}

func (c *holdCase) wantHold(agent string, fails int) {
	c.t.Helper()
	if len(c.holds) != 1 || c.holds[0].AgentID != agent || c.holds[0].Fails != fails {
		c.t.Fatalf("holds are %+v, want one on %q after %d that did not help", c.holds, agent, fails)
	}
}

// Agent b has more free at the moment, and the rest of it belongs to strangers;
// a is large enough once our own drivers there have ended.
func TestAnAgentThatWillBeLargeEnoughIsHeldFirst(t *testing.T) {
	c := newHoldCase(t)
	for range 3 {
		id := c.submit(1)
		c.apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id, AgentId: "a"}}})
	}
	c.submit(4)
	c.now = c.now.Add(time.Minute)
	c.plan(nil, offer("o1", "b", scalars(3, 1000)...), offer("o2", "a", scalars(1, 1000)...))
	c.wantHold("a", 0)
}

// What fills agent b may never end: after a hold on it that did not help, the
// other agents have their turn.
func TestTheNextHoldIsOnAnotherAgent(t *testing.T) {
	c := newHoldCase(t)
	c.submit(4)
	c.now = c.now.Add(time.Minute)
	both := []mesos.Offer{offer("o1", "a", scalars(1, 1000)...), offer("o2", "b", scalars(3, 1000)...)}
	for fails, agent := range []string{"b", "a", "b"} {
		c.plan(nil, both...)
		c.wantHold(agent, fails)
		c.now = c.holds[0].Until
		c.plan(nil, both...)
		c.wantHold("", fails+1)
		c.now = c.holds[0].Until
	}
}

// When the pause ends there may be no offer at the moment. How often a hold did
// not help is remembered all the same: the pauses of a driver that fits nowhere
// grow only so.
func TestPausesGrowEvenIfTheyEndWithoutAnOffer(t *testing.T) {
	c := newHoldCase(t)
	c.submit(1000)
	c.now = c.now.Add(time.Minute)
	var pauses []time.Duration
	for fails := range 8 {
		c.plan(nil, offer("o", "a", scalars(1, 1000)...))
		c.wantHold("a", fails)
		c.now = c.holds[0].Until
		c.plan(nil)
		c.wantHold("", fails+1)
		pauses = append(pauses, c.holds[0].Until.Sub(c.now))
		c.now = c.holds[0].Until
		if p := c.plan(nil); !p.Wake.IsZero() {
			t.Fatalf("wakes at %v for nothing", p.Wake)
		}
	}
	if got := fmt.Sprint(pauses); got != "[1m0s 2m0s 4m0s 8m0s 16m0s 32m0s 1h0m0s 1h0m0s]" {
		t.Errorf("pauses %s", got)
	}
}

func TestOnlyAnAgentWithGPUsIsHeldForADriverThatNeedsThem(t *testing.T) {
	c := newHoldCase(t)
	gpus := map[string]float64{c.submit(4): 1}
	c.now = c.now.Add(time.Minute)
	plain := offer("o1", "plain", scalars(8, 1000)...)
	c.plan(gpus, plain)
	if len(c.holds) != 0 {
		t.Fatalf("%+v", c.holds)
	}
	c.plan(gpus, plain, offer("o2", "gpus", append(scalars(1, 1000), mesosutil.NewScalarResource("gpus", 1, "", nil))...))
	c.wantHold("gpus", 0)
}
