package dispatcher_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// crowded is a stage with many drivers that wait.
func crowded(t *testing.T, drivers int) (*stage, *scriptedMesos) {
	s := newStage(t, func(c *dispatcher.Config) {
		c.Policy = fsm.DefaultPolicy()
		c.Policy.MaxDrivers = 10_000
	})
	m := s.subscribed()
	for range drivers {
		s.submit(map[string]string{"spark.driver.cores": "0.1"})
	}
	return s, m
}

// rooms are offers of as many agents, each with room for so many drivers.
func rooms(agents int, drivers float64) mesosutil.EventOffers {
	var out mesosutil.EventOffers
	for i := range agents {
		out.Offers = append(out.Offers, offer(fmt.Sprintf("o%d", i), fmt.Sprintf("agent%d", i), scalars(drivers*0.1, 1e6)...))
	}
	return out
}

// handedOut waits until the events sent before have come to the placer.
func handedOut(m *scriptedMesos) {
	for range 2 { // when the second is taken, the ones before it are dealt with
		m.events <- mesosutil.EventFailure{ExecutorID: "x"}
		for len(m.events) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// during calls f before the first ACCEPT is answered.
func during(s *stage, f func()) {
	first := true
	s.onCall = func(c call) error {
		if c.name == "ACCEPT" && first {
			first = false
			f()
		}
		return nil
	}
}

// A plan is one decision and several log entries. Every agent gets one ACCEPT
// with all of its drivers: what an ACCEPT leaves over comes back only later.
func TestPlanOfSeveralLogEntries(t *testing.T) {
	s, m := crowded(t, 900)
	m.events <- rooms(9, 100)
	for range 9 {
		if c := s.want(m, "ACCEPT"); len(c.ids) != 100 || c.refuse == 0 {
			t.Errorf("%d tasks, the rest refused for %v", len(c.ids), c.refuse)
		}
	}
	if c := s.state.Counts(); c.Waiting != 0 || c.Active != 900 {
		t.Errorf("%+v", c)
	}
}

func TestOfferRescindedWhileThePlanIsCarriedOut(t *testing.T) {
	s, m := crowded(t, 900)
	during(s, func() {
		m.events <- mesosutil.EventRescind{OfferID: "o7"}
		handedOut(m)
	})
	m.events <- rooms(9, 100)
	for range 8 {
		if c := s.want(m, "ACCEPT"); slices.Contains(c.used, "o7") {
			t.Error("a rescinded offer was used")
		}
	}
	s.until("the drivers of that offer to wait", func() bool { return s.state.Counts().Waiting == 100 })
	s.want(m, "REVIVE")
	m.events <- mesosutil.EventOffers{Offers: []mesos.Offer{offer("again", "agent7", scalars(10, 1e6)...)}}
	if c := s.want(m, "ACCEPT"); len(c.ids) != 100 {
		t.Errorf("%d tasks", len(c.ids))
	}
}

// The rest of a plan whose subscription is gone launches nothing, and nothing of
// it has to be taken back.
func TestSubscriptionLostWhileThePlanIsCarriedOut(t *testing.T) {
	s, m := crowded(t, 900)
	during(s, func() {
		m.events <- mesosutil.EventDisconnected{Err: fmt.Errorf("gone")}
		handedOut(m)
	})
	m.events <- rooms(9, 100)
	s.until("the framework to be disconnected", func() bool { return s.state.Framework().State == fsm.FrameworkDisconnected })
	m.events <- mesosutil.EventSubscribed{FrameworkID: "fw"}
	s.want(m, "RECONCILE")
	if c := s.state.Counts(); c.Active != 200 || c.Waiting != 700 { // one log entry
		t.Errorf("%+v", c)
	}
	again := rooms(7, 100)
	for i := range again.Offers {
		again.Offers[i].ID.Value += "-again" // Mesos gives no id twice
	}
	m.events <- again
	s.until("all to be launched", func() bool { return s.state.Counts().Waiting == 0 })
}

func TestOfferThatComesWhileThePlanIsCarriedOutIsAnswered(t *testing.T) {
	s, m := crowded(t, 300)
	during(s, func() {
		m.events <- mesosutil.EventOffers{Offers: []mesos.Offer{offer("late", "another", scalars(10, 1e6)...)}}
		handedOut(m)
	})
	m.events <- rooms(2, 100)
	for range 2 {
		s.want(m, "ACCEPT")
	}
	if c := s.want(m, "ACCEPT"); len(c.ids) != 100 || !slices.Equal(c.used, []string{"late"}) {
		t.Errorf("%d tasks on %v", len(c.ids), c.used)
	}
}

// While agents are held and nothing else is offered the queue, which may be long,
// is not looked through for each event. The end of a hold's driver is one for
// which it is.
func TestHeldAgentIsFreeWhenItsDriverIsKilled(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.HoldAfter, c.HoldFor = time.Millisecond, time.Hour })
	m := s.subscribed()
	large := s.submit(map[string]string{"spark.driver.cores": "100"})
	time.Sleep(2 * time.Millisecond) // the clock of HoldAfter
	s.offers(m, "held")
	handedOut(m)
	small := s.submit(nil)
	s.quiet(m, "ACCEPT", "DECLINE") // the agent is held, and not for this one
	if _, err := s.svc.Kill(t.Context(), large, dispatcher.Request{}); err != nil {
		t.Fatal(err)
	}
	if c := s.want(m, "ACCEPT"); c.ids[0] != small || c.used[0] != "held" {
		t.Errorf("%+v", c)
	}
}
