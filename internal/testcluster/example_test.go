package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

// A driver outlives the leader that launched it.
func Example() {
	dir, err := os.MkdirTemp("", "testcluster-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c, err := testcluster.Start(ctx, testcluster.Options{Dir: dir, Memory: true})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	leader, err := c.WaitReady(ctx)
	if err != nil {
		panic(err)
	}
	id := leader.Submit(ctx, testcluster.Submission{Key: "etl", Command: c.Journal.Until("etl")}).SubmissionID
	running := func(d *fsm.Driver) bool { return d.State == fsm.DriverRunning }
	if _, err := c.WaitDriver(ctx, id, running); err != nil {
		panic(err)
	}
	leader.Crash()
	if err := c.Journal.End("etl", 0); err != nil {
		panic(err)
	}
	d, err := c.WaitDriver(ctx, id, func(d *fsm.Driver) bool { return d.State.Terminal() })
	if err != nil {
		panic(err)
	}
	fmt.Println(d.State, "after", len(d.Attempts), "attempt")
	// Output: FINISHED after 1 attempt
}
