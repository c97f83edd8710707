package dispatcher

import (
	"fmt"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// sent are the tasks of the KILLs that are due.
func sent(k *killer) (tasks []string) {
	for _, c := range k.takeDue() {
		tasks = append(tasks, c.task)
	}
	return tasks
}

// A KILL is repeated after 1 s, then after twice as long each time, up to 32 s,
// until a status says that the task is over; a new subscription begins afresh.
func TestKillIsRepeatedWithAGrowingWaitUntilTheTaskIsOver(t *testing.T) {
	in := newInside(t)
	next := in.state.Feed().Next()
	id, k := in.launched(), in.killer
	in.kill(id)
	changes, next := in.changes(next)
	k.look(changes)
	began := in.now
	var at []int
	again := false
	for in.now.Sub(began) < 3*time.Minute {
		if len(sent(k)) > 0 {
			at = append(at, int(in.now.Sub(began)/time.Second))
		}
		if !again && in.now.Sub(began) > 100*time.Second {
			again = true
			k.start()
			continue
		}
		wait := k.untilDue()
		if wait <= 0 {
			t.Fatalf("waits %v", wait)
		}
		in.now = in.now.Add(wait)
	}
	if got := fmt.Sprint(at); got != "[0 1 3 7 15 31 63 95 127 127 128 130 134 142 158]" {
		t.Errorf("killed after %s seconds", got)
	}
	in.status(id, fsm.TaskKilled)
	changes, _ = in.changes(next)
	k.look(changes)
	if len(k.pending.heap) != 0 || k.untilDue() != time.Hour {
		t.Errorf("%d kills are pending", len(k.pending.heap))
	}
}

func TestKillWaitsForTheAcceptOfItsTask(t *testing.T) {
	in := newInside(t)
	id, k := in.launched(), in.killer
	in.kill(id)
	in.reconciler.accepting(id)
	k.look(nil)
	if got := sent(k); got != nil {
		t.Errorf("killed %v before its ACCEPT", got)
	}
	in.reconciler.accepted(id)
	in.now = in.now.Add(time.Second)
	if got := sent(k); len(got) != 1 {
		t.Errorf("killed %v", got)
	}
}

// Nothing but its own status says that a task without a driver is over.
func TestStrayTaskIsKilledForABoundedTime(t *testing.T) {
	in := newInside(t)
	k := in.killer
	for _, task := range []string{"settled", "silent"} {
		k.stray(task, "a")
	}
	if got := sent(k); len(got) != 2 {
		t.Errorf("killed %v", got)
	}
	k.settled("settled")
	n := 1
	for ; len(k.pending.heap) > 0; in.now = in.now.Add(k.untilDue()) {
		n += len(sent(k))
	}
	if n != strayTries {
		t.Errorf("killed %d times", n)
	}
}
