package dispatcher

import (
	"container/heap"
	"time"
)

// dueQueue holds something for each of many tasks and finds what is due, in
// O(log n) for each entry that is touched: thousands of tasks may be under way,
// and every change of the state asks. It is not safe for concurrent use.
type dueQueue[T any] struct {
	byTask map[string]*dueEntry[T]
	heap   dueHeap[T]
}

type dueEntry[T any] struct {
	task  string
	due   time.Time
	value T
	place int // in the heap
}

func newDueQueue[T any]() *dueQueue[T] {
	return &dueQueue[T]{byTask: make(map[string]*dueEntry[T])}
}

// get is the entry of a task, nil for none.
func (q *dueQueue[T]) get(task string) *dueEntry[T] { return q.byTask[task] }

// put adds an entry for a task, in place of the one that it has.
func (q *dueQueue[T]) put(task string, due time.Time, value T) {
	if e := q.byTask[task]; e != nil {
		e.due, e.value = due, value
		heap.Fix(&q.heap, e.place)
		return
	}
	e := &dueEntry[T]{task: task, due: due, value: value}
	q.byTask[task] = e
	heap.Push(&q.heap, e)
}

func (q *dueQueue[T]) drop(task string) {
	if e := q.byTask[task]; e != nil {
		delete(q.byTask, task)
		heap.Remove(&q.heap, e.place)
	}
}

// take takes out what is due, the earliest first.
func (q *dueQueue[T]) take(now time.Time) (due []*dueEntry[T]) {
	for len(q.heap) > 0 && !q.heap[0].due.After(now) {
		e := heap.Pop(&q.heap).(*dueEntry[T])
		delete(q.byTask, e.task)
		due = append(due, e)
	}
	return due
}

// first is when the first entry falls due; ok is false for an empty queue.
func (q *dueQueue[T]) first() (due time.Time, ok bool) {
	if len(q.heap) == 0 {
		return time.Time{}, false
	}
	return q.heap[0].due, true
}

// moveAll lets all entries fall due at the same time.
func (q *dueQueue[T]) moveAll(due time.Time, change func(*T)) {
	for _, e := range q.heap { // entries that are due together are in order anyhow
		e.due = due
		change(&e.value)
	}
}

// dueHeap implements heap.Interface; each entry knows its place.
type dueHeap[T any] []*dueEntry[T]

func (h dueHeap[T]) Len() int           { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h dueHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *dueHeap[T]) Push(x any) {
	e := x.(*dueEntry[T])
	e.place = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap[T]) Pop() any {
	old := *h
	last := len(old) - 1
	e := old[last]
	old[last] = nil
	*h = old[:last]
	return e
}
