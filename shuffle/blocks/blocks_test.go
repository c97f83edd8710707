package blocks

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFilesAreWhereSparkPutsThem(t *testing.T) {
	one := &Location{Dirs: []string{"/d0"}, SubDirs: 64}
	three := &Location{Dirs: []string{"/d0", "/d1", "/d2"}, SubDirs: 64}
	tests := []struct {
		name       string
		hash       int
		one, three string
	}{
		{"shuffle_0_0_0.index", 861282032, "/d0/30/", "/d2/3a/"},
		{"shuffle_0_0_0.data", 581811660, "/d0/0c/", "/d0/04/"},
		{"shuffle_0_1_0.index", 946172431, "/d0/0f/", "/d1/1a/"},
		{"shuffle_0_1_0.data", 1970345301, "/d0/15/", "/d0/07/"},
		{"shuffle_12_345_0.index", 2124733233, "/d0/31/", "/d0/3b/"},
		{"shuffle_12_345_0.data", 1315304811, "/d0/2b/", "/d0/39/"},
		{"rdd_0_0", 1054350996, "/d0/14/", "/d0/1c/"},
		{"rdd_7_42", 1674648781, "/d0/0d/", "/d1/04/"},
		{"shuffle_0_0_0.checksum.ADLER32", 103986100, "/d0/34/", "/d1/11/"},
	}
	for _, tt := range tests {
		if h := nonNegativeHash(tt.name); h != tt.hash {
			t.Errorf("hash of %s is %d, Java's %d", tt.name, h, tt.hash)
		}
		for l, want := range map[*Location]string{one: tt.one, three: tt.three} {
			if dir, rel := l.Find(tt.name); dir+"/"+rel != want+tt.name {
				t.Errorf("%s is at %s/%s, Spark puts it into %s", tt.name, dir, rel, want)
			}
		}
	}
	if h := nonNegativeHash("polygenelubricants"); h != 0 { // its hashCode is Integer.MIN_VALUE
		t.Errorf("hash without an absolute value gives %d, want 0", h)
	}
}

func TestRegisteredDirsAreChecked(t *testing.T) {
	tests := []struct {
		name    string
		dirs    []string
		subs    int
		allowed []string
		ok      bool
	}{
		{"one absolute dir", []string{"/tmp/blockmgr-1"}, 64, nil, true},
		{"beneath an allowed dir", []string{"/data/x/blockmgr-1"}, 64, []string{"/data/"}, true},
		{"outside the allowed dirs", []string{"/database/blockmgr-1"}, 64, []string{"/data"}, false},
		{"no dir", nil, 64, nil, false},
		{"relative", []string{"tmp"}, 64, nil, false},
		{"dot dot", []string{"/tmp/../etc"}, 64, nil, false},
		{"dot dot at the end", []string{"/tmp/.."}, 64, nil, false},
		{"zero byte", []string{"/tmp\x00/x"}, 64, nil, false},
		{"endless", []string{"/" + strings.Repeat("x", maxDirLen)}, 64, nil, false},
		{"too many", make([]string, maxDirs+1), 64, nil, false},
		{"no sub-directories", []string{"/tmp"}, 0, nil, false},
		{"absurdly many sub-directories", []string{"/tmp"}, 1 << 30, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewLocation(tt.dirs, tt.subs, tt.allowed); (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrBadLocation)) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// executor writes files as an executor would.
type executor struct {
	t   testing.TB
	loc *Location
}

func newExecutor(t testing.TB) executor {
	dir := filepath.Join(t.TempDir(), "blockmgr-1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return executor{t, &Location{Dirs: []string{dir}, SubDirs: 64}}
}

func (e executor) path(name string) string {
	dir, rel := e.loc.Find(name)
	return filepath.Join(dir, rel)
}

func (e executor) write(name string, p []byte) {
	e.t.Helper()
	if err := os.MkdirAll(filepath.Dir(e.path(name)), 0o755); err != nil {
		e.t.Fatal(err)
	}
	tmp := e.path(name) + ".tmp"
	if err := os.WriteFile(tmp, p, 0o644); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(tmp, e.path(name)); err != nil {
		e.t.Fatal(err)
	}
}

func (e executor) output(shuffle int32, mapID int64, partitions ...string) {
	index := make([]byte, 8)
	data := ""
	for _, p := range partitions {
		data += p
		index = binary.BigEndian.AppendUint64(index, uint64(len(data)))
	}
	e.write(shuffleFile(shuffle, mapID, "index"), index)
	e.write(shuffleFile(shuffle, mapID, "data"), []byte(data))
}

func read(t testing.TB, b Block, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := io.ReadAll(io.NewSectionReader(b, 0, b.Len))
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func newStore(t testing.TB, cfg Config) *Store {
	s := NewStore(cfg)
	t.Cleanup(s.Close)
	return s
}

var roomy = Config{IndexCacheBytes: 1 << 20, OpenFiles: 16}

func TestShuffleBlocks(t *testing.T) {
	e := newExecutor(t)
	e.output(3, 1<<40, "first", "", "third", "4")
	for name, cfg := range map[string]Config{"cached": roomy, "index larger than the cache": {IndexCacheBytes: 10, OpenFiles: 1}, "no file cache": {IndexCacheBytes: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, cfg)
			for range 2 {
				for _, tt := range []struct {
					from, to int32
					want     string
				}{{0, 1, "first"}, {1, 2, ""}, {2, 3, "third"}, {3, 4, "4"}, {0, 4, "firstthird4"}, {1, 3, "third"}, {2, 2, ""}} {
					b, err := s.Shuffle(e.loc, 3, 1<<40, tt.from, tt.to)
					if got := read(t, b, err); got != tt.want {
						t.Errorf("[%d, %d) is %q, want %q", tt.from, tt.to, got, tt.want)
					}
				}
			}
			for _, r := range [][2]int32{{-1, 0}, {4, 5}, {0, 5}, {3, 2}} {
				if _, err := s.Shuffle(e.loc, 3, 1<<40, r[0], r[1]); !errors.Is(err, ErrBadIndex) {
					t.Errorf("[%d, %d): %v, want ErrBadIndex", r[0], r[1], err)
				}
			}
		})
	}
}

func TestRewrittenFilesAreNotServedFromMemory(t *testing.T) {
	e, s := newExecutor(t), newStore(t, roomy)
	e.output(0, 0, "old", "older")
	b, err := s.Shuffle(e.loc, 0, 0, 1, 2)
	if got := read(t, b, err); got != "older" {
		t.Fatal(got)
	}
	held, err := s.Shuffle(e.loc, 0, 0, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	e.output(0, 0, "fresh", "new")
	b, err = s.Shuffle(e.loc, 0, 0, 1, 2)
	if got := read(t, b, err); got != "new" {
		t.Fatalf("after a rewrite: %q", got)
	}
	if got := read(t, held, nil); got != "old" {
		t.Fatalf("block that was handed out before: %q", got)
	}
	os.Remove(e.path("shuffle_0_0_0.index"))
	if _, err := s.Shuffle(e.loc, 0, 0, 1, 2); !errors.Is(err, ErrNotFound) || strings.Contains(err.Error(), e.loc.Dirs[0]) {
		t.Fatalf("after removal: %v, want ErrNotFound without the directory", err)
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	e, s := newExecutor(t), newStore(t, roomy)
	e.output(0, 0, "12345")
	e.write("shuffle_0_0_0.data", []byte("123"))
	e.write("shuffle_0_1_0.index", make([]byte, 15))
	e.output(0, 2, "x")
	e.write("shuffle_0_2_0.index", []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01"))
	os.MkdirAll(e.path("shuffle_0_3_0.index"), 0o755)
	for mapID, want := range []error{ErrBadIndex, ErrBadIndex, ErrBadIndex, ErrNotFound} {
		if b, err := s.Shuffle(e.loc, 0, int64(mapID), 0, 1); !errors.Is(err, want) {
			t.Errorf("map %d: %+v, %v, want %v", mapID, b, err, want)
		}
	}
}

func TestNothingOutsideTheDirIsOpened(t *testing.T) {
	e, s := newExecutor(t), newStore(t, roomy)
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, make([]byte, 16), 0o644)
	for _, name := range []string{"rdd_0_0", "shuffle_0_0_0.index"} {
		os.MkdirAll(filepath.Dir(e.path(name)), 0o755)
		if err := os.Symlink(secret, e.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.RDD(e.loc, RDDID{0, 0}); !errors.Is(err, ErrNotFound) {
		t.Errorf("symlink out of the dir: %v", err)
	}
	if _, err := s.Shuffle(e.loc, 0, 0, 0, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("index symlink out of the dir: %v", err)
	}
	fifo := e.path("rdd_1_1")
	os.MkdirAll(filepath.Dir(fifo), 0o755)
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RDD(e.loc, RDDID{1, 1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("FIFO: %v", err)
	}
	e.write("rdd_2_2", []byte("cached"))
	b, err := s.RDD(e.loc, RDDID{2, 2})
	if got := read(t, b, err); got != "cached" {
		t.Errorf("RDD block %q", got)
	}
}

func TestCacheStaysWithinItsBudget(t *testing.T) {
	e := newExecutor(t)
	s := newStore(t, Config{IndexCacheBytes: 10 * (16 + indexOverhead), OpenFiles: 4})
	for m := range int64(30) {
		e.output(0, m, "x")
		b, err := s.Shuffle(e.loc, 0, m, 0, 1)
		read(t, b, err)
	}
	if st := s.Stats(); st.IndexBytes != 10*(16+indexOverhead) || st.OpenFiles != 4 {
		t.Fatalf("holds %+v", st)
	}
	os.Remove(e.path("shuffle_0_29_0.data"))
	if s.Sweep(); s.Stats().OpenFiles != 3 {
		t.Fatal("a deleted file is kept open")
	}
	s.Sweep()
	if s.Sweep(); s.Stats().OpenFiles != 0 {
		t.Fatal("idle files are kept open")
	}
	s.Forget(e.loc)
	if st := s.Stats(); st.IndexBytes != 0 {
		t.Fatalf("after Forget: %+v", st)
	}
}

func TestDiagnosis(t *testing.T) {
	e, s := newExecutor(t), newStore(t, roomy)
	e.output(0, 0, "skipped", "block")
	adler, crc := int64(adler32.Checksum([]byte("block"))), int64(crc32.ChecksumIEEE([]byte("block")))
	sums := func(v int64) []byte {
		return binary.BigEndian.AppendUint64(make([]byte, 8), uint64(v))
	}
	e.write("shuffle_0_0_0.checksum.ADLER32", sums(adler))
	tests := []struct {
		name, algorithm string
		stored          []byte
		readers         int64
		want            Verdict
	}{
		{"all agree", "ADLER32", sums(adler), adler, ChecksumPass},
		{"all agree on CRC32", "CRC32", sums(crc), crc, ChecksumPass},
		{"reader differs", "ADLER32", sums(adler), adler + 1, NetworkIssue},
		{"writer differs from the file", "ADLER32", sums(adler + 1), adler, DiskIssue},
		{"checksum file too short", "ADLER32", sums(adler)[:8], adler, UnknownIssue},
		{"algorithm with a path in it", "../../etc/passwd", nil, adler, UnsupportedAlgorithm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.stored != nil {
				e.write("shuffle_0_0_0.checksum."+tt.algorithm, tt.stored)
			}
			got, err := s.Diagnose(e.loc, ShuffleID{0, 0, 1}, tt.algorithm, tt.readers)
			if err != nil || got != tt.want {
				t.Fatalf("got %d, %v, want %d", got, err, tt.want)
			}
		})
	}
	e.output(0, 1, "x")
	if got, err := s.Diagnose(e.loc, ShuffleID{0, 1, 0}, "CRC32", 0); err != nil || got != UnknownIssue {
		t.Errorf("no checksum file: %d, %v", got, err)
	}
	if _, err := s.Diagnose(e.loc, ShuffleID{0, 2, 0}, "CRC32", 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("no index: %v", err)
	}
}

func TestRemoveTakesPlainNamesOnly(t *testing.T) {
	e := newExecutor(t)
	outside := filepath.Join(filepath.Dir(e.loc.Dirs[0]), "rdd_0_0")
	os.WriteFile(outside, nil, 0o644)
	for _, name := range []string{"rdd_0_0", "shuffle_0_0_0.data", "shuffle_0_0_0.checksum.ADLER32"} {
		e.write(name, nil)
	}
	os.MkdirAll(e.path("rdd_9_9"), 0o755)
	n, err := Remove(e.loc, []string{"rdd_0_0", "shuffle_0_0_0.data", "shuffle_0_0_0.checksum.ADLER32",
		"rdd_1_1", "rdd_9_9", "../rdd_0_0", "rdd_../../rdd_0_0", "", ".", "..", "rdd_\x00"})
	if n != 3 || err == nil {
		t.Fatalf("removed %d, %v, want 3 and an error for the others", n, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Fatal("file outside was deleted")
	}
}

func TestRemoveDir(t *testing.T) {
	type env struct {
		top, dir string
		id       DirID
	}
	put := func(t *testing.T, parts ...string) {
		t.Helper()
		p := filepath.Join(parts...)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	exists := func(p string) bool { _, err := os.Lstat(p); return err == nil }
	tests := []struct {
		name    string
		base    string
		prepare func(t *testing.T, v *env)
		wantErr error
		gone    bool
		check   func(t *testing.T, v env)
	}{
		{"a block manager's dir goes as a whole", "blockmgr-1", func(t *testing.T, v *env) { put(t, v.dir, "merge", "odd") }, nil, true, nil},
		{"another dir loses only block files", "data", func(t *testing.T, v *env) { put(t, v.dir, "0c", "precious"); put(t, v.dir, "etc", "rdd_0_0") }, nil, false,
			func(t *testing.T, v env) {
				if !exists(v.dir+"/0c/precious") || !exists(v.dir+"/etc/rdd_0_0") || exists(v.dir+"/0c/shuffle_0_0_0.data") {
					t.Error("deleted the wrong files")
				}
			}},
		{"another dir with nothing but blocks goes", "data", func(*testing.T, *env) {}, nil, true, nil},
		{"a dir that was replaced stays", "blockmgr-1", func(t *testing.T, v *env) {
			for Identify(v.dir) == v.id { // an inode reused within one tick of the kernel's clock looks the same
				os.RemoveAll(v.dir)
				put(t, v.dir, "0c", "shuffle_0_0_0.data")
			}
		}, ErrNotOurs, false, nil},
		{"a symlink put in its place is not followed", "blockmgr-1", func(t *testing.T, v *env) {
			os.Rename(v.dir, v.dir+"-moved")
			put(t, v.top, "victim", "0c", "shuffle_0_0_0.data")
			os.Symlink(filepath.Join(v.top, "victim"), v.dir)
		}, ErrNotOurs, false, func(t *testing.T, v env) {
			if !exists(v.top + "/victim/0c/shuffle_0_0_0.data") {
				t.Error("deleted through a symlink")
			}
		}},
		{"a symlink inside is removed, not followed", "blockmgr-1", func(t *testing.T, v *env) {
			put(t, v.top, "victim", "rdd_0_0")
			os.Symlink(filepath.Join(v.top, "victim"), filepath.Join(v.dir, "0d"))
		}, nil, true, func(t *testing.T, v env) {
			if !exists(v.top + "/victim/rdd_0_0") {
				t.Error("deleted through a symlink")
			}
		}},
		{"missing at registration, plain name", "data", func(_ *testing.T, v *env) { v.id = DirID{} }, ErrNotOurs, false, nil},
		{"missing at registration, block manager's name", "blockmgr-1", func(_ *testing.T, v *env) { v.id = DirID{} }, nil, true, nil},
		{"gone already", "blockmgr-1", func(_ *testing.T, v *env) { os.RemoveAll(v.dir) }, nil, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := env{top: t.TempDir()}
			v.dir = filepath.Join(v.top, tt.base)
			put(t, v.dir, "0c", "shuffle_0_0_0.data")
			v.id = Identify(v.dir)
			tt.prepare(t, &v)
			if err := RemoveDir(v.dir, v.id); !errors.Is(err, tt.wantErr) {
				t.Fatalf("got %v, want %v", err, tt.wantErr)
			}
			if exists(v.dir) == tt.gone {
				t.Errorf("directory still there: %v", !tt.gone)
			}
			if tt.check != nil {
				tt.check(t, v)
			}
		})
	}
}

func TestBlockIDs(t *testing.T) {
	if id, err := ParseShuffle([]byte("shuffle_1_2147483647_3")); err != nil || id != (ShuffleID{1, 2147483647, 3}) {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := ParseRDD([]byte("rdd_7_42")); err != nil || id.Name() != "rdd_7_42" {
		t.Errorf("%+v, %v", id, err)
	}
	for _, bad := range []string{"", "shuffle", "shuffle_", "shuffle_1_2", "shuffle_1_2_3_4", "shuffle_1_2147483648_3", "shuffle_-1_2_3",
		"shuffle_1__3", "shuffle_a_2_3", "shuffle_1_2_99999999999999999999", "rdd_1", "rdd_1_2_3", "rdd_1_x", "broadcast_1"} {
		if _, err := ParseShuffle([]byte(bad)); !errors.Is(err, ErrBadName) {
			t.Errorf("shuffle id %q: %v", bad, err)
		}
		if _, err := ParseRDD([]byte(bad)); !errors.Is(err, ErrBadName) {
			t.Errorf("RDD id %q: %v", bad, err)
		}
	}
}

func FuzzBlockIDs(f *testing.F) {
	f.Add([]byte("shuffle_1_2_3"))
	f.Add([]byte("rdd_1_2"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if id, err := ParseRDD(p); err == nil {
			if again, err := ParseRDD([]byte(id.Name())); err != nil || again != id {
				t.Fatalf("%q became %+v", p, id)
			}
		}
		if id, err := ParseShuffle(p); err == nil && (id.Shuffle < 0 || id.Map < 0 || id.Reduce < 0) {
			t.Fatalf("%q became %+v", p, id)
		}
	})
}
