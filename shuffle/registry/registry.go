package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
)

// Errors of a Registry, all wrapped with details that may be shown to clients.
var (
	// ErrFull means that a limit on registrations is reached; nothing was stored.
	ErrFull = errors.New("too many registrations")
	// ErrInvalid means that a request makes no sense; nothing was stored.
	ErrInvalid = errors.New("invalid registration")
	// ErrStorage means that the database could not be written; nothing was stored.
	ErrStorage = errors.New("registration cannot be stored")
)

// Config of a Registry.
type Config struct {
	// Path of the database file; empty keeps everything in memory only.
	Path string
	// OrphanTimeout ends applications that were restored from disk and never
	// heard of again; zero keeps them for ever.
	OrphanTimeout time.Duration
	// OrphanUnregistered applies OrphanTimeout also to applications whose
	// driver never registered, as outside Mesos none does.
	OrphanUnregistered bool
	// AllowedDirs, if not empty, are the directories that local dirs must be beneath.
	AllowedDirs []string
	// MaxBytes bounds the memory for registrations, roughly.
	MaxBytes int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const (
	maxIDLen         = 512
	maxManagerLen    = 4096
	executorOverhead = 512 // maps, pointers and headers around an executor's strings
)

// Executor is one registered executor. It is immutable; the pointer stays the
// same as long as the registration does not change.
type Executor struct {
	App, ID        string
	Location       *blocks.Location
	ShuffleManager string
	ids            []blocks.DirID // of Location.Dirs, when they were registered
	app            *app
}

// Touch notes a sign of life of the executor's application. It is cheap.
func (e *Executor) Touch(now time.Time) { e.app.active.Store(now.UnixNano()) }

// app is what is known of one application.
type app struct {
	executors map[string]*Executor
	driver    bool          // RegisterDriver was received
	timeout   time.Duration // of its heartbeats
	beaten    bool          // registered or beaten since this process started
	lastBeat  time.Time
	active    atomic.Int64 // last sign of life of any kind, Unix nanoseconds
}

// Registry is safe for concurrent use.
type Registry struct {
	cfg Config
	now func() time.Time
	db  *database // nil: memory only

	write sync.Mutex // held across a change and its transaction, so that both have one order
	mu    sync.RWMutex
	apps  map[string]*app
	bytes int64
	count int

	removals map[string]Removal // by directory
}

// Open reads the database and gives back what it holds. The error says what to
// do; a database that cannot be read at all is set aside, see [Registry.SetAside].
func Open(cfg Config) (*Registry, error) {
	r := &Registry{cfg: cfg, now: cfg.Now, apps: map[string]*app{}, removals: map[string]Removal{}}
	if r.now == nil {
		r.now = time.Now
	}
	if cfg.Path == "" {
		return r, nil
	}
	db, err := openDatabase(cfg.Path)
	if err != nil {
		return nil, err
	}
	r.db = db
	if err := db.load(r); err != nil {
		db.close()
		return nil, err
	}
	return r, nil
}

// SetAside names the file that a damaged database was moved to by Open, or "".
func (r *Registry) SetAside() string {
	if r.db == nil {
		return ""
	}
	return r.db.setAside
}

// Close closes the database.
func (r *Registry) Close() error {
	if r.db == nil {
		return nil
	}
	return r.db.close()
}

func (r *Registry) restoreExecutor(app, id string, rec executorRecord) {
	loc, err := blocks.NewLocation(rec.LocalDirs, rec.SubDirs, r.cfg.AllowedDirs)
	if err != nil {
		return // the allowed directories have changed
	}
	for len(rec.DirIDs) < len(loc.Dirs) {
		rec.DirIDs = append(rec.DirIDs, blocks.DirID{})
	}
	r.put(&Executor{App: app, ID: id, Location: loc, ShuffleManager: rec.ShuffleManager, ids: rec.DirIDs})
}

func (r *Registry) restoreDriver(id string, rec driverRecord) {
	a := r.app(id)
	a.driver, a.timeout = true, time.Duration(rec.TimeoutMs)*time.Millisecond
}

// app finds or makes an application; r.mu is held, or nobody else is there yet.
func (r *Registry) app(id string) *app {
	a := r.apps[id]
	if a == nil {
		a = &app{executors: map[string]*Executor{}}
		a.active.Store(r.now().UnixNano())
		r.apps[id] = a
		r.bytes += executorOverhead
	}
	return a
}

func (e *Executor) size() int64 {
	n := executorOverhead + len(e.App) + len(e.ID) + len(e.ShuffleManager)
	for _, d := range e.Location.Dirs {
		n += len(d) + 64
	}
	return int64(n)
}

func (r *Registry) put(e *Executor) {
	a := r.app(e.App)
	if old := a.executors[e.ID]; old != nil {
		r.bytes -= old.size()
		r.count--
	}
	e.app = a
	a.executors[e.ID] = e
	a.active.Store(r.now().UnixNano())
	r.bytes += e.size()
	r.count++
}

func checkID(what, id string) error {
	if id == "" || len(id) > maxIDLen || slices.Contains([]byte(id), 0) {
		return fmt.Errorf("%w: %s of %d bytes, 1 to %d are possible, none of them zero", ErrInvalid, what, len(id), maxIDLen)
	}
	return nil
}

// RegisterExecutor stores where an executor keeps its files, replacing what it
// said before. When it returns nil, the registration survives a crash. It also
// returns the replaced registration, if it was different.
func (r *Registry) RegisterExecutor(appID, execID string, dirs []string, subDirs int, manager string) (replaced *Executor, err error) {
	if err := cmp.Or(checkID("application id", appID), checkID("executor id", execID)); err != nil {
		return nil, err
	}
	if len(manager) > maxManagerLen {
		return nil, fmt.Errorf("%w: shuffle manager of %d bytes", ErrInvalid, len(manager))
	}
	loc, err := blocks.NewLocation(dirs, subDirs, r.cfg.AllowedDirs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	e := &Executor{App: appID, ID: execID, Location: loc, ShuffleManager: manager}
	for _, d := range loc.Dirs {
		e.ids = append(e.ids, blocks.Identify(d))
	}
	r.write.Lock()
	defer r.write.Unlock()
	old, _ := r.Executor(appID, execID)
	if old != nil && old.Location.Equal(loc) && old.ShuffleManager == manager && slices.Equal(old.ids, e.ids) {
		old.Touch(r.now())
		return nil, nil
	}
	r.mu.RLock()
	full := r.cfg.MaxBytes > 0 && r.bytes+e.size()+executorOverhead > r.cfg.MaxBytes
	r.mu.RUnlock()
	if full {
		return nil, fmt.Errorf("%w: their %d bytes are used up; raise spark.shuffle.service.registrations.maxSize", ErrFull, r.cfg.MaxBytes)
	}
	if r.db != nil {
		rec := executorRecord{LocalDirs: loc.Dirs, SubDirs: subDirs, ShuffleManager: manager, DirIDs: e.ids}
		if err := r.db.putExecutor(appID, execID, rec); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(e)
	return old, nil
}

// Executor looks a registration up.
func (r *Registry) Executor(appID, execID string) (*Executor, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.apps[appID]
	if a == nil {
		return nil, false
	}
	e, ok := a.executors[execID]
	return e, ok
}

// RegisterDriver starts the clock of an application's heartbeats. known says
// that its driver was registered before. A restart does not lose it.
func (r *Registry) RegisterDriver(appID string, timeoutMs int64) (known bool, err error) {
	if err := checkID("application id", appID); err != nil {
		return false, err
	}
	if timeoutMs <= 0 {
		return false, fmt.Errorf("%w: heartbeat timeout of %d ms; it must be positive", ErrInvalid, timeoutMs)
	}
	timeoutMs = min(timeoutMs, int64(1<<62/time.Millisecond))
	r.write.Lock()
	defer r.write.Unlock()
	r.mu.RLock()
	a := r.apps[appID]
	full := a == nil && r.cfg.MaxBytes > 0 && r.bytes+executorOverhead > r.cfg.MaxBytes
	r.mu.RUnlock()
	if full {
		return false, fmt.Errorf("%w: their %d bytes are used up; raise spark.shuffle.service.registrations.maxSize", ErrFull, r.cfg.MaxBytes)
	}
	if r.db != nil {
		if err := r.db.putDriver(appID, driverRecord{TimeoutMs: timeoutMs}); err != nil {
			return false, fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a = r.app(appID)
	known = a.driver
	a.driver, a.timeout = true, time.Duration(timeoutMs)*time.Millisecond
	a.beat(r.now())
	return known, nil
}

func (a *app) beat(now time.Time) {
	a.beaten, a.lastBeat = true, now
	a.active.Store(now.UnixNano())
}

// Heartbeat notes that a driver lives; false means that it never registered.
func (r *Registry) Heartbeat(appID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.apps[appID]
	if a == nil || !a.driver {
		return false
	}
	a.beat(r.now())
	return true
}

// Expired lists the applications that are to be removed now, in order.
func (r *Registry) Expired() []string {
	now := r.now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []string
	for id, a := range r.apps {
		if r.expired(a, now) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (r *Registry) expired(a *app, now time.Time) bool {
	if a.driver && a.beaten {
		return now.Sub(a.lastBeat) > a.timeout
	}
	if r.cfg.OrphanTimeout <= 0 || !a.driver && !r.cfg.OrphanUnregistered {
		return false
	}
	limit := max(r.cfg.OrphanTimeout, a.timeout)
	return now.Sub(time.Unix(0, a.active.Load())) > limit
}

// Counts returns the number of applications and of executors.
func (r *Registry) Counts() (apps, executors int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.apps), r.count
}
