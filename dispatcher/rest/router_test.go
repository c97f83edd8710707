package rest

import (
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Whenever a stream begins, and wherever: it gets each change of its application
// once and in order, beside changes of others and other streams.
func TestTheRouterHandsOutEachChangeOnce(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	h.app(t, "b", 1)
	r := newRouter(h.Feed)
	t.Cleanup(func() { r.stop(); r.wait() })
	want := func(id string, i int) {
		h.apply("", fsm.NumberSetTotals, &fsmpb.SetTotals{AppId: id, Totals: []*fsm.ProfileTotal{{Total: int64(i)}}})
	}
	const changes = 600
	var streams sync.WaitGroup
	for i := range changes {
		want("a", i)
		want("b", i)
		if i%20 != 0 {
			continue
		}
		from := h.state.Feed().Next() - uint64(i%40) // some begin in the past
		sub := r.subscribe("a")
		streams.Go(func() {
			defer sub.close()
			deadline := time.After(20 * time.Second)
			next, last := from, int64(-1)
			for last != changes-1 {
				got, lost, wake := sub.Since(next, 7)
				for _, c := range got {
					next = c.Number + 1
					if c.ID != "a" {
						continue
					}
					total := c.App.Total(0)
					if last >= 0 && total != last+1 || c.Number < from {
						t.Errorf("change %d of a stream from %d: total %d behind %d", c.Number, from, total, last)
					}
					last = total
				}
				if lost {
					t.Error("changes are lost")
					return
				}
				if len(got) > 0 {
					continue
				}
				if p := sub.position(next); p < next || p > h.state.Feed().Next() {
					t.Errorf("position %d at %d", p, next)
				}
				select {
				case <-wake:
				case <-deadline:
					t.Errorf("a stream from %d stands at %d of %d", from, next, h.state.Feed().Next())
					return
				}
			}
		})
	}
	streams.Wait()
	if len(r.subs) != 0 {
		t.Errorf("%d applications are still subscribed to", len(r.subs))
	}
}

func TestAStreamThatIsTooSlowStartsAnew(t *testing.T) {
	h := newHost()
	h.app(t, "a", 1)
	r := newRouter(h.Feed)
	t.Cleanup(func() { r.stop(); r.wait() })
	sub := r.subscribe("a")
	next := h.state.Feed().Next()
	for i := range maxQueue + 10 {
		h.apply("", fsm.NumberSetTotals, &fsmpb.SetTotals{AppId: "a", Totals: []*fsm.ProfileTotal{{Total: int64(i)}}})
	}
	eventually(t, "it is told", func() bool { _, lost, _ := sub.Since(next, 1); return lost })
	next = h.state.Feed().Next()
	h.launch("a")
	eventually(t, "it goes on", func() bool {
		changes, lost, _ := sub.Since(next, 1)
		return !lost && len(changes) == 1 && changes[0].Executor != nil
	})
}

func TestARouterThatIsStoppedStartsNothing(t *testing.T) {
	r := newRouter(newHost().Feed)
	r.stop()
	r.stop()
	r.subscribe("a").close()
	r.wait()
}
