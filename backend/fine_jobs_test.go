package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// executorEnv makes a process of this test an executor: the directory in which it
// notes each task that it begins.
const executorEnv = "BACKEND_TEST_EXECUTOR"

// notes is the runner of that executor. The data of a task is how long it takes.
type notes string

func (dir notes) Run(ctx context.Context, t *executor.Task) executor.Result {
	f, err := os.OpenFile(filepath.Join(string(dir), t.ID()), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return executor.Result{State: mesos.TASK_FAILED, Message: err.Error()}
	}
	fmt.Fprintln(f, os.Getpid())
	f.Close()
	t.Running()
	d, _ := time.ParseDuration(string(t.Info.Data))
	if !sleep(ctx, d) {
		return executor.Result{State: mesos.TASK_KILLED}
	}
	return executor.Result{State: mesos.TASK_FINISHED, Data: []byte("result of " + t.ID())}
}

func runExecutor(dir string) int {
	cfg, err := mesosutil.ExecutorConfigFromEnv(os.Getenv)
	if err == nil {
		err = executor.Run(context.Background(), executor.Config{Mesos: cfg}, notes(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// jobs is an application that has some jobs done, and keeps account of them
// elsewhere than in a node. One that is lost is done again, as another task.
type jobs struct {
	t testing.TB

	mu      sync.Mutex
	todo    []string       // how long each of them takes
	tasks   map[int64]*job // by task id
	leader  *jobScheduler  // the one that adopted last
	next    int64
	done    int
	results int // came with the end
	again   int // was lost, or failed with its executor
	added   []string
	lost    []string
}

// job is one try of a job.
type job struct {
	takes   string
	end     mesosutil.SparkTaskState // empty: it runs
	adopted bool                     // its end is known from the log only
}

func newJobs(t testing.TB, n int, takes string) *jobs {
	j := &jobs{t: t, tasks: make(map[int64]*job)}
	for range n {
		j.todo = append(j.todo, takes)
	}
	return j
}

// finish notes the end of a task. The caller holds mu.
func (j *jobs) finish(id int64, state mesosutil.SparkTaskState) {
	t := j.tasks[id]
	switch t.end = state; state {
	case mesosutil.TaskFinished:
		j.done++
	case mesosutil.TaskKilled:
	default:
		j.again++
		j.todo = append(j.todo, t.takes)
	}
}

// jobScheduler is the task scheduler of one node.
type jobScheduler struct {
	*jobs
	told map[int64]bool // the ends that this one was told
}

func (*jobScheduler) Initialize(SchedulerBackend) {}
func (s *jobScheduler) Error(m string)            { s.t.Error(m) }

func (s *jobScheduler) Adopt(a Adoption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader, s.next = s, max(s.next, a.NextTaskID)
	if s.told == nil {
		s.told = make(map[int64]bool)
	}
	known := make(map[int64]mesosutil.SparkTaskState)
	for _, t := range append(a.Live, a.Ended...) {
		known[t.ID] = t.State
	}
	for id, t := range s.tasks {
		state, is := known[id]
		switch {
		case t.end != "":
		case !is:
			s.finish(id, mesosutil.TaskLost)
			t.adopted = true
		case state.Finished():
			s.finish(id, state)
			t.adopted = true
		}
	}
}

func (s *jobScheduler) ExecutorAdded(id, _ string, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = append(s.added, id)
}

func (s *jobScheduler) ExecutorLost(id, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, id+": "+reason)
}

func (s *jobScheduler) ResourceOffers(_ context.Context, offers []WorkerOffer) (out []TaskDescription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != s {
		return nil // this node is about to notice that it leads no more
	}
	for _, o := range offers {
		for range o.Cores {
			if len(s.todo) == 0 {
				return out
			}
			takes := s.todo[0]
			s.todo = s.todo[1:]
			s.tasks[s.next] = &job{takes: takes}
			out = append(out, TaskDescription{ID: s.next, Name: "job", ExecutorID: o.ExecutorID, Data: []byte(takes)})
			s.next++
		}
	}
	return out
}

func (s *jobScheduler) StatusUpdate(u TaskUpdate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != s || !u.State.Finished() {
		return
	}
	t := s.tasks[u.ID]
	switch {
	case t == nil:
		s.t.Errorf("task %d was told that nobody launched", u.ID)
		return
	case s.told[u.ID]:
		s.t.Errorf("the end of task %d was told twice", u.ID)
	case t.end == "":
		s.finish(u.ID, u.State)
	case t.end != u.State:
		s.t.Errorf("task %d is told as %s, was %s", u.ID, u.State, t.end)
	}
	s.told[u.ID] = true
	if want := "result of " + strconv.FormatInt(u.ID, 10); string(u.Data) == want {
		s.results++
	} else if u.State == mesosutil.TaskFinished {
		s.t.Errorf("the result of task %d is %q", u.ID, u.Data)
	}
}

func (s *jobScheduler) TaskRefused(t TaskDescription, err error) { s.t.Errorf("%+v: %v", t, err) }

func (j *jobs) counts() (done, again, open int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.tasks {
		if t.end == "" {
			open++
		}
	}
	return j.done, j.again, open + len(j.todo)
}
