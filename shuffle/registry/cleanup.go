package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
)

// Removal is a directory that is to be deleted.
type Removal struct {
	Dir string       `json:"dir"`
	ID  blocks.DirID `json:"id"`
	App string       `json:"app"`
}

// Removed is what was known of an application that was removed.
type Removed struct {
	Executors []*Executor
	Shared    []string // directories that are kept because others registered them too
}

// Remove forgets an application; nil if it is not known. With cleanup, the
// directories of its executors are noted for deletion, except those that an
// application that stays has registered too, or has registered a directory in
// or around.
func (r *Registry) Remove(appID string, cleanup bool) (*Removed, error) {
	return r.remove(appID, cleanup, func(*app) bool { return true })
}

// RemoveExpired is Remove with cleanup for an application that has not come
// back to life since Expired listed it; nil if it has.
func (r *Registry) RemoveExpired(appID string) (*Removed, error) {
	now := r.now()
	return r.remove(appID, true, func(a *app) bool { return r.expired(a, now) })
}

func (r *Registry) remove(appID string, cleanup bool, still func(*app) bool) (*Removed, error) {
	r.write.Lock()
	defer r.write.Unlock()
	r.mu.RLock()
	a := r.apps[appID]
	if a == nil || !still(a) {
		r.mu.RUnlock()
		return nil, nil
	}
	out := &Removed{}
	var removals []Removal
	for _, e := range a.executors {
		out.Executors = append(out.Executors, e)
		for i, d := range e.Location.Dirs {
			if cleanup {
				removals = append(removals, Removal{Dir: d, ID: e.ids[i], App: appID})
			}
		}
	}
	removals, out.Shared = r.unshared(appID, removals)
	r.mu.RUnlock()
	if r.db != nil {
		if err := r.db.removeApp(appID, removals); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.apps, appID)
	r.bytes -= executorOverhead
	r.count -= len(out.Executors)
	for _, e := range out.Executors {
		r.bytes -= e.size()
	}
	for _, m := range removals {
		r.removals[m.Dir] = m
	}
	return out, nil
}

// unshared takes out the directories that other applications use too.
func (r *Registry) unshared(appID string, all []Removal) (own []Removal, shared []string) {
	for _, m := range all {
		if r.usedBy(m.Dir, appID) {
			shared = append(shared, m.Dir)
		} else {
			own = append(own, m)
		}
	}
	return own, shared
}

// usedBy reports whether an application other than except registered dir, or a
// directory in or around it; r.mu is held.
func (r *Registry) usedBy(dir, except string) bool {
	for id, a := range r.apps {
		if id == except {
			continue
		}
		for _, e := range a.executors {
			for _, d := range e.Location.Dirs {
				if blocks.Within(d, dir) || blocks.Within(dir, d) {
					return true
				}
			}
		}
	}
	return false
}

// Pending lists the directories to delete, also those from before a restart.
func (r *Registry) Pending() []Removal {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Removal, 0, len(r.removals))
	for _, m := range r.removals {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Removal) int { return strings.Compare(a.Dir, b.Dir) })
	return out
}

// Claimed reports whether somebody has registered a directory that is waiting
// for its deletion; it must not be deleted then.
func (r *Registry) Claimed(m Removal) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.usedBy(m.Dir, "")
}

// Done takes a directory off the list.
func (r *Registry) Done(m Removal) error {
	r.write.Lock()
	defer r.write.Unlock()
	if r.db != nil {
		if err := r.db.removalDone(m.Dir); err != nil {
			return fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.removals, m.Dir)
	return nil
}
