package backend_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// threeTasks hands out three tasks and takes their results. One that is lost it
// would hand out again, with a new id.
type threeTasks struct {
	todo    []string
	next    int64
	results chan string
}

func (s *threeTasks) ResourceOffers(_ context.Context, offers []backend.WorkerOffer) (out []backend.TaskDescription) {
	for _, o := range offers {
		for n := 0; n < o.Cores && len(s.todo) > 0; n++ {
			out = append(out, backend.TaskDescription{ID: s.next, Name: "task", ExecutorID: o.ExecutorID, Data: []byte(s.todo[0])})
			s.next++
			s.todo = s.todo[1:]
		}
	}
	return out
}

func (s *threeTasks) StatusUpdate(u backend.TaskUpdate) {
	if u.State == mesosutil.TaskFinished {
		s.results <- string(u.Data)
	}
}

func (s *threeTasks) Adopt(a backend.Adoption)                       { s.next = a.NextTaskID }
func (*threeTasks) Initialize(backend.SchedulerBackend)              {}
func (*threeTasks) ExecutorAdded(_, _ string, _ int)                 {}
func (*threeTasks) ExecutorLost(_, _ string)                         {}
func (*threeTasks) TaskRefused(_ backend.TaskDescription, err error) { panic(err) }
func (*threeTasks) Error(message string)                             { panic(message) }

// A task scheduler in fine-grained mode. The executor is this test's program, which
// stands in for `ha-dispatcher executor` or one of your own (package executor).
func Example_fineGrained() {
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	dir, err := os.MkdirTemp("", "backend")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	master, err := localmesos.Start(ctx, localmesos.Options{Agents: 1})
	if err != nil {
		panic(err)
	}
	defer master.Close()

	state := fsm.New()
	store, err := raftstore.Open(ctx, raftstore.Config{
		NodeID: "n1", DataDir: filepath.Join(dir, "n1"), Peers: []raftstore.Peer{{ID: "n1", Addr: "n1"}},
		Transport: &raftstore.MemNetwork{}, Logger: quiet, Version: fsm.CommandVersion,
	}, backend.Machine{State: state})
	if err != nil {
		panic(err)
	}
	defer store.Close(ctx)

	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	tasks := &threeTasks{todo: []string{"1ms", "2ms", "3ms"}, results: make(chan string, 3)}
	app, err := backend.NewFine(backend.Config{
		State: state, Log: store, Master: master.Addr(), Logger: quiet, Scheduler: tasks,
		Context: backend.Context{AppName: "three-tasks", SparkHome: "/opt/spark", Conf: map[string]string{"spark.executor.memory": "128m"}},
		Executor: func(backend.AgentExecutorSpec) (*mesos.ExecutorInfo, error) {
			return &mesos.ExecutorInfo{Command: &mesos.CommandInfo{Value: &program, Environment: &mesos.Environment{
				Variables: []mesos.Environment_Variable{{Name: "BACKEND_TEST_EXECUTOR", Value: &dir}},
			}}}, nil
		},
	})
	if err != nil {
		panic(err)
	}
	if err := app.Start(ctx); err != nil {
		panic(err)
	}
	for range 3 {
		fmt.Println(<-tasks.results)
	}
	if err := app.Stop(ctx); err != nil {
		panic(err)
	}
	// Unordered output:
	// result of 0
	// result of 1
	// result of 2
}
