package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func mustOpen(t *testing.T, cfg Config) *Registry {
	t.Helper()
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func register(t *testing.T, r *Registry, app, exec string, dirs ...string) {
	t.Helper()
	if _, err := r.RegisterExecutor(app, exec, dirs, 64, "sort"); err != nil {
		t.Fatal(err)
	}
}

func TestRegistrationsSurviveRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "registrations.db")
	dir := t.TempDir()
	r := mustOpen(t, Config{Path: path})
	register(t, r, "app", "1", dir, "/b")
	register(t, r, "app", "2", "/c")
	register(t, r, "gone", "1", dir+"/gone")
	if known, err := r.RegisterDriver("app", 1000); known || err != nil {
		t.Fatal(known, err)
	}
	if _, err := r.Remove("gone", true); err != nil {
		t.Fatal(err)
	}
	// A crash: the file as it is, without Close.
	copied := filepath.Join(t.TempDir(), "copy.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, Config{Path: copied})
	e, ok := r.Executor("app", "1")
	if !ok || !slices.Equal(e.Location.Dirs, []string{dir, "/b"}) || e.Location.SubDirs != 64 || e.ShuffleManager != "sort" {
		t.Fatalf("restored %+v, %v", e, ok)
	}
	if e.ids[0].Ino == 0 || e.ids[1].Ino != 0 {
		t.Errorf("identities %+v", e.ids)
	}
	if _, ok := r.Executor("gone", "1"); ok {
		t.Error("a removed application came back")
	}
	if p := r.Pending(); len(p) != 0 && p[0].Dir != dir+"/gone" {
		t.Errorf("pending removals %+v", p)
	}
	if !r.Heartbeat("app") {
		t.Error("the driver is not known any more")
	}
	if apps, executors := r.Counts(); apps != 1 || executors != 2 {
		t.Errorf("%d apps, %d executors", apps, executors)
	}
}

func TestExpiryFollowsHeartbeats(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	r := mustOpen(t, Config{Now: c.now, OrphanTimeout: time.Hour})
	register(t, r, "app", "1", "/a")
	register(t, r, "undriven", "1", "/u")
	r.RegisterDriver("app", 2000)
	steps := []struct {
		name    string
		do      func()
		expired bool
	}{
		{"just registered", func() {}, false},
		{"at the timeout", func() { c.advance(2 * time.Second) }, false},
		{"after it", func() { c.advance(time.Millisecond) }, true},
		{"beaten again", func() { r.Heartbeat("app") }, false},
		{"silent again", func() { c.advance(3 * time.Second) }, true},
		{"executors alone do not count", func() { e, _ := r.Executor("app", "1"); e.Touch(c.t) }, true},
		{"driver registered anew with a longer timeout", func() { r.RegisterDriver("app", 10_000) }, false},
		{"silent for the old timeout", func() { c.advance(3 * time.Second) }, false},
	}
	for _, s := range steps {
		s.do()
		if got := slices.Contains(r.Expired(), "app"); got != s.expired {
			t.Fatalf("%s: expired %v", s.name, got)
		}
	}
	c.advance(1000 * time.Hour)
	if slices.Contains(r.Expired(), "undriven") {
		t.Error("an application without a registered driver expired")
	}
	if r.Heartbeat("nobody") || r.Heartbeat("undriven") {
		t.Error("heartbeat of an unregistered driver accepted")
	}
}

func TestRestoredApplicationsGetTheOrphanTimeout(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	path := filepath.Join(t.TempDir(), "r.db")
	cfg := Config{Path: path, Now: c.now, OrphanTimeout: time.Hour}
	r := mustOpen(t, cfg)
	for _, app := range []string{"silent", "active", "beating"} {
		register(t, r, app, "1", "/"+app)
		r.RegisterDriver(app, 2000)
	}
	r.Close()
	r = mustOpen(t, cfg)
	c.advance(50 * time.Minute)
	if got := r.Expired(); len(got) > 0 {
		t.Fatalf("expired %v although their heartbeats cannot have found the new process", got)
	}
	e, _ := r.Executor("active", "1")
	e.Touch(c.t)
	r.Heartbeat("beating")
	c.advance(11 * time.Minute)
	if got := r.Expired(); !slices.Equal(got, []string{"beating", "silent"}) {
		t.Fatalf("expired %v, want those that fell silent", got)
	}
}

func TestAnApplicationThatCameBackIsNotRemoved(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	r := mustOpen(t, Config{Now: c.now})
	register(t, r, "app", "1", "/a")
	r.RegisterDriver("app", 1000)
	c.advance(2 * time.Second)
	if got := r.Expired(); len(got) != 1 {
		t.Fatal(got)
	}
	r.Heartbeat("app")
	if removed, err := r.RemoveExpired("app"); removed != nil || err != nil {
		t.Fatalf("removed %v, %v", removed, err)
	}
}

func TestSharedDirectoriesAreNotRemoved(t *testing.T) {
	r := mustOpen(t, Config{})
	register(t, r, "old", "1", "/d/blockmgr-1", "/d/blockmgr-2")
	register(t, r, "old", "2", "/d/outer")
	register(t, r, "new", "1", "/d/blockmgr-1", "/d/outer/inner")
	register(t, r, "other", "1", "/d/blockmgr-22")
	removed, err := r.Remove("old", true)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(removed.Shared)
	if len(removed.Executors) != 2 || !slices.Equal(removed.Shared, []string{"/d/blockmgr-1", "/d/outer"}) {
		t.Fatalf("removed %+v", removed)
	}
	p := r.Pending()
	if len(p) != 1 || p[0].Dir != "/d/blockmgr-2" || p[0].App != "old" {
		t.Fatalf("pending %+v", p)
	}
	register(t, r, "late", "1", "/d/blockmgr-2")
	if !r.Claimed(p[0]) {
		t.Error("a directory that somebody registered meanwhile may be deleted")
	}
	if err := r.Done(p[0]); err != nil || len(r.Pending()) != 0 {
		t.Fatal(err, r.Pending())
	}
	if _, err := r.Remove("new", false); err != nil || len(r.Pending()) != 0 {
		t.Fatalf("without cleanup: %v, pending %v", err, r.Pending())
	}
}

func TestRefusals(t *testing.T) {
	r := mustOpen(t, Config{MaxBytes: 4 * executorOverhead})
	tests := []struct {
		name string
		do   func() error
		want error
	}{
		{"no application id", func() error { _, err := r.RegisterExecutor("", "1", []string{"/a"}, 64, ""); return err }, ErrInvalid},
		{"endless executor id", func() error {
			_, err := r.RegisterExecutor("a", strings.Repeat("x", 1000), []string{"/a"}, 64, "")
			return err
		}, ErrInvalid},
		{"id with a zero byte", func() error { _, err := r.RegisterExecutor("a\x00b", "1", []string{"/a"}, 64, ""); return err }, ErrInvalid},
		{"unusable dir", func() error { _, err := r.RegisterExecutor("a", "1", []string{"a"}, 64, ""); return err }, ErrInvalid},
		{"timeout of zero", func() error { _, err := r.RegisterDriver("a", 0); return err }, ErrInvalid},
		{"timeout that overflows", func() error { _, err := r.RegisterDriver("a", 1<<62); return err }, nil},
		{"more than the limit", func() error {
			for i := range 10 {
				if _, err := r.RegisterExecutor("a", fmt.Sprint(i), []string{"/a"}, 64, ""); err != nil {
					return err
				}
			}
			return nil
		}, ErrFull},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
	if len(r.Expired()) > 0 {
		t.Error("a huge timeout wrapped around")
	}
	if _, err := r.Remove("a", false); err != nil || r.bytes != 0 || r.count != 0 {
		t.Errorf("%d bytes, %d executors accounted after all are gone, %v", r.bytes, r.count, err)
	}
}

func TestEqualRegistrationKeepsItsPointer(t *testing.T) {
	r := mustOpen(t, Config{})
	register(t, r, "a", "1", "/a")
	first, _ := r.Executor("a", "1")
	register(t, r, "a", "1", "/a")
	if again, _ := r.Executor("a", "1"); again != first {
		t.Error("caches lose their key although nothing changed")
	}
	old, err := r.RegisterExecutor("a", "1", []string{"/b"}, 64, "sort")
	if err != nil || old != first {
		t.Errorf("replaced %v, %v", old, err)
	}
}

func TestDatabaseTrouble(t *testing.T) {
	t.Run("damaged: set aside", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r.db")
		os.WriteFile(path, []byte(strings.Repeat("garbage ", 4096)), 0o600)
		r := mustOpen(t, Config{Path: path})
		if _, err := os.Stat(r.SetAside()); err != nil {
			t.Fatalf("set aside as %q: %v", r.SetAside(), err)
		}
		register(t, r, "a", "1", "/a")
	})
	t.Run("another version: refused and kept", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r.db")
		mustOpen(t, Config{Path: path}).Close()
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyVersion, []byte("2")) })
		db.Close()
		if _, err := Open(Config{Path: path}); !errors.Is(err, ErrVersion) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("in use: refused", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r.db")
		mustOpen(t, Config{Path: path})
		if _, err := Open(Config{Path: path}); !errors.Is(err, ErrLocked) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("closed under us: refused, nothing changed", func(t *testing.T) {
		r := mustOpen(t, Config{Path: filepath.Join(t.TempDir(), "r.db")})
		register(t, r, "a", "1", "/a")
		r.db.db.Close()
		if _, err := r.RegisterExecutor("a", "2", []string{"/a"}, 64, ""); !errors.Is(err, ErrStorage) {
			t.Fatalf("got %v", err)
		}
		if _, ok := r.Executor("a", "2"); ok {
			t.Error("registered in memory only")
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	r := mustOpen(t, Config{Path: filepath.Join(t.TempDir(), "r.db")})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			app := fmt.Sprint("app", i%3)
			for j := range 10 {
				r.RegisterExecutor(app, fmt.Sprint(i, j), []string{"/d"}, 64, "")
				r.RegisterDriver(app, 1000)
				r.Heartbeat(app)
				r.Expired()
				if j%5 == 4 {
					r.Remove(app, true)
				}
				for _, m := range r.Pending() {
					r.Done(m)
				}
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		r.Remove(fmt.Sprint("app", i), false)
	}
	if apps, executors := r.Counts(); apps+executors != 0 || r.bytes != 0 {
		t.Errorf("%d apps, %d executors, %d bytes left", apps, executors, r.bytes)
	}
}
