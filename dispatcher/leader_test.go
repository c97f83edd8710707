package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func TestOffersAreDeclinedAndSuppressedWhileNothingWaits(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) {
		c.RejectOffer, c.SuppressAfter = 77*time.Second, 5*time.Millisecond
	})
	m := s.subscribed()
	s.offers(m, "o1")
	if c := s.want(m, "DECLINE"); c.refuse != 77*time.Second || c.ids[0] != "o1" {
		t.Errorf("%+v", c)
	}
	s.want(m, "SUPPRESS")
	s.quiet(m, "SUPPRESS", "REVIVE")
	id := s.submit(nil)
	s.want(m, "REVIVE")
	s.quiet(m, "REVIVE")
	s.offers(m, "o2")
	if c := s.want(m, "ACCEPT"); c.ids[0] != id {
		t.Errorf("%+v", c)
	}
}

func TestReviveOncePerNewNeed(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	s.offers(m, "o1")
	s.want(m, "DECLINE")
	s.submit(map[string]string{"spark.driver.cores": "100"})
	s.want(m, "REVIVE")
	s.offers(m, "o2") // of no use
	s.want(m, "DECLINE")
	s.quiet(m, "REVIVE") // the same offer would come again
	s.submit(nil)
	s.want(m, "REVIVE")
}

// Two drivers fall due one after the other, and each one gets its revival: the
// offers that came for the first were declined for two minutes.
func TestEachDueRetryRevives(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	var ids []string
	for range 2 {
		id := s.submit(map[string]string{"spark.driver.supervise": "true"})
		s.offers(m, "o"+id)
		s.want(m, "ACCEPT")
		s.update(m, id, mesos.TASK_FAILED, "u"+id)
		s.in(id, fsm.DriverRetrying)
		s.offers(m, "p"+id)
		s.want(m, "DECLINE")
		time.Sleep(100 * time.Millisecond) // apart from each other
		ids = append(ids, id)
	}
	for _, id := range ids {
		s.want(m, "REVIVE")
		s.offers(m, "q"+id)
		if c := s.want(m, "ACCEPT"); c.ids[0] != fsm.TaskID(id, 1) {
			t.Errorf("%+v, want %s", c, id)
		}
	}
}

func TestIntentBeforeAcceptAndCommitBeforeAcknowledge(t *testing.T) {
	s := newStage(t, nil)
	s.onCall = func(c call) error {
		switch c.name {
		case "ACCEPT":
			if d, _ := s.state.Driver(c.ids[0]); d.State != fsm.DriverLaunching || d.Current().TaskID != c.ids[0] {
				t.Errorf("ACCEPT without an intent: %+v", d)
			}
		case "ACKNOWLEDGE":
			if d, _ := s.state.Driver(c.ids[0]); d.Current().Last == nil {
				t.Errorf("ACKNOWLEDGE of what is not committed: %+v", d)
			}
		}
		return nil
	}
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	for _, st := range []mesos.TaskState{mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED} {
		s.update(m, id, st, st.String())
		s.want(m, "ACKNOWLEDGE")
	}
	s.in(id, fsm.DriverFinished)
}

func TestFailedAccept(t *testing.T) {
	fails := func(kind error) func(call) error {
		done := false
		return func(c call) error {
			if c.name != "ACCEPT" || done {
				return nil
			}
			done = true
			return &mesosutil.CallError{Call: "ACCEPT", Kind: kind}
		}
	}
	t.Run("surely not taken", func(t *testing.T) {
		s := newStage(t, nil)
		m := s.subscribed()
		s.onCall = fails(mesosutil.ErrMasterGone)
		id := s.submit(nil)
		s.offers(m, "o")
		if c := s.want(m, "DECLINE"); c.ids[0] != "o" { // Mesos still counts it as ours
			t.Errorf("%+v", c)
		}
		if d := s.in(id, fsm.DriverQueued); !d.Attempts[0].Dropped {
			t.Errorf("%+v", d.Attempts[0])
		}
		s.want(m, "REVIVE")
		s.offers(m, "p")
		if c := s.want(m, "ACCEPT"); c.ids[0] != fsm.TaskID(id, 1) {
			t.Errorf("%+v", c)
		}
	})
	t.Run("nobody knows", func(t *testing.T) {
		s := newStage(t, nil)
		m := s.subscribed()
		s.onCall = fails(mesosutil.ErrCallOutcomeUnknown)
		id := s.submit(nil)
		s.offers(m, "o")
		next := s.session() // the fence
		<-m.done
		s.in(id, fsm.DriverLaunching)
		next.events <- mesosutil.EventSubscribed{FrameworkID: "fw"}
		if c := s.want(next, "RECONCILE"); len(c.ids) != 1 || c.ids[0] != id {
			t.Errorf("%+v", c)
		}
		s.update(next, id, mesos.TASK_RUNNING, "")
		s.in(id, fsm.DriverRunning)
	})
}

// What an ACCEPT of a plan that was cut short leaves over is wanted back at once.
func TestMoreDriversThanOnePlanHolds(t *testing.T) {
	s, m := crowded(t, 4100)
	all := func(id string) mesosutil.EventOffers {
		return mesosutil.EventOffers{Offers: []mesos.Offer{offer(id, "agent", scalars(1000, 1e7)...)}}
	}
	m.events <- all("o1")
	if c := s.want(m, "ACCEPT"); len(c.ids) != 4096 || c.refuse != 0 {
		t.Errorf("%d tasks, the rest refused for %v", len(c.ids), c.refuse)
	}
	m.events <- all("o2")
	if c := s.want(m, "ACCEPT"); len(c.ids) != 4 || c.refuse == 0 {
		t.Errorf("%d tasks, the rest refused for %v", len(c.ids), c.refuse)
	}
}

// The offer goes while its intent is being committed: Mesos' driver refuses the
// ACCEPT without sending it, and the launch is taken back.
func TestRescindedOfferIsNotUsed(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	s.onCall = func(c call) error {
		if c.name == "ACCEPT" && len(c.ids) == 1 && !strings.Contains(c.ids[0], "-retry-") {
			return &mesosutil.CallError{Call: "ACCEPT", Kind: mesosutil.ErrStaleOffer}
		}
		return nil
	}
	id := s.submit(nil)
	s.offers(m, "o1")
	s.want(m, "REVIVE")
	s.offers(m, "o2")
	if c := s.want(m, "ACCEPT"); c.ids[0] != fsm.TaskID(id, 1) {
		t.Errorf("%+v", c)
	}
}

func TestDeclineIsRepeatedUntilItSucceeds(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	n := 0
	s.onCall = func(c call) error {
		if c.name == "DECLINE" {
			if n++; n < 3 {
				return errBroken
			}
		}
		return nil
	}
	s.offers(m, "o")
	if c := s.want(m, "DECLINE"); len(c.ids) != 1 || c.ids[0] != "o" {
		t.Errorf("%+v", c)
	}
}

func TestKillIsRepeatedUntilTheTaskIsOver(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	s.update(m, id, mesos.TASK_RUNNING, "u1")
	s.in(id, fsm.DriverRunning)
	if _, err := s.svc.Kill(t.Context(), id, dispatcher.Request{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if c := s.want(m, "KILL"); c.ids[0] != id || c.agent != "agent" {
			t.Errorf("%+v", c)
		}
	}
	s.update(m, id, mesos.TASK_KILLED, "u2")
	s.in(id, fsm.DriverKilled)
	s.want(m, "ACKNOWLEDGE")
	for len(m.calls) > 0 {
		<-m.calls
	}
	s.quiet(m, "KILL")
}

func TestKillDoesNotOvertakeItsAccept(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	accepting := make(chan struct{})
	var accepted bool
	s.onCall = func(c call) error {
		switch c.name {
		case "ACCEPT":
			close(accepting)
			<-hold
			accepted = true
		case "KILL":
			if !accepted {
				t.Error("KILL before ACCEPT")
			}
		}
		return nil
	}
	id := s.submit(nil)
	s.offers(m, "o")
	<-accepting
	if _, err := s.svc.Kill(t.Context(), id, dispatcher.Request{}); err != nil {
		t.Fatal(err)
	}
	s.quiet(m, "KILL")
	release()
	s.want(m, "KILL")
}

func TestStrayTaskIsKilledUntilItEnds(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	s.update(m, id, mesos.TASK_LOST, "u1") // an unsupervised driver is over
	s.in(id, fsm.DriverLost)
	s.update(m, id, mesos.TASK_RUNNING, "u2") // and yet it runs
	for range 2 {
		if c := s.want(m, "KILL"); c.ids[0] != id {
			t.Errorf("%+v", c)
		}
	}
	s.update(m, id, mesos.TASK_KILLED, "u3")
	for s.want(m, "ACKNOWLEDGE"); len(m.calls) > 0; {
		<-m.calls
	}
	s.quiet(m, "KILL")
}

func TestUnknownTaskIsAcknowledgedAndLeftAlone(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	s.update(m, "somebody's task \xff", mesos.TASK_RUNNING, "u")
	s.want(m, "ACKNOWLEDGE")
	s.quiet(m, "KILL")
}

func TestSilentLaunchIsAskedAbout(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.LaunchQuiet = 20 * time.Millisecond })
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	for range 3 { // again and again
		c := s.want(m, "RECONCILE")
		for len(c.ids) == 0 {
			c = s.want(m, "RECONCILE") // the implicit one
		}
		if c.ids[0] != id {
			t.Errorf("%+v", c)
		}
	}
	reason := mesos.REASON_RECONCILIATION
	state := mesos.TASK_GONE
	m.events <- mesosutil.EventUpdate{Status: mesos.TaskStatus{TaskID: mesos.TaskID{Value: id}, State: &state, Reason: &reason}}
	s.in(id, fsm.DriverQueued)
}

// A log that does not answer must not keep a deposed leader from going.
func TestRevokeWhileTheLogHangs(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	id := s.submit(nil)
	asked := make(chan struct{}, 10)
	s.log.set(func(ctx context.Context) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, nil)
	s.offers(m, "o")
	<-asked
	s.update(m, id, mesos.TASK_RUNNING, "u")
	<-asked
	revoked := make(chan struct{})
	go func() {
		s.leader.Revoke()
		close(revoked)
	}()
	select {
	case <-revoked:
	case <-time.After(10 * time.Second):
		t.Fatal("Revoke hangs")
	}
	if st := s.leader.Status(); st.Leading {
		t.Errorf("%+v", st)
	}
}

// An intent or a status that may or may not be committed ends the session at
// once, and the next one starts from the state.
func TestUnknownOutcomeInTheLoops(t *testing.T) {
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprintf("carried out=%v", done), func(t *testing.T) {
			s := newStage(t, func(c *dispatcher.Config) { c.Resubscribe = time.Hour })
			m := s.subscribed()
			id := s.submit(nil)
			if done {
				s.log.set(nil, func() error { return raftstore.ErrOutcomeUnknown })
			} else {
				s.log.set(func(context.Context) error { return raftstore.ErrOutcomeUnknown }, nil)
			}
			s.offers(m, "o")
			<-m.done
			s.log.set(nil, nil)
			next := s.session()
			next.events <- mesosutil.EventSubscribed{FrameworkID: "fw"}
			c := s.want(next, "RECONCILE")
			if done != (len(c.ids) == 1) {
				t.Errorf("asked about %q", c.ids)
			}
			if done {
				reason, state := mesos.REASON_RECONCILIATION, mesos.TASK_GONE
				next.events <- mesosutil.EventUpdate{Status: mesos.TaskStatus{TaskID: mesos.TaskID{Value: id}, State: &state, Reason: &reason}}
			}
			s.offers(next, "p")
			for { // what falls due later revives
				select {
				case c := <-next.calls:
					if c.name == "REVIVE" {
						s.offers(next, "again")
					}
					if c.name == "ACCEPT" {
						return
					}
				case <-time.After(10 * time.Second):
					t.Fatal("never launched")
				}
			}
		})
	}
}

func TestStatusThatWasNotCommittedIsNotAcknowledged(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	id := s.submit(nil)
	s.offers(m, "o")
	s.want(m, "ACCEPT")
	s.log.set(func(context.Context) error { return raftstore.ErrNoLeader }, nil)
	s.update(m, id, mesos.TASK_RUNNING, "u")
	<-m.done
	s.log.set(nil, nil)
	for len(m.calls) > 0 {
		if c := <-m.calls; c.name == "ACKNOWLEDGE" {
			t.Errorf("%+v", c)
		}
	}
	next := s.subscribed()
	s.update(next, id, mesos.TASK_RUNNING, "u")
	s.want(next, "ACKNOWLEDGE")
}

// A Mesos that does not answer costs one timeout for a batch, not one for each
// of its updates.
func TestAcknowledgementsStopWhenMesosIsAway(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	var tried, away = make(chan string, 100), make(chan bool, 100)
	s.onCall = func(c call) error {
		if c.name != "ACKNOWLEDGE" {
			return nil
		}
		tried <- c.ids[0]
		if <-away {
			return &mesosutil.CallError{Call: "ACKNOWLEDGE", Kind: mesosutil.ErrCallOutcomeUnknown}
		}
		return nil
	}
	s.update(m, "t0", mesos.TASK_RUNNING, "u0")
	<-tried // the next ones gather meanwhile
	for i := range 20 {
		s.update(m, fmt.Sprint("t", i+1), mesos.TASK_RUNNING, "u")
	}
	s.until("all updates to be read", func() bool { return len(m.events) == 0 })
	away <- false
	<-tried
	away <- true
	away <- false
	s.update(m, "last", mesos.TASK_RUNNING, "u")
	n := 1
	for task := range tried {
		if task == "last" {
			break
		}
		n++
		away <- false
	}
	if n > 3 { // the pump may have had one in hand
		t.Errorf("%d of 20 were tried", n)
	}
}

// In the moment between the end of a leadership and the news of it, the log would
// hand a command on to the next leader.
func TestDeposedLeaderProposesNothing(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	id := s.submit(nil)
	s.log.mu.Lock()
	s.log.term = 2
	s.log.mu.Unlock()
	s.offers(m, "o")
	<-m.done
	if d, _ := s.state.Driver(id); d.State != fsm.DriverQueued {
		t.Errorf("%+v", d)
	}
}

func TestDeposedLeaderDoesNotTakeTheSubscriptionBack(t *testing.T) {
	s := newStage(t, func(c *dispatcher.Config) { c.Resubscribe = time.Hour })
	m := s.subscribed()
	s.log.deposed()
	m.end <- mesosutil.ErrFailedOver
	<-m.done
	select {
	case next := <-s.sessions:
		if next.gate(t.Context()) == nil {
			t.Error("subscribes again, and its gate is open")
		}
	case <-time.After(50 * time.Millisecond):
	}
}

func TestRemovedFrameworkNeedsAnOperator(t *testing.T) {
	s := newStage(t, nil)
	m := s.subscribed()
	m.end <- fmt.Errorf("%w: gone", mesosutil.ErrFrameworkRemoved)
	s.until("REMOVED", func() bool { return s.state.Framework().State == fsm.FrameworkRemoved })
	s.until("a status that names the verb", func() bool {
		err := s.leader.Status().Err
		return err != nil && strings.Contains(err.Error(), "reset-framework")
	})
	if len(s.sessions) > 0 {
		t.Error("subscribed again without being told to")
	}
	if err := s.svc.ResetFramework(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next := s.session(); next.frameworkID != "" {
		t.Errorf("subscribes as %s", next.frameworkID)
	}
}
