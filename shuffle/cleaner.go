package shuffle

import (
	"context"
	"errors"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registry"
)

// clean removes applications whose driver fell silent, at once and then every
// CleanerInterval, and keeps the store's caches from holding on to files.
func (s *Service) clean(ctx context.Context) {
	expire := time.NewTicker(s.cfg.CleanerInterval)
	defer expire.Stop()
	sweep := time.NewTicker(blocks.SweepInterval)
	defer sweep.Stop()
	for {
		s.removeExpired()
		select {
		case <-expire.C:
			s.wakeRemovals() // to try again what could not be deleted
		case <-sweep.C:
			s.store.Sweep()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) removeExpired() {
	for _, app := range s.registry.Expired() {
		removed, err := s.registry.RemoveExpired(app)
		if err != nil {
			s.log.Error("an application timed out but cannot be removed; it is tried again", "app", app, "err", err)
			continue
		}
		if removed != nil {
			s.log.Info("Application timed out. Removing shuffle files.", "app", app)
			s.metrics.expired.Inc()
			s.removed(app, true, removed)
		}
	}
}

// RemoveApplication forgets an application, as when its framework is known to
// have ended. With cleanup the local directories of its executors are deleted
// in the background, also if the process ends before it gets to that.
func (s *Service) RemoveApplication(app string, cleanup bool) error {
	removed, err := s.registry.Remove(app, cleanup)
	if err != nil || removed == nil {
		return err
	}
	s.removed(app, cleanup, removed)
	return nil
}

func (s *Service) removed(app string, cleanup bool, r *registry.Removed) {
	for _, e := range r.Executors {
		s.store.Forget(e.Location)
	}
	s.log.Info("Application removed", "app", app, "cleanup_local_dirs", cleanup, "executors", len(r.Executors))
	if len(r.Shared) > 0 {
		s.log.Warn("directories are kept because other applications registered them too", "app", app, "dirs", r.Shared)
	}
	s.wakeRemovals()
}

func (s *Service) wakeRemovals() {
	select {
	case s.removals <- struct{}{}:
	default:
	}
}

// deleteDirs deletes what is noted for deletion, one directory after another,
// starting with what an earlier process left undone.
func (s *Service) deleteDirs(ctx context.Context) {
	for {
		for _, m := range s.registry.Pending() {
			if ctx.Err() != nil {
				return
			}
			s.deleteDir(m)
		}
		select {
		case <-s.removals:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) deleteDir(m registry.Removal) {
	outcome := "deleted"
	var err error
	if s.registry.Claimed(m) {
		outcome = "kept"
		s.log.Warn("a directory is kept because it was registered again", "app", m.App, "dir", m.Dir)
	} else if err = blocks.RemoveDir(m.Dir, m.ID); errors.Is(err, blocks.ErrNotOurs) {
		outcome = "kept"
		s.log.Warn("a directory is kept because it is not the one that was registered", "app", m.App, "dir", m.Dir, "err", err)
	} else if err != nil {
		s.metrics.cleanups.WithLabelValues("failed").Inc()
		s.log.Error("a directory could not be deleted; it is tried again", "app", m.App, "dir", m.Dir, "err", err)
		return
	}
	s.metrics.cleanups.WithLabelValues(outcome).Inc()
	if outcome == "deleted" {
		s.log.Info("Cleaned up local dir", "app", m.App, "dir", m.Dir)
	}
	if err := s.registry.Done(m); err != nil {
		s.log.Error("a deleted directory cannot be taken off the list", "dir", m.Dir, "err", err)
	}
}
