package rest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// in brings a new driver to a state.
func (n *node) in(state fsm.DriverState) string {
	id := n.apply("", fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{
		IdPrefix: "d-", Name: string(state), Supervise: state == fsm.DriverRetrying,
	}).DriverId
	kill := func() { n.apply("", fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: id}) }
	switch state {
	case fsm.DriverLaunching:
		n.launchDriver(id, nil)
	case fsm.DriverRunning:
		n.launchDriver(id, &fsm.Status{State: int32(fsm.TaskRunning)})
	case fsm.DriverKilling:
		n.launchDriver(id, &fsm.Status{State: int32(fsm.TaskRunning)})
		kill()
	case fsm.DriverRetrying:
		n.launchDriver(id, &fsm.Status{State: int32(fsm.TaskFailed)})
	case fsm.DriverFinished:
		n.launchDriver(id, &fsm.Status{State: int32(fsm.TaskFinished)})
	case fsm.DriverKilled:
		kill()
	}
	return id
}

// Whatever states are asked for, and whichever way they are looked up, the pages
// together are what matches, the latest first and each once, even while drivers
// are submitted.
func TestPagesByStateAreWhatMatchesLatestFirst(t *testing.T) {
	states := []fsm.DriverState{
		fsm.DriverQueued, fsm.DriverLaunching, fsm.DriverRunning, fsm.DriverKilling, fsm.DriverRetrying,
		fsm.DriverFinished, fsm.DriverKilled,
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := newNode()
		asked := rapid.SliceOfNDistinct(rapid.SampledFrom(states), 1, 3, func(s fsm.DriverState) fsm.DriverState { return s }).Draw(rt, "asked")
		var want []string
		for range rapid.IntRange(0, 40).Draw(rt, "drivers") {
			state := rapid.SampledFrom(states).Draw(rt, "state")
			if id := n.in(state); slices.Contains(asked, state) {
				want = append(want, id)
			}
		}
		slices.Reverse(want)
		q := &listQuery{limit: rapid.IntRange(1, 6).Draw(rt, "limit")}
		for _, s := range asked {
			q.states = append(q.states, string(s))
		}
		budget := rapid.SampledFrom([]int{3, 20, scanBudget}).Draw(rt, "budget")
		var got []string
		for range 100 {
			l := q.page(n.state.View(), budget)
			if len(l.Drivers) > q.limit {
				rt.Fatalf("%d drivers on a page of %d", len(l.Drivers), q.limit)
			}
			for _, d := range l.Drivers {
				got = append(got, d.ID)
			}
			if l.NextCursor == "" {
				break
			}
			q.before, _ = decodeCursor(l.NextCursor)
			q.exhausted = q.before == 1
			n.in(asked[0]) // not on any later page
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("asked for %v (-want +got):\n%s", asked, diff)
		}
	})
}

// A driver that runs since long ago is found at once, even if more have ended
// since than one request looks at.
func TestOldDriversThatAreAliveAreOnTheFirstPage(t *testing.T) {
	const budget = 50
	for _, state := range []fsm.DriverState{fsm.DriverQueued, fsm.DriverLaunching, fsm.DriverRunning, fsm.DriverKilling, fsm.DriverRetrying} {
		n := newNode()
		var want []string
		for range 5 {
			want = append([]string{n.in(state)}, want...)
		}
		for range 2 * budget {
			n.in(fsm.DriverKilled)
		}
		q := &listQuery{limit: 10, states: []string{string(state)}}
		l := q.page(n.state.View(), budget)
		var got []string
		for _, d := range l.Drivers {
			got = append(got, d.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || l.NextCursor != "" {
			t.Errorf("%s: %v, then %q; want %v", state, got, l.NextCursor, want)
		}
	}
}

// Where few drivers pass a filter that has no index, a page ends early and its
// cursor leads on.
func TestAPageEndsWhereItsScanBudgetDoes(t *testing.T) {
	n := newNode()
	for range 3 {
		n.submitNamed("x", "")
	}
	q := &listQuery{limit: 1, name: "none"}
	for i, more := range []bool{true, false} {
		l := q.page(n.state.View(), 2)
		if len(l.Drivers) != 0 || (l.NextCursor != "") != more {
			t.Errorf("page %d: %+v", i, l)
		}
		q.before, _ = decodeCursor(l.NextCursor)
	}
}
