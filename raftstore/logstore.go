package raftstore

import (
	"fmt"
	"sync/atomic"
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
	erase  logRange // owned by whoever holds slot
	closed chan struct{}
}

type logRange struct{ first, last uint64 }

type logWrite struct {
	op    DiskOp
	rng   logRange
	write func() error
	done  chan error
	// taken is set by the first of the two: the writer that finished, or the
	// caller that gave up. The second one knows what is left to do.
	taken atomic.Bool
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

func (w *watchedLog) DeleteRange(first, last uint64) error {
	return w.do(&logWrite{
		op:    DiskOp{Kind: "truncate"},
		write: func() error { return w.LogStore.DeleteRange(first, last) },
	})
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
		if j.taken.CompareAndSwap(false, true) {
			return w.stalled(j)
		}
		err := <-j.done
		<-w.slot
		return err
	}
}

func (w *watchedLog) stalled(j *logWrite) error {
	w.metrics.diskStalls.Inc()
	return fmt.Errorf("%w: %s of %d entries took longer than %s", ErrDiskStalled, j.op.Kind, j.op.Entries, w.deadline)
}

// run executes the writes, one after the other.
func (w *watchedLog) run() {
	defer close(w.closed)
	for j := range w.jobs {
		err := w.eraseFailed()
		if err == nil {
			err = w.hooks.disk(j.op, j.write)
			if err != nil {
				w.erase = j.rng
			}
		}
		if j.taken.CompareAndSwap(false, true) {
			j.done <- err
			continue
		}
		// The caller has given up: for raft this write failed, whatever it did.
		if err == nil {
			w.erase = j.rng
		}
		<-w.slot
	}
}

// eraseFailed removes what a failed append may have left.
func (w *watchedLog) eraseFailed() error {
	r := w.erase
	if r.first == 0 {
		return nil
	}
	err := w.hooks.disk(DiskOp{Kind: "truncate"}, func() error { return w.LogStore.DeleteRange(r.first, r.last) })
	if err != nil {
		return fmt.Errorf("erase a failed write: %w", err)
	}
	w.erase = logRange{}
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
