package testcluster_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

var (
	seed  = flag.Uint64("seed", 0, "of the random faults; 0: a new one")
	steps = flag.Int("steps", 25, "how many random faults")
)

// storm breaks one thing after the other. It never takes more than the minority
// away for good, but may crash everything at once.
type storm struct {
	*testcluster.T
	t    *testing.T
	rand *rand.Rand
}

func (s *storm) any() *testcluster.Node { return s.Node(s.rand.IntN(3)) }

func (s *storm) step() string {
	n := s.any()
	switch s.rand.IntN(12) {
	case 0, 1:
		n.Crash()
		return "crash " + n.ID
	case 2:
		ctx, cancel := context.WithTimeout(s.Ctx(), time.Second)
		defer cancel()
		if leader, err := s.WaitLeader(ctx); err == nil {
			leader.Crash()
			return "crash the leader " + leader.ID
		}
		return "no leader to crash"
	case 3:
		n.Isolate()
		return "isolate " + n.ID
	case 4:
		m := s.any()
		s.Cut(n, m)
		return "cut " + n.ID + " from " + m.ID
	case 5:
		n.CutMesos()
		return "cut " + n.ID + " from mesos"
	case 6:
		n.SilenceMesos()
		return "silence mesos for " + n.ID
	case 7:
		s.Do(s.Mesos.FailoverMaster(s.Ctx()))
		return "fail over mesos"
	case 8:
		n.SlowDisk(time.Duration(s.rand.IntN(20)) * time.Millisecond)
		return "slow disk of " + n.ID
	case 9:
		for _, n := range s.Nodes() {
			n.Crash()
		}
		return "crash all"
	case 10:
		places := []string{dispatcher.FailSubmitted, dispatcher.FailIntentCommitted, dispatcher.FailAccepted,
			dispatcher.FailStatusReceived, dispatcher.FailStatusCommitted, dispatcher.FailKillCommitted}
		place := places[s.rand.IntN(len(places))]
		s.Arm(place, testcluster.CrashThere)
		return "trap at " + place
	}
	agents := s.Mesos.Agents()
	a := agents[s.rand.IntN(len(agents))].ID
	s.Do(s.Mesos.DisconnectAgent(a))
	s.Do(s.Mesos.ReturnAgent(a))
	return "an agent reconnects"
}

// heal brings everything back.
func (s *storm) heal() {
	s.Heal()
	for _, n := range s.Nodes() {
		n.HealDisk()
		if !n.Up() {
			if err := n.Start(s.Ctx()); err != nil {
				s.t.Logf("start: %v", err) // a trap may have caught it at once
			}
		}
	}
}

// client submits, and sometimes kills, until stop.
func (s *storm) client(id int, r *rand.Rand, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(60)) * time.Millisecond):
		}
		key := fmt.Sprintf("c%d-%d", id, i)
		sub := testcluster.Submission{Key: key, Command: s.Journal.For(key, time.Duration(r.IntN(300))*time.Millisecond, 0)}
		if r.IntN(2) == 0 {
			sub.Idempotency = key
		}
		for {
			a := s.any3(r).Submit(s.Ctx(), sub)
			if a.Outcome == testcluster.Acked {
				if r.IntN(5) == 0 {
					s.any3(r).Kill(s.Ctx(), a.SubmissionID)
				}
				break
			}
			if sub.Idempotency == "" {
				break
			}
			select { // a keyed one is repeated until its outcome is known
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

func (s *storm) any3(r *rand.Rand) *testcluster.Node { return s.Node(r.IntN(3)) }

// TestRandomFaults: clients go on while things break at random; in the end
// everything must agree. Repeat one with -seed.
func TestRandomFaults(t *testing.T) {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d -steps=%d", n, *steps)
	s := &storm{t: t, rand: rand.New(rand.NewPCG(n, 1)), T: testcluster.New(t, testcluster.Options{
		Memory: n%2 == 0,
		Tune: func(_ string, d *dispatcher.Config, r *raftstore.Config) {
			d.SubmitWait = 2 * time.Second
			r.SnapshotThreshold, r.SnapshotInterval, r.TrailingLogs = 50, 200*time.Millisecond, 20
		},
	})}
	s.Ready()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for id := range 3 {
		r := rand.New(rand.NewPCG(n, uint64(100+id)))
		clients.Go(func() { s.client(id, r, stop) })
	}
	for i := range *steps {
		what := s.step()
		t.Logf("step %d: %s", i, what)
		time.Sleep(time.Duration(s.rand.IntN(200)) * time.Millisecond)
		if s.rand.IntN(2) == 0 {
			s.heal()
		}
	}
	close(stop)
	clients.Wait()
	s.DisarmAll()
	s.heal()
	s.settle()
	s.Consistent()
	s.count()
}

// settle waits until every driver is over.
func (s *storm) settle() {
	leader := s.Ready()
	s.Do(leader.WaitState(s.Ctx(), "all drivers to end", func(st *fsm.State) bool {
		c := st.Counts()
		return c.Waiting+c.Active+c.Retrying == 0
	}))
	s.Acknowledged()
}

func (s *storm) count() {
	st, err := s.Running()[0].State()
	s.Do(err)
	states := make(map[fsm.DriverState]int)
	attempts := 0
	st.View().Finished(func(d *fsm.Driver) bool {
		states[d.State]++
		attempts += len(d.Attempts)
		if d.State != fsm.DriverFinished && d.State != fsm.DriverKilled {
			s.t.Errorf("%s (%s) is %s: %s", d.ID, d.Name, d.State, d.Reason)
		}
		return true
	})
	outcomes := make(map[testcluster.Outcome]int)
	for _, r := range s.History.Records() {
		outcomes[r.Outcome]++
	}
	s.t.Logf("requests %v, drivers %v in %d attempts", outcomes, states, attempts)
}
