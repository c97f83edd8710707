package fsm_test

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"google.golang.org/protobuf/proto"
)

// A driver is submitted, launched and finishes. In production the entries come
// out of the Raft log; here they are applied by hand.
func Example() {
	state := fsm.New()
	index := uint64(0)
	apply := func(n fsm.Number, body proto.Message) *fsmpb.Result {
		index++
		stamp := fsm.Stamp{RequestID: fsm.RequestID{byte(index)}, TimeMs: int64(index) * 1000}
		entry, _ := fsm.Encode(n, stamp, body)
		result, _ := fsm.DecodeResult(state.Apply(index, entry))
		return result
	}

	apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "fw"})
	id := apply(fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "driver-20261122120000-", Cores: 1, MemMib: 1024}).DriverId
	apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{DriverId: id, TaskId: id, AgentId: "a1"}}})
	for _, task := range []fsm.TaskState{fsm.TaskRunning, fsm.TaskFinished} {
		apply(fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{{TaskId: id, State: int32(task)}}})
	}

	changes, _, _ := state.Feed().Since(1, 0)
	for _, c := range changes {
		if c.Kind == fsm.ChangeDriver {
			fmt.Println(c.ID, c.Event, c.To)
		}
	}
	// Output:
	// driver-20261122120000-0001 submit QUEUED
	// driver-20261122120000-0001 launch LAUNCHING
	// driver-20261122120000-0001 started RUNNING
	// driver-20261122120000-0001 finished FINISHED
}
