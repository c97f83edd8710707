package backend

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// fakeTasks is a task scheduler that hands out what a test says and notes what it
// is told.
type fakeTasks struct {
	mu        sync.Mutex
	give      []TaskDescription // those for an agent are handed out when it is offered
	offers    [][]WorkerOffer
	adopted   []Adoption
	updates   []TaskUpdate
	refused   []error
	added     []string
	lost      []string
	errors    []string
	initiated SchedulerBackend
}

func (f *fakeTasks) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

func (f *fakeTasks) Initialize(b SchedulerBackend) { f.note(func() { f.initiated = b }) }
func (f *fakeTasks) ExecutorLost(id, reason string) {
	f.note(func() { f.lost = append(f.lost, id+": "+reason) })
}
func (f *fakeTasks) Error(m string)   { f.note(func() { f.errors = append(f.errors, m) }) }
func (f *fakeTasks) Adopt(a Adoption) { f.note(func() { f.adopted = append(f.adopted, a) }) }
func (f *fakeTasks) ExecutorAdded(id, host string, cores int) {
	f.note(func() { f.added = append(f.added, fmt.Sprint(id, " ", host, " ", cores)) })
}
func (f *fakeTasks) StatusUpdate(u TaskUpdate) { f.note(func() { f.updates = append(f.updates, u) }) }
func (f *fakeTasks) TaskRefused(_ TaskDescription, err error) {
	f.note(func() { f.refused = append(f.refused, err) })
}

func (f *fakeTasks) ResourceOffers(_ context.Context, offers []WorkerOffer) (tasks []TaskDescription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers = append(f.offers, offers)
	f.give = slices.DeleteFunc(f.give, func(t TaskDescription) bool {
		fits := t.ExecutorID == "" || slices.ContainsFunc(offers, func(o WorkerOffer) bool { return o.ExecutorID == t.ExecutorID })
		if fits {
			tasks = append(tasks, t)
		}
		return fits
	})
	return tasks
}

// ends are the terminal states that were told, by task.
func (f *fakeTasks) ends() map[int64][]mesosutil.SparkTaskState {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[int64][]mesosutil.SparkTaskState)
	for _, u := range f.updates {
		if u.State.Finished() {
			out[u.ID] = append(out[u.ID], u.State)
		}
	}
	return out
}

// fineSuite is a fine-grained application on a fake Mesos.
type fineSuite struct {
	*Fine
	*suite
	tasks *fakeTasks
	state *fsm.State
}

func newFineSuite(t testing.TB, change func(*Config), pairs ...string) *fineSuite {
	t.Helper()
	s := &fineSuite{suite: &suite{t: t}, tasks: new(fakeTasks), state: fsm.New()}
	cfg := Config{
		AppID: "app", State: s.state, Log: &soloLog{state: s.state}, Logger: testLogger(), Scheduler: s.tasks,
		Context: Context{AppName: "fine", SparkHome: "/path", WebUIURL: "http://webui", User: "u", Conf: props(pairs...)},
		NewMesos: func(f mesosutil.DriverFramework, _ func(context.Context) error) (Mesos, error) {
			s.mesos = newFakeMesos(f)
			return s.mesos, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Fine, err = NewFine(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *fineSuite) give(tasks ...TaskDescription) {
	s.tasks.note(func() { s.tasks.give = append(s.tasks.give, tasks...) })
}

// run launches a task on a fresh offer of an agent.
func (s *fineSuite) run(id int64, agent string) mesos.TaskInfo {
	s.t.Helper()
	s.give(TaskDescription{ID: id, Name: "task", ExecutorID: "s" + agent, Data: []byte("work")})
	eventually(s.t, "the agent to be used again", func() bool {
		a, found := s.state.App("app")
		return found && a.NotBeforeMs("s"+agent) <= time.Now().UnixMilli()
	})
	o := s.offerAgain(agent, fmt.Sprintf("o%d", id))
	s.offer(o)
	return s.launched(o.ID.Value)[0]
}

// offerAgain is an offer of an agent that names the executor that runs there, if
// one does.
func (s *fineSuite) offerAgain(agent, id string) mesos.Offer {
	o := offerOf(agent, execMem+1024, 8)
	o.ID.Value = id
	if a, _ := s.state.App("app"); a.OnAgent("s"+agent) != nil {
		o.ExecutorIDs = []mesos.ExecutorID{{Value: "s" + agent}}
	}
	return o
}

// status sends a status with a UUID of its own.
func (s *fineSuite) status(id int64, agent string, state mesos.TaskState, change ...func(*mesos.TaskStatus)) mesos.TaskStatus {
	task := strconv.FormatInt(id, 10)
	st := mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, AgentID: &mesos.AgentID{Value: "s" + agent}, State: &state, UUID: []byte(task + state.String())}
	for _, c := range change {
		c(&st)
	}
	s.mesos.events <- mesosutil.EventUpdate{Status: st}
	return st
}

// ended waits for the end of a task to be told.
func (s *fineSuite) ended(id int64, want mesosutil.SparkTaskState) TaskUpdate {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the end of %d", id), func() bool { return len(s.tasks.ends()[id]) > 0 })
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	for _, u := range s.tasks.updates {
		if u.ID == id && u.State.Finished() {
			if u.State != want {
				s.t.Errorf("task %d is told as %s, want %s", id, u.State, want)
			}
			return u
		}
	}
	return TaskUpdate{}
}

func (s *fineSuite) told(what string, list func(*fakeTasks) []string, want ...string) {
	s.t.Helper()
	var got []string
	eventually(s.t, what, func() bool {
		s.tasks.mu.Lock()
		defer s.tasks.mu.Unlock()
		got = slices.Clone(list(s.tasks))
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: %q, want %q", what, got, want)
	}
}
