package dispatcher

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The queue does what a scan over a map would do.
func TestDueQueueIsAMapOrderedByTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q, model := newDueQueue[int](), make(map[string]time.Time)
		at := func(label string) time.Time { return time.Unix(int64(rapid.IntRange(0, 20).Draw(rt, label)), 0) }
		for i := range rapid.IntRange(0, 60).Draw(rt, "steps") {
			task := fmt.Sprint(rapid.IntRange(0, 15).Draw(rt, "task"))
			switch rapid.IntRange(0, 8).Draw(rt, "op") {
			default:
				due := at("due")
				q.put(task, due, i)
				model[task] = due
			case 0, 1:
				q.drop(task)
				delete(model, task)
			case 2, 3:
				now := at("now")
				last := time.Time{}
				for _, e := range q.take(now) {
					if e.due.Before(last) || e.due.After(now) || !model[e.task].Equal(e.due) {
						rt.Fatalf("at %v got %s, due %v", now, e.task, e.due)
					}
					last = e.due
					delete(model, e.task)
				}
				for task, due := range model {
					if !due.After(now) {
						rt.Fatalf("%s, due %v, is left at %v", task, due, now)
					}
				}
			case 4:
				due := at("all")
				q.moveAll(due, func(v *int) { *v = 0 })
				for task := range model {
					model[task] = due
				}
			}
			if len(q.heap) != len(model) || len(q.byTask) != len(model) {
				rt.Fatalf("%d entries of %d", len(q.heap), len(model))
			}
			first, some := q.first()
			for task, due := range model {
				if e := q.get(task); e == nil || !e.due.Equal(due) || !some || due.Before(first) {
					rt.Fatalf("%s: %+v, want %v; first is %v", task, e, due, first)
				}
			}
		}
	})
}
