package dispatcher_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// queue is a replicated state with drivers in it, and what each of them needs.
type queue struct {
	tb    testing.TB
	state *fsm.State
	index uint64
	nowMs int64
	needs map[string]launch.Requirements
}

func newQueue(tb testing.TB) *queue {
	q := &queue{tb: tb, state: fsm.New(), nowMs: 1_000_000, needs: make(map[string]launch.Requirements)}
	p := fsm.DefaultPolicy()
	p.MaxDrivers = 1_000_000
	q.apply(fsm.NumberSetPolicy, p)
	q.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "fw"})
	return q
}

func (q *queue) apply(n fsm.Number, body proto.Message) *fsmpb.Result {
	q.index++
	var id fsm.RequestID
	copy(id[:], fmt.Sprintf("%016d", q.index))
	data, err := fsm.Encode(n, fsm.Stamp{RequestID: id, TimeMs: q.nowMs}, body)
	if err != nil {
		q.tb.Fatal(err)
	}
	r, err := fsm.DecodeResult(q.state.Apply(q.index, data))
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		q.tb.Fatal(err)
	}
	return r
}

// submit queues a driver; its id ends with its place in the log.
func (q *queue) submit(priority float64, need launch.Requirements) string {
	id := q.apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d", Priority: priority, Cores: need.CPUs, MemMib: int64(need.MemMiB), Supervise: true}).DriverId
	q.needs[id] = need
	return id
}

// launch commits an intent for the next attempt of a driver.
func (q *queue) launch(id, agentID string) string {
	d, _ := q.state.Driver(id)
	task := fsm.TaskID(id, d.NextAttempt)
	q.apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, Attempt: d.NextAttempt, TaskId: task, AgentId: agentID}}})
	return task
}

func (q *queue) status(task string, s fsm.TaskState) {
	q.apply(fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{{TaskId: task, State: int32(s)}}})
}

// fail makes a driver RETRYING.
func (q *queue) fail(id string) {
	task := q.launch(id, "a")
	q.status(task, fsm.TaskRunning)
	q.status(task, fsm.TaskFailed)
}

func (q *queue) decide(offers ...mesos.Offer) dispatcher.Plan { return q.decideMost(0, offers...) }

func (q *queue) decideMost(most int, offers ...mesos.Offer) dispatcher.Plan {
	return dispatcher.Decide(dispatcher.Situation{
		View: q.state.View(), Offers: offers, Now: time.UnixMilli(q.nowMs), MaxLaunches: most,
		Need: func(d *fsm.Driver) (*dispatcher.Need, error) { return dispatcher.NewNeed(q.needs[d.ID]), nil },
	})
}

func needs(cpus, mem float64) launch.Requirements {
	return launch.Requirements{CPUs: cpus, MemMiB: mem}
}

// offer of an agent; its host is the agent's id.
func offer(id, agent string, resources ...mesos.Resource) mesos.Offer {
	return mesos.Offer{ID: mesos.OfferID{Value: id}, AgentID: mesos.AgentID{Value: agent}, Hostname: agent, Resources: resources}
}

func scalars(cpus, mem float64) []mesos.Resource {
	return []mesos.Resource{mesosutil.NewScalarResource("cpus", cpus, "", nil), mesosutil.NewScalarResource("mem", mem, "", nil)}
}

// placed is a plan as text: agent:driver… in order.
func placed(p dispatcher.Plan) []string {
	var out []string
	for _, a := range p.Accepts {
		line := a.AgentID + ":"
		for _, l := range a.Launches {
			line += " " + l.Driver.ID
		}
		out = append(out, line)
	}
	return out
}

func wantPlan(t *testing.T, p dispatcher.Plan, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, placed(p)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestFirstFitInOrderOfAcceptance(t *testing.T) {
	q := newQueue(t)
	a, b, c := q.submit(0, needs(2, 100)), q.submit(0, needs(1, 100)), q.submit(0, needs(2, 100)) // the same millisecond
	p := q.decide(offer("o1", "x", scalars(3, 1000)...), offer("o2", "y", scalars(2, 1000)...))
	wantPlan(t, p, "x: "+a+" "+b, "y: "+c)
	if p.Unplaced != 0 || len(p.Declines) != 0 || p.More {
		t.Errorf("%+v", p)
	}
}

func TestPriorityGoesFirst(t *testing.T) {
	q := newQueue(t)
	low, high := q.submit(0, needs(1, 100)), q.submit(5, needs(1, 100))
	wantPlan(t, q.decide(offer("o", "x", scalars(1, 100)...)), "x: "+high)
	wantPlan(t, q.decide(offer("o", "x", scalars(2, 200)...)), "x: "+high+" "+low)
}

func TestBigDriverAtTheHeadDoesNotBlock(t *testing.T) {
	q := newQueue(t)
	q.submit(9, needs(100, 100))
	small := q.submit(0, needs(1, 100))
	p := q.decide(offer("o", "x", scalars(4, 1000)...))
	wantPlan(t, p, "x: "+small)
	if p.Unplaced != 1 {
		t.Errorf("%d unplaced", p.Unplaced)
	}
}

func TestOffersOfOneAgentAreUsedTogether(t *testing.T) {
	q := newQueue(t)
	d := q.submit(0, needs(3, 300))
	p := q.decide(offer("o1", "x", scalars(2, 200)...), offer("o2", "y", scalars(1, 100)...), offer("o3", "x", scalars(2, 200)...))
	wantPlan(t, p, "x: "+d)
	if diff := cmp.Diff([]string{"o1", "o3"}, p.Accepts[0].OfferIDs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"o2"}, p.Declines); diff != "" {
		t.Error(diff)
	}
}

func TestConstraintsChooseTheAgent(t *testing.T) {
	q := newQueue(t)
	constraints, err := mesosutil.ParseConstraints("rack:b")
	if err != nil {
		t.Fatal(err)
	}
	need := needs(1, 100)
	need.Constraints = constraints
	bound, free := q.submit(0, need), q.submit(0, needs(1, 100))
	x, y := offer("o1", "x", scalars(1, 100)...), offer("o2", "y", scalars(1, 100)...)
	text := func(s string) []mesos.Attribute {
		return []mesos.Attribute{{Name: "rack", Type: mesos.TEXT, Text: &mesos.Value_Text{Value: s}}}
	}
	x.Attributes, y.Attributes = text("a"), text("b")
	wantPlan(t, q.decide(x, y), "x: "+free, "y: "+bound)
	p := q.decide(x)
	wantPlan(t, p, "x: "+free)
	if p.Unplaced != 1 {
		t.Errorf("%d unplaced", p.Unplaced)
	}
}

func TestGPUsAndPortsAreTaken(t *testing.T) {
	q := newQueue(t)
	gpu, port := needs(1, 100), needs(1, 100)
	gpu.GPUs, port.Ports = 1, []uint64{31005}
	g1, g2 := q.submit(0, gpu), q.submit(0, gpu)
	p1, p2 := q.submit(0, port), q.submit(0, port)
	ports := mesos.Resource{Name: "ports", Type: mesos.RANGES.Enum(), Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 31000, End: 31010}}}}
	with := append(scalars(8, 1000), mesosutil.NewScalarResource("gpus", 1, "", nil), ports)
	p := q.decide(offer("o", "x", with...))
	wantPlan(t, p, "x: "+g1+" "+p1)
	if p.Unplaced != 2 {
		t.Errorf("%d unplaced, want %s and %s", p.Unplaced, g2, p2)
	}
	used := p.Accepts[0].Launches[1].Resources
	i := slices.IndexFunc(used, func(r mesos.Resource) bool { return r.Name == "ports" })
	if i < 0 || used[i].Ranges.Range[0] != (mesos.Value_Range{Begin: 31005, End: 31005}) {
		t.Errorf("%v", used)
	}
}

func TestReservedResourcesGoFirst(t *testing.T) {
	q := newQueue(t)
	q.submit(0, needs(3, 100))
	own := mesosutil.NewScalarResource("cpus", 2, "spark", nil)
	p := q.decide(offer("o", "x", append(scalars(4, 1000), own)...))
	byRole := make(map[string]float64)
	for _, r := range p.Accepts[0].Launches[0].Resources {
		if r.Name == "cpus" {
			byRole[r.GetRole()] += r.GetScalar().GetValue()
		}
	}
	if byRole["spark"] != 2 || byRole["*"]+byRole[""] != 1 {
		t.Errorf("%v", byRole)
	}
}

func TestRetryStandsWhereItStoodWhenDue(t *testing.T) {
	q := newQueue(t)
	first := q.submit(0, needs(1, 100))
	second := q.submit(0, needs(1, 100))
	q.fail(first)
	one := offer("o", "x", scalars(1, 100)...)
	p := q.decide(one)
	wantPlan(t, p, "x: "+second)
	d, _ := q.state.Driver(first)
	if want := time.UnixMilli(d.NotBeforeMs); !p.Wake.Equal(want) {
		t.Errorf("wake at %v, want %v", p.Wake, want)
	}
	q.nowMs = d.NotBeforeMs
	p = q.decide(one)
	wantPlan(t, p, "x: "+first)
	if !p.Wake.IsZero() || p.Unplaced != 1 {
		t.Errorf("%+v", p)
	}
}

func TestRetryHasThePriorityOfItsQueue(t *testing.T) {
	q := newQueue(t)
	low, high := q.submit(-1, needs(1, 100)), q.submit(2, needs(1, 100))
	q.fail(low)
	q.fail(high)
	middle := q.submit(1, needs(1, 100))
	q.nowMs += 10_000
	three := offer("o", "x", scalars(3, 1000)...)
	wantPlan(t, q.decide(three), "x: "+high+" "+middle+" "+low)
}

func TestDroppedLaunchWaitsItsTurn(t *testing.T) {
	q := newQueue(t)
	d := q.submit(0, needs(1, 100))
	q.status(q.launch(d, "x"), fsm.TaskDropped)
	one := offer("o", "x", scalars(1, 100)...)
	p := q.decide(one)
	wantPlan(t, p)
	if p.Wake.UnixMilli() <= q.nowMs {
		t.Errorf("wake at %v", p.Wake)
	}
	q.nowMs = p.Wake.UnixMilli()
	wantPlan(t, q.decide(one), "x: "+d)
}

func TestPlanIsBounded(t *testing.T) {
	q := newQueue(t)
	var ids []string
	for range 5 {
		ids = append(ids, q.submit(0, needs(1, 100)))
	}
	x, y := offer("o1", "x", scalars(2, 1000)...), offer("o2", "y", scalars(9, 1000)...)
	p := q.decideMost(2, x, y)
	wantPlan(t, p, "x: "+ids[0]+" "+ids[1])
	if !p.More || len(p.Declines) != 0 {
		t.Errorf("%+v", p)
	}
	if p := q.decideMost(5, x, y); p.More {
		t.Errorf("nothing is left to be launched: %+v", p)
	}
}

func TestDriverThatCannotBeBuiltIsRejected(t *testing.T) {
	q := newQueue(t)
	bad, good := q.submit(0, needs(1, 1)), q.submit(0, needs(1, 1))
	p := dispatcher.Decide(dispatcher.Situation{
		View: q.state.View(), Offers: []mesos.Offer{offer("o", "x", scalars(9, 9)...)}, Now: time.UnixMilli(q.nowMs),
		Need: func(d *fsm.Driver) (*dispatcher.Need, error) {
			if d.ID == bad {
				return nil, errors.New("no such thing")
			}
			return dispatcher.NewNeed(q.needs[d.ID]), nil
		},
	})
	wantPlan(t, p, "x: "+good)
	if diff := cmp.Diff([]dispatcher.Reject{{DriverID: bad, Reason: "no such thing"}}, p.Rejects); diff != "" {
		t.Error(diff)
	}
}

func TestNothingOfferedOrNothingQueued(t *testing.T) {
	q := newQueue(t)
	p := q.decide(offer("o1", "x", scalars(1, 1)...), offer("o2", "y"))
	if diff := cmp.Diff([]string{"o1", "o2"}, p.Declines); diff != "" || len(p.Accepts) > 0 {
		t.Errorf("%+v", p)
	}
	q.submit(0, needs(1, 1))
	if p := q.decide(); p.Unplaced != 1 || p.More {
		t.Errorf("%+v", p)
	}
}
