package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Run loads the servers and reports. It returns an error only for a
// configuration that is wrong; what goes wrong with requests is in the report.
// When ctx ends, so does the run, and the report tells what there was.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	templates, err := cfg.templates()
	if err != nil {
		return nil, err
	}
	r := &run{cfg: &cfg, due: schedule{rate: cfg.Rate, rnd: rand.New(rand.NewPCG(cfg.Seed, 1))}}
	began := time.Now()
	r.due.next = began
	r.ends = began.Add(cfg.Duration)
	// Requests under way at the end of the time are waited for.
	results := make([]*result, cfg.Clients)
	var wg sync.WaitGroup
	for i := range results {
		w := &worker{run: r, client: client{cfg: &cfg, templates: templates, at: i % len(templates)},
			rnd: rand.New(rand.NewPCG(cfg.Seed, uint64(i)+2)), result: newResult()}
		results[i] = w.result
		wg.Go(func() { w.work(ctx) })
	}
	wg.Wait()
	return newReport(&cfg, time.Since(began), results), nil
}

func (c *Config) templates() (all []*template, err error) {
	for _, s := range c.Servers {
		t, err := newTemplate(s, c)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// run is what the workers of one run share.
type run struct {
	cfg  *Config
	ends time.Time
	sent atomic.Int64
	due  schedule
}

// schedule deals out the times at which requests fall due.
type schedule struct {
	rate float64
	mu   sync.Mutex
	rnd  *rand.Rand
	next time.Time
}

// take returns the time of the next request; at once where there is no rate.
func (s *schedule) take() time.Time {
	if s.rate == 0 {
		return time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = s.next.Add(time.Duration(s.rnd.ExpFloat64() / s.rate * float64(time.Second)))
	return s.next
}

type worker struct {
	*run
	client client
	rnd    *rand.Rand
	result *result
}

// pauseAfterFailure keeps a client of a dead server from burning the cores that
// the others need.
const pauseAfterFailure = 2 * time.Millisecond

func (w *worker) work(ctx context.Context) {
	defer w.client.drop()
	for {
		n := w.sent.Add(1)
		if n > int64(w.cfg.Count) || ctx.Err() != nil {
			return
		}
		due := w.due.take()
		if due.After(w.ends) || !sleepUntil(ctx, due) {
			return
		}
		if err := w.one(ctx, due, n); err != nil && ctx.Err() == nil {
			sleepUntil(ctx, time.Now().Add(pauseAfterFailure))
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (w *worker) one(ctx context.Context, due time.Time, n int64) error {
	if id := w.statusOf(n); id != "" {
		r, err := w.client.status(ctx, id)
		w.result.status.add(time.Since(due), r, err)
		if err == nil {
			w.result.states[stateName(r)]++
		}
		return err
	}
	key := ""
	if w.cfg.IdempotencyKeys {
		key = uuid.NewString()
	}
	r, err := w.client.create(ctx, key)
	w.result.submit.add(time.Since(due), r, err)
	if err == nil && r.Success {
		w.result.ids = append(w.result.ids, r.SubmissionID)
	}
	return err
}

// statusOf is the id to ask for with the n-th request; empty: it submits.
func (w *worker) statusOf(n int64) string {
	switch w.cfg.Mode {
	case Status:
		return w.cfg.IDs[int(n)%len(w.cfg.IDs)]
	case Mixed:
		if known := w.result.ids; len(known) > 0 && w.rnd.Float64() < w.cfg.StatusShare {
			return known[w.rnd.IntN(len(known))]
		}
	}
	return ""
}

func stateName(r reply) string {
	if r.DriverState == "" {
		return fmt.Sprintf("none (%.60s)", r.Message)
	}
	return r.DriverState
}

// outcome of a request that failed.
type outcome int

const (
	refused outcome = iota // surely nothing came of it
	unknown                // it may have been carried out
)

func outcomeOf(err error) outcome {
	var unsent unsentError
	var answered *statusError
	switch {
	case errors.As(err, &unsent):
		return refused
	case errors.As(err, &answered):
		if answered.reply.Outcome == "not_executed" || answered.code >= 400 && answered.code < 500 ||
			answered.code == http.StatusNotImplemented {
			return refused
		}
	}
	return unknown
}
