package raftstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// watchedLog bounds how long raft waits for its disk. hashicorp/raft sends
// heartbeats beside the log, so a leader whose disk hangs would stay leader
// for ever. Here a write that misses its deadline fails, which makes raft step
// down; the write itself goes on in the background.
//
// A write that failed for raft may still be, or become, visible on disk.
// Raft has forgotten those entries, and a later, shorter write would leave
// their tail behind with a lower term. So a failed range is erased before
// anything else is written.
type watchedLog struct {
	raft.LogStore
	hooks    Hooks
	deadline time.Duration
	metrics  *metrics
	failed   func(err error) // called before the error goes to raft

	slot   chan struct{} // held while a write is under way
	jobs   chan *logWrite
	erase  logRange // of the last failed append; owned by whoever holds slot
	closed chan struct{}

	mu sync.RWMutex
	// hidden is the failed append as raft must see it: not there, even if the
	// disk shows it. A leader that sends ahead would else find its earlier
	// entries here, and raft would count on them.
	hidden logRange
}

type logRange struct{ first, last uint64 }

// and covers both ranges. Failed appends all lie behind raft's last entry, so
// nothing that raft knows of is in between.
func (r logRange) and(q logRange) logRange {
	if r.first == 0 {
		return q
	}
	if q.first == 0 {
		return r
	}
	return logRange{min(r.first, q.first), max(r.last, q.last)}
}

type logWrite struct {
	op    DiskOp
	rng   logRange // of an append
	write func() error
	done  chan error
	// One of the two is first, under watchedLog.mu: the writer that finished,
	// or the caller that gave up. The second one knows what is left to do.
	finished, abandoned bool
}

func newWatchedLog(inner raft.LogStore, cfg Config, m *metrics, failed func(error)) *watchedLog {
	w := &watchedLog{
		LogStore: inner, hooks: cfg.Hooks, deadline: cfg.DiskDeadline, metrics: m, failed: failed,
		slot: make(chan struct{}, 1), jobs: make(chan *logWrite), closed: make(chan struct{}),
	}
	go w.run()
	return w
}

func (w *watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w *watchedLog) StoreLogs(logs []*raft.Log) error {
	start := time.Now()
	err := w.do(&logWrite{
		op:    DiskOp{Kind: "append", Entries: len(logs)},
		rng:   logRange{logs[0].Index, logs[len(logs)-1].Index},
		write: func() error { return w.LogStore.StoreLogs(logs) },
	})
	w.metrics.diskWrite.Observe(time.Since(start).Seconds())
	if err != nil {
		w.failed(err)
	}
	return err
}

// DeleteRange has no deadline: raft cannot be told that a truncation failed
// which then happens after all. Only followers truncate on raft's main
// goroutine, and with a hung disk they have nothing else to do.
func (w *watchedLog) DeleteRange(first, last uint64) error {
	j := &logWrite{
		op:    DiskOp{Kind: "truncate"},
		write: func() error { return w.LogStore.DeleteRange(first, last) },
		done:  make(chan error, 1),
	}
	w.slot <- struct{}{}
	w.jobs <- j
	err := <-j.done
	<-w.slot
	return err
}

func (w *watchedLog) GetLog(index uint64, l *raft.Log) error {
	w.mu.RLock()
	h := w.hidden
	w.mu.RUnlock()
	if h.first != 0 && index >= h.first && index <= h.last {
		return raft.ErrLogNotFound
	}
	return w.LogStore.GetLog(index, l)
}

func (w *watchedLog) do(j *logWrite) error {
	timer := time.NewTimer(w.deadline)
	defer timer.Stop()
	j.done = make(chan error, 1)
	select {
	case w.slot <- struct{}{}:
	case <-timer.C:
		return w.stalled(j)
	}
	w.jobs <- j
	select {
	case err := <-j.done:
		<-w.slot
		return err
	case <-timer.C:
		if w.abandon(j) {
			return w.stalled(j)
		}
		err := <-j.done
		<-w.slot
		return err
	}
}

// abandon gives up on a write; false if it has finished.
func (w *watchedLog) abandon(j *logWrite) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j.finished {
		return false
	}
	j.abandoned = true
	w.hidden = w.hidden.and(j.rng)
	return true
}

// finish says whether somebody still waits for the result.
func (w *watchedLog) finish(j *logWrite, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.finished = true
	if err != nil {
		w.hidden = w.hidden.and(j.rng)
	}
	return !j.abandoned
}

func (w *watchedLog) stalled(j *logWrite) error {
	w.metrics.diskStalls.Inc()
	return fmt.Errorf("%w: %s of %d entries took longer than %s", ErrDiskStalled, j.op.Kind, j.op.Entries, w.deadline)
}

// run executes the writes, one after the other.
func (w *watchedLog) run() {
	defer close(w.closed)
	for j := range w.jobs {
		err := w.eraseFailed(j)
		ran := err == nil
		if ran {
			err = w.hooks.disk(j.op, j.write)
		}
		waited := w.finish(j, err)
		if ran && (err != nil || !waited) {
			w.erase = j.rng
		}
		if waited {
			j.done <- err
		} else {
			<-w.slot
		}
	}
}

// eraseFailed removes what a failed append may have left, before next is done.
func (w *watchedLog) eraseFailed(next *logWrite) error {
	r := w.erase
	if r.first == 0 {
		return nil
	}
	err := w.hooks.disk(DiskOp{Kind: "truncate"}, func() error { return w.LogStore.DeleteRange(r.first, r.last) })
	if err != nil {
		return fmt.Errorf("erase a failed write: %w", err)
	}
	w.erase = logRange{}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hidden = logRange{}
	if next.abandoned { // meanwhile, and is about to be written
		w.hidden = next.rng
	}
	return nil
}

// close ends the writer; raft must be shut down. It waits at most limit for a
// write that hangs.
func (w *watchedLog) close(limit time.Duration) bool {
	close(w.jobs)
	select {
	case <-w.closed:
		return true
	case <-time.After(limit):
		return false
	}
}
