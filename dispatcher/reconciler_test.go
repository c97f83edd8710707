package dispatcher

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// oneLaunching is a state with one driver, which is LAUNCHING, and its task.
func oneLaunching(t *testing.T) (_ *fsm.State, task string) {
	t.Helper()
	s, index := fsm.New(), uint64(0)
	apply := func(n fsm.Number, body proto.Message) *fsmpb.Result {
		index++
		data, err := fsm.Encode(n, fsm.Stamp{RequestID: fsm.RequestID{byte(index)}, TimeMs: 1}, body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := fsm.DecodeResult(s.Apply(index, data))
		if err == nil {
			err = fsm.ResultError(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	apply(fsm.NumberSetPolicy, fsm.DefaultPolicy())
	apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "fw"})
	id := apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-", Cores: 1, MemMib: 1}).DriverId
	apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id, AgentId: "a"}}})
	return s, id
}

// Without an answer a task is asked about after 1 s, then after twice as long
// each time, up to 64 s; with the next round over all tasks the series begins
// afresh, and all tasks are asked about without naming them.
func TestReconciliationBacksOffUpToALimitAndBeginsAfreshEachRound(t *testing.T) {
	state, task := oneLaunching(t)
	began := time.UnixMilli(1_000_000)
	now := began
	m, err := newMetrics(nil, state)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Clock: func() time.Time { return now }, ReconcileAgain: time.Second, ReconcileEvery: 5 * time.Minute}
	s := &session{Leader: &Leader{Service: &Service{cfg: cfg, state: state}, m: m}}
	r := newReconciler(s)
	r.start()
	var explicit, implicit []int
	for now.Sub(began) < 6*time.Minute {
		tasks, all, wait := r.questions()
		at := int(now.Sub(began) / time.Second)
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
		now = now.Add(wait)
	}
	if got := fmt.Sprint(explicit); got != "[0 1 3 7 15 31 63 127 191 255 300 301 303 307 315 331]" {
		t.Errorf("asked after %s seconds", got)
	}
	if got := fmt.Sprint(implicit); got != "[0 300]" {
		t.Errorf("asked about all after %s seconds", got)
	}
}
