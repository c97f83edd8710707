package fsm

import (
	"bytes"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func waitingIDs(s *State) (ids []string) {
	s.View().Waiting(func(d *Driver) bool {
		ids = append(ids, d.ID)
		return true
	})
	return ids
}

func TestTheQueueRunsByPriorityThenByAcceptance(t *testing.T) {
	n := subscribed(t) // the clock stands still: all of the same millisecond (SPARK-40902)
	n.policy(func(p *Policy) { p.MaxDrivers = 1000 })
	var want [3][]string
	for i := range 300 {
		p := i % 3
		id := n.submit(func(c *fsmpb.SubmitDriver) { c.Priority = []float64{1.5, 0, -2}[p] })
		want[p] = append(want[p], id)
	}
	all := fmt.Sprint(append(append(want[0], want[1]...), want[2]...))
	if got := fmt.Sprint(waitingIDs(n.s)); got != all {
		t.Errorf("queue is %s\nwant %s", got, all)
	}
	if got := fmt.Sprint(waitingIDs(restored(t, snapshot(t, n.s)))); got != all {
		t.Errorf("queue after a restore is %s", got)
	}
}

func TestAViewNeverChangesWhileApplyGoesOn(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.MaxDrivers, p.DedupWindow, p.RetainedDrivers = 1<<30, 500, 300 })
	for range 200 {
		n.submit(nil)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 10_000 {
		if i%1000 == 0 {
			v := n.s.View()
			want := snapshotOf(v)
			wg.Go(func() {
				for range 2 {
					if !bytes.Equal(want, snapshotOf(v)) {
						t.Error("a view changed")
					}
				}
			})
		}
		switch id := fmt.Sprintf("driver-%04d", i/4+1); i % 4 {
		case 0:
			n.submit(supervised)
		case 1:
			n.launch(id)
		case 2:
			n.status(id, TaskRunning)
		default:
			n.status(id, TaskFinished)
		}
	}
	checkInvariants(t, n.s)
}

func snapshotOf(v *View) []byte {
	var b bytes.Buffer
	if _, err := v.WriteTo(&b); err != nil {
		panic(err)
	}
	v.Release()
	return b.Bytes()
}

func TestPagesOfAViewMissAndRepeatNothing(t *testing.T) {
	n := subscribed(t)
	var want []string
	for range 25 {
		want = append(want, n.submit(nil))
	}
	v := n.s.View()
	var forward, backward []string
	for seq, more := uint64(0), true; more; {
		more = false
		v.After(seq, func(d *Driver) bool {
			forward, seq, more = append(forward, d.ID), d.Seq, true
			return len(forward)%4 != 0
		})
	}
	for seq, more := uint64(0), true; more; {
		more = false
		v.Before(seq, func(d *Driver) bool {
			backward, seq, more = append([]string{d.ID}, backward...), d.Seq, true
			return len(backward)%4 != 0
		})
	}
	if fmt.Sprint(forward) != fmt.Sprint(want) || fmt.Sprint(backward) != fmt.Sprint(want) {
		t.Errorf("forward %v\nbackward %v", forward, backward)
	}
	v.After(math.MaxUint64, func(d *Driver) bool { t.Errorf("%s is behind the end", d.ID); return true })
	v.After(25, func(d *Driver) bool { t.Errorf("%s is behind the end", d.ID); return true })
	v.Before(1, func(d *Driver) bool { t.Errorf("%s is ahead of the first", d.ID); return true })
	seen := 0
	v.Before(math.MaxUint64, func(*Driver) bool { seen++; return true })
	if seen != 25 {
		t.Errorf("%d drivers ahead of the end", seen)
	}
}

func TestRetriesAndFinishedDriversAreVisitedInOrder(t *testing.T) {
	n := subscribed(t)
	var late, early string
	for range 2 {
		early = n.submit(supervised)
		if late == "" {
			late = early
			n.now += 5000
			n.status(n.launch(late), TaskFailed)
			n.now -= 5000
			continue
		}
		n.status(n.launch(early), TaskFailed)
	}
	var due []string
	n.s.View().Retrying(func(d *Driver) bool { due = append(due, d.ID); return true })
	if fmt.Sprint(due) != fmt.Sprint([]string{early, late}) {
		t.Errorf("due: %v", due)
	}
	n.kill(late)
	n.kill(early)
	var over []string
	n.s.View().Finished(func(d *Driver) bool { over = append(over, d.ID); return true })
	if fmt.Sprint(over) != fmt.Sprint([]string{early, late}) {
		t.Errorf("finished, the latest first: %v", over)
	}
	if c := n.s.Counts(); c != (Counts{Finished: 2}) {
		t.Errorf("counts %+v", c)
	}
}

func TestFeedGivesWhatIsAskedFor(t *testing.T) {
	n := subscribed(t) // change 1
	for range 9 {
		n.submit(nil)
	}
	f := n.s.Feed()
	for _, c := range []struct {
		since uint64
		limit int
		count int
		lost  bool
	}{
		{1, 0, 10, false}, {1, 3, 3, false}, {8, 100, 3, false}, {10, 0, 1, false}, {11, 0, 0, false},
		{0, 0, 0, true}, {12, 0, 0, true}, {math.MaxUint64, 1, 0, true}, {1, -1, 10, false},
	} {
		changes, lost, wake := f.Since(c.since, c.limit)
		if len(changes) != c.count || lost != c.lost || wake == nil {
			t.Errorf("since %d limit %d: %d changes, lost %v", c.since, c.limit, len(changes), lost)
		}
		for i, ch := range changes {
			if ch.Number != c.since+uint64(i) {
				t.Errorf("change %d has number %d", i, ch.Number)
			}
		}
	}
}

func TestFeedForgetsTheOldestAndSaysSo(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.MaxDrivers = 1 << 30 }) // changes 1 and 2
	f := n.s.Feed()
	for i := range feedLength {
		n.submit(nil)
		if _, lost, _ := f.Since(1, 1); lost != (i+3 > feedLength) {
			t.Fatalf("change 1 of %d is lost: %v", i+3, lost)
		}
	}
	if _, lost, _ := f.Since(2, 0); !lost {
		t.Error("change 2 is said to be kept")
	}
	changes, lost, _ := f.Since(3, 0)
	if lost || len(changes) != feedLength || changes[0].Number != 3 || changes[feedLength-1].Number != feedLength+2 {
		t.Errorf("%d changes kept, lost %v", len(changes), lost)
	}
}

func TestFeedStartsAgainAfterARestore(t *testing.T) {
	n := subscribed(t)
	data := snapshot(t, n.s) // next change is 2
	for range 5 {
		n.submit(nil)
	}
	_, _, wake := n.s.Feed().Since(7, 0)
	if err := n.s.Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	<-wake
	if _, lost, _ := n.s.Feed().Since(7, 0); !lost {
		t.Error("a reader ahead of the restored state is not told")
	}
	if _, lost, _ := n.s.Feed().Since(1, 0); !lost {
		t.Error("a reader behind the restored state is not told")
	}
	n.submit(nil)
	if changes, lost, _ := n.s.Feed().Since(n.s.View().NextChange()-1, 0); lost || len(changes) != 1 || changes[0].Number != 2 {
		t.Errorf("%v, lost %v", changes, lost)
	}
}

// A View is never ahead of the feed: who takes one and goes on at its NextChange
// is not told that something is lost.
func TestReadersOfTheFeedSeeEveryChangeOnce(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.MaxDrivers = 1 << 30 })
	const submissions = 3000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			v := n.s.View()
			next, have := v.NextChange(), v.Len()
			for have < submissions {
				changes, lost, wake := n.s.Feed().Since(next, 7)
				if lost {
					t.Errorf("change %d is lost", next)
					return
				}
				for _, c := range changes {
					if c.Number != next {
						t.Errorf("change %d after %d", c.Number, next-1)
						return
					}
					next++
					have++
				}
				if len(changes) == 0 {
					<-wake
				}
			}
		})
	}
	for range submissions {
		n.submit(nil)
	}
	wg.Wait()
}

// Taking a View copies a fixed number of roots, however many drivers there are.
func TestAViewCostsTheSameWhateverTheSize(t *testing.T) {
	cost := func(drivers int) float64 {
		n := crowd(t, drivers)
		return testing.AllocsPerRun(100, func() { n.s.View() })
	}
	if small, large := cost(10), cost(2_000); small != large {
		t.Errorf("%v allocations with 10 drivers, %v with 2000", small, large)
	}
}
