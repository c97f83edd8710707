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
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// One node runs an application; in production three do, all with the same code.
func Example() {
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	dir, err := os.MkdirTemp("", "backend")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	master, err := localmesos.Start(ctx, localmesos.Options{})
	if err != nil {
		panic(err)
	}
	defer master.Close()

	state := fsm.New()
	store, err := raftstore.Open(ctx, raftstore.Config{
		NodeID: "n1", DataDir: filepath.Join(dir, "n1"), Peers: []raftstore.Peer{{ID: "n1", Addr: "n1"}},
		Transport: &raftstore.MemNetwork{}, Logger: quiet,
	}, backend.Machine{State: state})
	if err != nil {
		panic(err)
	}
	defer store.Close(ctx)

	app, err := backend.New(backend.Config{
		State: state, Log: store, Master: master.Addr(), Logger: quiet,
		Context: backend.Context{AppName: "pi", SparkHome: "/opt/spark", Conf: map[string]string{
			"spark.driver.host": "127.0.0.1", "spark.driver.port": "7078",
			"spark.executor.cores": "1", "spark.executor.memory": "512m", "spark.dynamicAllocation.enabled": "true",
		}},
		// There is no Spark here: something else plays the executor.
		Command: func(backend.ExecutorSpec) (*mesos.CommandInfo, error) {
			line := "exec sleep 1000"
			return &mesos.CommandInfo{Value: &line}, nil
		},
	})
	if err != nil {
		panic(err)
	}
	if err := app.Start(ctx); err != nil {
		panic(err)
	}
	if err := app.RequestTotalExecutors(ctx, backend.Totals{Executors: 1}); err != nil {
		panic(err)
	}
	enough := fmt.Errorf("it runs")
	err = app.Watch(ctx, func(e backend.ExecutorEvent) error {
		if e.Executor.State == fsm.ExecutorRunning {
			return enough
		}
		return nil
	})
	fmt.Println("executor 0:", err)
	if err := app.Stop(ctx); err != nil {
		panic(err)
	}
	fmt.Println("left:", app.Status().Live)
	// Output:
	// executor 0: it runs
	// left: 0
}

func ExampleManagers() {
	var managers backend.Managers
	managers.Register(&backend.MesosManager{})
	for _, url := range []string{"mesos://zk://a,b,c/mesos", "yarn"} {
		_, err := managers.For(url)
		fmt.Println(url, err)
	}
	// Output:
	// mesos://zk://a,b,c/mesos <nil>
	// yarn could not parse the master URL: "yarn"
}
