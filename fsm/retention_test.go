package fsm

import (
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func (n *node) finish(count int) (ids []string) {
	n.t.Helper()
	for range count {
		id := n.submit(nil)
		n.status(n.launch(id), TaskFinished)
		ids = append(ids, id)
	}
	return ids
}

func TestFinishedDriversAreKeptUpToTheLimit(t *testing.T) {
	for _, c := range []struct{ retain, finish, keep int }{
		{20, 20, 20}, {20, 21, 19}, {20, 25, 19}, // upstream's example
		{200, 200, 200}, {200, 201, 181}, {1, 5, 1}, {5, 50, 5}, {100, 101, 91},
		{0, 5, 1}, // upstream's too: room is made before the driver comes in
	} {
		n := subscribed(t)
		n.policy(func(p *Policy) { p.RetainedDrivers = int32(c.retain) })
		ids := n.finish(c.finish)
		if got := n.s.Counts().Finished; got != c.keep || n.s.View().Len() != c.keep {
			t.Errorf("%d of %d retained: %d kept, want %d", c.finish, c.retain, got, c.keep)
		}
		for i, id := range ids { // the latest ones
			if _, found := n.s.Driver(id); found != (i >= c.finish-c.keep) {
				t.Errorf("%d of %d retained: driver %d found: %v", c.finish, c.retain, i, found)
			}
		}
		checkInvariants(t, n.s)
	}
}

func TestALowerLimitDropsDownToItAtOnce(t *testing.T) {
	n := subscribed(t)
	n.finish(50)
	waiting := n.submit(nil)
	for _, retain := range []int32{50, 49, 20, 0} {
		n.policy(func(p *Policy) { p.RetainedDrivers = retain })
		if got := n.s.Counts().Finished; got != int(retain) {
			t.Errorf("%d kept of %d", got, retain)
		}
		checkInvariants(t, n.s)
	}
	n.driver(waiting)
}

// What a much lower limit drops is spread over several entries, whatever they
// are: no Apply takes long.
func TestAMuchLowerLimitIsReachedInSteps(t *testing.T) {
	n := subscribed(t)
	const many = 3*forgetAtOnce + 10
	n.policy(func(p *Policy) { p.RetainedDrivers, p.MaxDrivers = many, 2*many })
	ids := n.finish(many)
	n.policy(func(p *Policy) { p.RetainedDrivers = 5 })
	for steps := 0; n.s.Counts().Finished > 5; steps++ {
		left := n.s.Counts().Finished
		n.submit(nil)
		if dropped := left - n.s.Counts().Finished; dropped > forgetAtOnce || dropped == 0 || steps > 10 {
			t.Fatalf("%d of %d dropped at once", dropped, left)
		}
	}
	checkInvariants(t, n.s)
	for i, id := range ids {
		if _, found := n.s.Driver(id); found != (i >= many-5) {
			t.Errorf("driver %d found: %v", i, found)
		}
	}
}

func TestAMuchShorterWindowOfRequestsIsReachedInSteps(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.MaxDrivers = 3 * forgetAtOnce })
	for range 2*forgetAtOnce + 100 {
		n.submit(nil)
	}
	for _, want := range []int{1100, 100, 7, 7} {
		n.policy(func(p *Policy) { p.DedupWindow, p.MaxDrivers = 7, p.MaxDrivers+1 })
		if got := n.s.t.requests.Len(); got != want || n.s.t.reqOrder.Len() != want {
			t.Errorf("%d requests are remembered, want %d", got, want)
		}
	}
}

// One finished driver more than a large limit does not drop thousands.
func TestALargeLimitIsKeptByFewAtATime(t *testing.T) {
	n := subscribed(t)
	const limit = 20 * forgetAtOnce
	n.policy(func(p *Policy) { p.RetainedDrivers = limit })
	n.finish(limit + 1)
	if got := n.s.Counts().Finished; got != limit+1-forgetAtOnce {
		t.Errorf("%d kept", got)
	}
}

func TestAKilledQueuedDriverLeavesARecord(t *testing.T) {
	n := subscribed(t)
	id := n.submit(nil)
	n.now += 5
	n.kill(id)
	d := n.driver(id)
	if d.State != DriverKilled || d.FinishedMs != n.now || d.Reason != "asked" || d.Current() != nil || d.LastStatus() != nil {
		t.Errorf("%+v", d)
	}
}

func TestAttemptsAreKeptUpToTheLimit(t *testing.T) {
	n := subscribed(t)
	id := n.submit(func(c *fsmpb.SubmitDriver) { c.Supervise = true })
	const more = 20
	for range maxAttempts + more {
		n.status(n.launch(id), TaskFailed)
	}
	d := n.driver(id)
	if len(d.Attempts) != maxAttempts || d.AttemptsForgotten != more || d.Attempts[0].Number != 0 ||
		d.Attempts[1].Number != more+1 || d.Current().Number != maxAttempts+more-1 {
		t.Errorf("%d attempts, %d forgotten", len(d.Attempts), d.AttemptsForgotten)
	}
	if r := n.status(TaskID(id, 5), TaskRunning); Code(r.Code) != CodeStale || !r.Kill {
		t.Errorf("a forgotten attempt that runs: %v", r)
	}
	checkInvariants(t, n.s)
	checkInvariants(t, restored(t, snapshot(t, n.s)))
}
