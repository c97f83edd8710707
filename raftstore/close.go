package raftstore

import (
	"context"
	"errors"
	"sync"
	"time"
)

// stuckLimit is how long a stop waits for something that only a hung disk or
// machine can hold up.
const stuckLimit = 5 * time.Second

// Close stops the node in an order that costs the cluster least: no new
// calls, those under way finish, leadership is handed over, leader tasks are
// revoked, then raft, the connections and the files. ctx bounds the waiting,
// not the release: after it has ended the rest is done without courtesy. A
// second Close waits for the first.
func (s *Store) Close(ctx context.Context) error {
	s.closer.Do(func() { s.endErr = s.shutdown(ctx); close(s.ended) })
	<-s.ended
	return s.endErr
}

// Crash stops the node as SIGKILL would, for tests: all connections and the
// port are gone before anything else happens, nothing is handed over or
// flushed. When it returns, the data directory can be opened again.
func (s *Store) Crash() {
	s.crashed.Store(true)
	s.mux.cut()
	done, cancel := context.WithCancel(context.Background())
	cancel()
	s.Close(done)
}

func (s *Store) shutdown(ctx context.Context) error {
	// 1. Refuse new calls, let those under way end: they were promised an
	// answer, and raft still runs to give it.
	s.gate.close()
	s.waitIdle(ctx)
	close(s.closing)

	// 2. Hand over, so that the others need no timer and no detector.
	if s.IsLeader() && !s.crashed.Load() && ctx.Err() == nil {
		if err := s.transferAway(ctx, ""); err != nil && len(s.voters()) > 1 {
			s.log.Warn("raftstore: leadership not handed over before the stop", "error", err)
		}
	}

	// 3. Leader tasks see their context end and are revoked while everything
	// they might still call answers (with ErrClosed).
	s.leadership.end()
	waitFor(ctx, stuckLimit, &s.tasks)

	// 4. raft answers only while it runs, so what it took must be answered
	// first. Only a cut-off leader needs time for that: its lease.
	s.drainFutures()

	// 5. Our goroutines, then raft, then what they stood on. Connections go
	// before raft is waited for: a call to a peer must not hold up its end.
	close(s.stopped)
	shutdown := s.raft.Shutdown()
	s.mux.cut()
	s.trans.CloseStreams()
	s.peers.close()
	down := make(chan error, 1)
	go func() { down <- shutdown.Error() }()
	var err error
	select {
	case err = <-down:
	case <-time.After(stuckLimit + s.cfg.DiskDeadline):
		s.log.Error("raftstore: raft does not stop, most likely the disk hangs; its files stay open until it does")
		s.metrics.unregister()
		go func() { _, _ = <-down, s.release() }()
		return ErrDiskStalled
	}
	s.mux.wait()
	waitFor(context.Background(), stuckLimit, &s.bg)
	s.metrics.unregister()
	return errors.Join(err, s.release())
}

// release closes the files, at the latest when a hanging write ends.
func (s *Store) release() error {
	files := func() error {
		defer s.dir.close()
		return errors.Join(s.bolt.Close(), s.votes.close())
	}
	if s.disk.close(stuckLimit) {
		return files()
	}
	s.log.Error("raftstore: a write to the log hangs; the files stay open until it ends")
	go func() {
		<-s.disk.closed
		if err := files(); err != nil {
			s.log.Error("raftstore: close", "error", err)
		}
	}()
	return ErrDiskStalled
}

// waitIdle waits for calls under way. A crash does not; its callers find out.
func (s *Store) waitIdle(ctx context.Context) {
	select {
	case <-s.gate.idle:
	case <-ctx.Done():
	case <-time.After(stuckLimit):
	}
}

// drainFutures waits until raft has answered everything it took.
func (s *Store) drainFutures() {
	limit := time.After(stuckLimit)
	select {
	case <-s.gate.idle:
		close(s.futures) // nobody sends outside of the gate
	case <-limit:
		s.log.Error("raftstore: calls under way do not end")
		return
	}
	select {
	case <-s.answered:
	case <-limit:
		s.log.Error("raftstore: raft does not answer, most likely the disk hangs")
	}
}

func waitFor(ctx context.Context, limit time.Duration, wg *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}
