package mesosutil

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

// While the master is cut off, silenced and failed over at random and calls
// come from all sides, events keep their order, every failed call says what it
// was, and the framework keeps its id.
func TestStormKeepsTheDriversPromises(t *testing.T) {
	const rounds = 60
	m := startLocal(t, localmesos.Options{HeartbeatInterval: 20 * time.Millisecond, Agents: 2})
	d := onMesos(t, m.Addr(), "", func(c *DriverConfig) { c.CallTimeout = time.Second })
	first := expect[EventSubscribed](d)
	var subscriptions, offers atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { watchOrder(t, d, first.FrameworkID, stop, &subscriptions, &offers) })
	for range 3 {
		wg.Go(func() { callAround(t, d, stop) })
	}
	for range rounds {
		before := subscriptions.Load()
		switch rand.N(3) {
		case 0:
			m.CutStreams()
		case 1:
			m.Silence(true)
			eventually(t, "the driver notices the silence", func() bool { return subscriptions.Load() > before || !d.Status().Subscribed })
			m.Silence(false)
		case 2:
			if err := m.FailoverMaster(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the driver is back", func() bool { return subscriptions.Load() > before })
	}
	// Offers come again: the storm left none stuck.
	before := offers.Load()
	eventually(t, "new offers", func() bool { _ = d.Revive(bg); return offers.Load() > before })
	close(stop)
	wg.Wait()
}

func watchOrder(t *testing.T, d *running, id string, stop <-chan struct{}, subscriptions, offers *atomic.Int64) {
	open := true
	for {
		var ev Event
		select {
		case ev = <-d.Events():
		case <-stop:
			return
		}
		switch ev := ev.(type) {
		case EventSubscribed:
			if open || ev.FrameworkID != id || !ev.Resubscribed {
				t.Errorf("%+v, while subscribed: %v", ev, open)
			}
			open = true
			subscriptions.Add(1)
		case EventDisconnected:
			if !open || ev.Err == nil {
				t.Errorf("%+v, while subscribed: %v", ev, open)
			}
			open = false
		case EventOffers:
			if !open {
				t.Error("offers outside of a subscription")
			}
			for i := range ev.Offers {
				checkCall(t, d.Decline(bg, []string{ev.Offers[i].ID.Value}, 0))
			}
			offers.Add(1)
		case nil:
			t.Errorf("Run ended: %v", <-d.done)
			return
		}
	}
}

func callAround(t *testing.T, d *running, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond):
		}
		checkCall(t, d.Revive(bg))
		checkCall(t, d.Reconcile(bg, nil))
		if err := d.Accept(bg, []string{"never-offered"}, taskNamed("n"), 0); !errors.Is(err, ErrStaleOffer) && !errors.Is(err, ErrNotSubscribed) {
			t.Errorf("an offer that never was: %v", err)
		}
	}
}

func checkCall(t *testing.T, err error) {
	var call *CallError
	if err != nil && (!errors.As(err, &call) || call.Kind == nil || errors.Is(err, ErrCallRejected) || errors.Is(err, ErrUnauthorized)) {
		t.Errorf("unexpected end of a call: %v", err)
	}
}
