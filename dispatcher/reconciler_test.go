package dispatcher

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// inside is a session of a node with a state of its own, for what the parts of it
// do when nobody else does anything.
type inside struct {
	*session
	t     testing.TB
	index uint64
	now   time.Time
}

func newInside(t testing.TB) *inside {
	t.Helper()
	state := fsm.New()
	m, err := newMetrics(nil, state)
	if err != nil {
		t.Fatal(err)
	}
	in := &inside{t: t, now: time.UnixMilli(1_000_000)}
	cfg := Config{
		Clock:          func() time.Time { return in.now },
		ReconcileAgain: time.Second, ReconcileEvery: 5 * time.Minute, LaunchQuiet: 10 * time.Second, KillAgain: time.Second,
	}
	in.session = &session{Leader: &Leader{Service: &Service{cfg: cfg, state: state}, m: m, logger: slog.New(slog.DiscardHandler)}}
	in.reconciler, in.killer = newReconciler(in.session), newKiller(in.session)
	policy := fsm.DefaultPolicy()
	policy.MaxDrivers, policy.DedupWindow = 1<<20, 1
	in.apply(fsm.NumberSetPolicy, policy)
	in.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "fw"})
	return in
}

func (in *inside) apply(n fsm.Number, body proto.Message) *fsmpb.Result {
	in.t.Helper()
	in.index++
	var id fsm.RequestID
	binary.BigEndian.PutUint64(id[:], in.index)
	data, err := fsm.Encode(n, fsm.Stamp{RequestID: id, TimeMs: in.now.UnixMilli()}, body)
	if err != nil {
		in.t.Fatal(err)
	}
	r, err := fsm.DecodeResult(in.state.Apply(in.index, data))
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		in.t.Fatal(err)
	}
	return r
}

// launched is the id of a driver that is LAUNCHING, and of its task.
func (in *inside) launched() string {
	in.t.Helper()
	id := in.apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-", Cores: 1, MemMib: 1}).DriverId
	in.apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id, AgentId: "a"}}})
	return id
}

func (in *inside) kill(id string) { in.apply(fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: id}) }

func (in *inside) status(id string, state fsm.TaskState) {
	in.apply(fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{{TaskId: id, State: int32(state), AgentId: "a"}}})
}

// changes are those after number next, and the number of the one to come.
func (in *inside) changes(next uint64) ([]fsm.Change, uint64) {
	changes, lost, _ := in.state.Feed().Since(next, 0)
	if lost {
		in.t.Fatal("the feed is too short")
	}
	return changes, next + uint64(len(changes))
}

// Without an answer a task is asked about after 1 s, then after twice as long
// each time, up to 64 s; with the next round over all tasks the series begins
// afresh, and all tasks are asked about without naming them.
func TestReconciliationBacksOffUpToALimitAndBeginsAfreshEachRound(t *testing.T) {
	in := newInside(t)
	task, began, r := in.launched(), in.now, in.reconciler
	r.start()
	var explicit, implicit []int
	for in.now.Sub(began) < 6*time.Minute {
		tasks, all, wait := r.questions()
		at := int(in.now.Sub(began) / time.Second)
		for _, q := range tasks {
			if q.TaskID != task || q.AgentID != "a" {
				t.Fatalf("%+v", q)
			}
			explicit = append(explicit, at)
		}
		if all {
			implicit = append(implicit, at)
		}
		if wait <= 0 {
			t.Fatalf("waits %v", wait)
		}
		in.now = in.now.Add(wait)
	}
	if got := fmt.Sprint(explicit); got != "[0 1 3 7 15 31 63 127 191 255 300 301 303 307 315 331]" {
		t.Errorf("asked after %s seconds", got)
	}
	if got := fmt.Sprint(implicit); got != "[0 300]" {
		t.Errorf("asked about all after %s seconds", got)
	}
}

// A task is asked about only while it is the attempt of an active driver, and
// not while its ACCEPT is under way.
func TestReconciliationLeavesOutWhatIsOverOrUnderWay(t *testing.T) {
	in := newInside(t)
	r := in.reconciler
	next := in.state.Feed().Next()
	r.start()
	r.questions()
	over, way, open := in.launched(), in.launched(), in.launched()
	r.accepting(way)
	changes, next := in.changes(next)
	r.look(changes)
	in.status(over, fsm.TaskFinished)
	changes, _ = in.changes(next)
	r.look(changes)
	if r.open.get(over) != nil || len(r.open.heap) != 2 {
		t.Errorf("%d questions are open", len(r.open.heap))
	}
	ask := func(after time.Duration, want ...string) {
		t.Helper()
		in.now = in.now.Add(after)
		var got []string
		tasks, _, _ := r.questions()
		for _, q := range tasks {
			got = append(got, q.TaskID)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("asked about %v, want %v", got, want)
		}
	}
	ask(10*time.Second-1, []string{}...)
	ask(1, open)
	r.accepted(way)
	r.heard(open)
	ask(time.Second, way)
}

// The cost of a wake-up at which nothing is due does not depend on how many
// tasks are under way. Scanning them took 20 times as long for 20 times as many.
func TestAWakeUpCostsTheSameHoweverManyTasksThereAre(t *testing.T) {
	for _, c := range []struct {
		name string
		part func(in *inside) func()
	}{
		{"reconciler", func(in *inside) func() {
			in.reconciler.start()
			in.reconciler.questions()
			step := time.Millisecond / 10
			return func() { in.now = in.now.Add(step); in.reconciler.questions() }
		}},
		{"killer", func(in *inside) func() {
			in.killer.look(nil)
			in.killer.takeDue()
			return func() { in.killer.takeDue(); in.killer.untilDue() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			few, many := wakeUps(t, 1_000, c.part), wakeUps(t, 20_000, c.part)
			if many > 8*few {
				t.Errorf("1000 wake-ups take %v with 20,000 tasks and %v with 1,000", many, few)
			}
		})
	}
}

// wakeUps is the shortest time that a thousand wake-ups take.
func wakeUps(t *testing.T, tasks int, part func(*inside) func()) (best time.Duration) {
	in := newInside(t)
	for range tasks {
		in.kill(in.launched())
	}
	wake := part(in)
	for range 5 {
		began := time.Now()
		for range 1000 {
			wake()
		}
		if took := time.Since(began); best == 0 || took < best {
			best = took
		}
	}
	return best
}
