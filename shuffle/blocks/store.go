package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of a Store. Their texts name files without directories, since they go
// to clients.
var (
	// ErrNotFound is wrapped when a file is missing or cannot be opened.
	ErrNotFound = errors.New("Failed to open file")
	// ErrBadIndex is wrapped when an index does not have the wanted partition or
	// contradicts its data file.
	ErrBadIndex = errors.New("bad shuffle index")
)

// Config bounds a Store.
type Config struct {
	IndexCacheBytes int64 // spark.shuffle.service.index.cache.size
	OpenFiles       int   // index and data files kept open between requests
}

// indexOverhead is what Spark counts for an entry beyond its offsets.
const indexOverhead = 176

// Store finds and reads blocks. It is safe for concurrent use.
type Store struct {
	cfg   Config
	clock atomic.Int64 // advances with each Sweep

	mu      sync.Mutex
	indexes *lru[mapKey, *index]
	files   *lru[fileKey, *file]

	hits, misses atomic.Int64
}

type mapKey struct {
	loc     *Location
	shuffle int32
	mapID   int64
}

// fileKey is one of the two files of a map task's output.
type fileKey struct {
	mapKey
	index bool
}

// index is a cached index file, offsets still encoded.
type index struct {
	path  string
	stamp stamp
	raw   []byte // nil: too large to keep
	name  string
}

// stamp changes whenever a file is rewritten or replaced.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
}

// NewStore makes an empty store.
func NewStore(cfg Config) *Store {
	s := &Store{cfg: cfg}
	s.indexes = newLRU[mapKey, *index](cfg.IndexCacheBytes, nil)
	s.files = newLRU[fileKey](int64(cfg.OpenFiles), (*file).release)
	return s
}

// Stats are the counters of a Store since it was made, and its present size.
type Stats struct {
	IndexHits, IndexMisses int64
	IndexBytes             int64
	OpenFiles              int64
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{s.hits.Load(), s.misses.Load(), s.indexes.weight, s.files.weight}
}

// Close lets go of all cached files. Blocks that were handed out stay valid.
func (s *Store) Close() {
	s.Forget(nil)
}

// Forget drops what is cached for an executor (nil: for all), so that its
// deleted files free their disk space.
func (s *Store) Forget(loc *Location) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexes.removeIf(func(k mapKey, _ *index) bool { return loc == nil || k.loc == loc })
	s.files.removeIf(func(k fileKey, _ *file) bool { return loc == nil || k.loc == loc })
}

// Sweep closes cached files that were deleted, which would keep their disk
// space occupied, and those that were not used between the two last sweeps.
func (s *Store) Sweep() {
	now := s.clock.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.removeIf(func(_ fileKey, f *file) bool {
		var st unix.Stat_t
		return f.used.Load() < now-1 || f.stat(&st) != nil || st.Nlink == 0
	})
}

// SweepInterval is how often Sweep wants to be called.
const SweepInterval = 10 * time.Second

// Shuffle finds the bytes of the reduce partitions [start, end) of one map
// task's output. The caller closes the block.
func (s *Store) Shuffle(loc *Location, shuffle int32, mapID int64, start, end int32) (Block, error) {
	key := mapKey{loc, shuffle, mapID}
	idx, err := s.index(key)
	if err != nil {
		return Block{}, err
	}
	from, to, err := idx.span(loc, start, end)
	if err != nil || from == to {
		return Block{}, err // no data file need exist for an empty block
	}
	f, size, err := s.data(key)
	if err != nil {
		return Block{}, err
	}
	if to > size {
		f.release()
		return Block{}, fmt.Errorf("%w: %s says %d bytes, its data file has %d", ErrBadIndex, idx.name, to, size)
	}
	return Block{file: f, Off: from, Len: to - from}, nil
}

// RDD finds a cached partition: a whole file. The caller closes the block.
func (s *Store) RDD(loc *Location, id RDDID) (Block, error) {
	dir, rel := loc.Find(id.Name())
	f, st, err := openFile(dir, rel)
	if err != nil {
		return Block{}, fmt.Errorf("%w: %s", ErrNotFound, id.Name())
	}
	return Block{file: f, Len: st.Size}, nil
}

func (s *Store) index(key mapKey) (*index, error) {
	s.mu.Lock()
	idx, ok := s.indexes.get(key)
	s.mu.Unlock()
	if ok && s.unchanged(key, idx) {
		s.hits.Add(1)
		return idx, nil
	}
	s.misses.Add(1)
	idx, f, err := loadIndex(key, s.cfg.IndexCacheBytes)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.indexes.remove(key)
		return nil, err
	}
	if idx.raw == nil {
		f.release()
		return idx, nil
	}
	s.keep(fileKey{key, true}, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexes.put(key, idx, int64(len(idx.raw))+indexOverhead)
	return idx, nil
}

// unchanged compares a cached index with its file: by the descriptor, if that
// is open still, which costs a third of going by the path.
func (s *Store) unchanged(key mapKey, idx *index) bool {
	var st unix.Stat_t
	if f := s.opened(fileKey{key, true}); f != nil {
		err := f.stat(&st)
		f.release()
		if err == nil && st.Nlink > 0 {
			return stampOf(&st) == idx.stamp
		}
	}
	return unix.Lstat(idx.path, &st) == nil && stampOf(&st) == idx.stamp
}

// opened gives a cached open file with a reference for the caller, or nil.
func (s *Store) opened(key fileKey) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files.get(key)
	if !ok {
		return nil
	}
	f.refs.Add(1)
	f.used.Store(s.clock.Load())
	return f
}

// keep hands the caller's reference over to the cache.
func (s *Store) keep(key fileKey, f *file) {
	f.used.Store(s.clock.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.put(key, f, 1)
}

func loadIndex(key mapKey, budget int64) (*index, *file, error) {
	name := shuffleFile(key.shuffle, key.mapID, "index")
	dir, rel := key.loc.Find(name)
	f, st, err := openFile(dir, rel)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	idx := &index{path: filepath.Join(dir, rel), stamp: stampOf(&st), name: name}
	switch {
	case st.Size < 16 || st.Size%8 != 0:
		err = fmt.Errorf("%w: %s has %d bytes", ErrBadIndex, name, st.Size)
	case st.Size+indexOverhead <= budget:
		idx.raw = make([]byte, st.Size)
		if _, err = (Block{file: f, Len: st.Size}).ReadAt(idx.raw, 0); err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrBadIndex, name, err)
		}
	}
	if err != nil {
		f.release()
		return nil, nil, err
	}
	return idx, f, nil
}

// span gives the data file's range of the partitions [start, end).
func (x *index) span(loc *Location, start, end int32) (from, to int64, err error) {
	partitions := x.stamp.size/8 - 1
	if start < 0 || end < start || int64(end) > partitions {
		return 0, 0, fmt.Errorf("%w: partitions %d to %d are not in %s, which has %d", ErrBadIndex, start, end, x.name, partitions)
	}
	if x.raw != nil {
		from, to = int64(binary.BigEndian.Uint64(x.raw[8*int(start):])), int64(binary.BigEndian.Uint64(x.raw[8*int(end):]))
	} else if from, to, err = x.readSpan(loc, start, end); err != nil {
		return 0, 0, err
	}
	if from < 0 || to < from {
		return 0, 0, fmt.Errorf("%w: %s goes from %d back to %d", ErrBadIndex, x.name, from, to)
	}
	return from, to, nil
}

// readSpan reads just two offsets, of an index that exceeds the whole cache.
func (x *index) readSpan(loc *Location, start, end int32) (from, to int64, err error) {
	dir, rel := loc.Find(x.name)
	f, st, err := openFile(dir, rel)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", ErrNotFound, x.name)
	}
	defer f.release()
	var raw [16]byte
	whole := Block{file: f, Len: st.Size}
	if _, err = whole.ReadAt(raw[:8], 8*int64(start)); err == nil {
		_, err = whole.ReadAt(raw[8:], 8*int64(end))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("%w: %s: %w", ErrBadIndex, x.name, err)
	}
	return int64(binary.BigEndian.Uint64(raw[:])), int64(binary.BigEndian.Uint64(raw[8:])), nil
}

// data gives the open data file with a reference for the caller, and its size.
func (s *Store) data(key mapKey) (*file, int64, error) {
	var st unix.Stat_t
	if f := s.opened(fileKey{key, false}); f != nil {
		if f.stat(&st) == nil && st.Nlink > 0 {
			return f, st.Size, nil
		}
		f.release() // deleted or replaced since it was opened
	}
	name := shuffleFile(key.shuffle, key.mapID, "data")
	dir, rel := key.loc.Find(name)
	f, st, err := openFile(dir, rel)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.files.remove(fileKey{key, false})
		return nil, 0, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	f.refs.Add(1) // one for the caller, one for the cache
	s.keep(fileKey{key, false}, f)
	return f, st.Size, nil
}
