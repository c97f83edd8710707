package testcluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Record is one submission as its client saw it.
type Record struct {
	Node string
	Submission
	Answer
	Began, Ended time.Time
}

// History is what all clients have seen.
type History struct {
	mu      sync.Mutex
	records []Record
}

func (h *History) add(r Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, r)
}

// Records are the submissions so far, in the order in which they were answered.
func (h *History) Records() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Record(nil), h.records...)
}

// byKey is what the clients know of one key together.
type byKey struct {
	ids     map[string]bool // acknowledged
	unknown int
	asked   int // without an idempotency key each may be a driver of its own
	keyed   bool
}

func (h *History) byKey() map[string]*byKey {
	out := make(map[string]*byKey)
	for _, r := range h.Records() {
		k := out[r.Key]
		if k == nil {
			k = &byKey{ids: make(map[string]bool)}
			out[r.Key] = k
		}
		k.asked++
		k.keyed = k.keyed || r.Idempotency != ""
		switch r.Outcome {
		case Acked:
			k.ids[r.SubmissionID] = true
		case Unknown:
			k.unknown++
		}
	}
	return out
}

// Check compares what clients were told, what the replicated state of n says and
// what really ran. Call it when nothing is under way any more. overlaps allows
// two processes of one driver at once, as after an agent could not be reached.
func (c *Cluster) Check(n *Node, overlaps bool) error {
	state, err := n.State()
	if err != nil {
		return err
	}
	runs, err := c.Journal.Runs()
	if err != nil {
		return err
	}
	return errors.Join(c.checkSubmissions(state.View()), checkRuns(state.View(), runs, overlaps))
}

// checkSubmissions: no acknowledged submission is lost, no refused one is there,
// and a repeated one with an idempotency key is there once.
func (c *Cluster) checkSubmissions(v *fsm.View) error {
	var errs []error
	drivers := make(map[string][]*fsm.Driver)
	v.After(0, func(d *fsm.Driver) bool {
		drivers[d.Name] = append(drivers[d.Name], d)
		return true
	})
	for key, k := range c.History.byKey() {
		for id := range k.ids {
			if _, found := v.Driver(id); !found {
				errs = append(errs, fmt.Errorf("%s: acknowledged as %s, and lost", key, id))
			}
		}
		least, most := len(k.ids), len(k.ids)+k.unknown
		if k.keyed {
			most = min(most, 1)
		}
		if n := len(drivers[key]); n < least || n > most {
			errs = append(errs, fmt.Errorf("%s: %d drivers, of %d requests with %d ids acknowledged and %d outcomes unknown (keyed: %v)",
				key, n, k.asked, len(k.ids), k.unknown, k.keyed))
		}
	}
	return errors.Join(errs...)
}

// checkRuns: each attempt started at most once, every process belongs to an
// attempt that was committed, and what ended well did run.
func checkRuns(v *fsm.View, runs []Run, overlaps bool) error {
	var errs []error
	starts := make(map[string]int)
	for _, r := range runs {
		starts[r.TaskID]++
		if r.Overlap && !overlaps {
			errs = append(errs, fmt.Errorf("%s (%s) started while another attempt was alive", r.TaskID, r.Key))
		}
		d, found := v.Driver(fsm.DriverOfTask(r.TaskID))
		if !found || d.Name != r.Key {
			errs = append(errs, fmt.Errorf("task %s (%s) ran and no driver owns it", r.TaskID, r.Key))
			continue
		}
		if !hasAttempt(d, r.TaskID) {
			errs = append(errs, fmt.Errorf("task %s ran without an intent", r.TaskID))
		}
	}
	for task, n := range starts {
		if n > 1 {
			errs = append(errs, fmt.Errorf("attempt %s was started %d times", task, n))
		}
	}
	v.Finished(func(d *fsm.Driver) bool {
		if d.State == fsm.DriverFinished && starts[d.Current().TaskID] != 1 {
			errs = append(errs, fmt.Errorf("%s is finished and its process started %d times", d.ID, starts[d.Current().TaskID]))
		}
		return true
	})
	return errors.Join(errs...)
}

func hasAttempt(d *fsm.Driver, task string) bool {
	for _, a := range d.Attempts {
		if a.TaskID == task {
			return true
		}
	}
	return false
}
