package scale_test

import (
	"bytes"
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
)

// A state and the archive that a cluster restores it from, as by
// 'ha-dispatcher cluster snapshot restore'.
func Example() {
	state, err := scale.State(scale.Drivers{Finished: 1000, Queued: 200})
	if err != nil {
		fmt.Println(err)
		return
	}
	var archive bytes.Buffer
	if err := scale.Archive(&archive, state); err != nil {
		fmt.Println(err)
		return
	}
	c := state.Counts()
	fmt.Printf("%d finished, %d queued; an archive is there: %t\n", c.Finished, c.Waiting, archive.Len() > 0)

	mesos, err := scale.StartMesos() // for --master
	if err != nil {
		fmt.Println(err)
		return
	}
	defer mesos.Close()
	tasks, _ := mesos.Tasks()
	fmt.Printf("%d subscriptions, %d tasks\n", mesos.Subscriptions(), tasks)
	// Output:
	// 1000 finished, 200 queued; an archive is there: true
	// 0 subscriptions, 0 tasks
}
