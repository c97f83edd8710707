package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// A host of one node: what it takes in stands in the log, and is acted on by
// whichever node leads.
func Example() {
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	state := fsm.New()
	store, err := raftstore.Open(ctx, raftstore.Config{
		NodeID: "n1", DataDir: filepath.Join(dir, "n1"), Peers: []raftstore.Peer{{ID: "n1", Addr: "n1"}},
		Transport: &raftstore.MemNetwork{}, Logger: slog.New(slog.DiscardHandler),
	}, backend.Machine{State: state})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close(ctx)

	h, err := host.New(host.Config{State: state, Log: store, Master: "127.0.0.1:5050", User: "spark"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A program also runs h.Run(ctx), on each node.
	r, err := h.Register(ctx, host.Application{
		ID: "pi", Name: "Pi", DriverURL: "spark://CoarseGrainedScheduler@driver:7000", SparkHome: "/opt/spark",
		Properties: map[string]string{"spark.dynamicAllocation.enabled": "true"},
	}, host.Request{})
	fmt.Println(r.ID, err)
	fmt.Println(h.SetTotals(ctx, "pi", backend.Totals{Executors: 4}, host.Request{}))
	_, err = h.Register(ctx, host.Application{Name: "Pi", DriverURL: "driver:7000"}, host.Request{})
	fmt.Println(err)
	// Output:
	// pi <nil>
	// <nil>
	// driverUrl: must have the form spark://NAME@HOST:PORT
}
