package blocks

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf16"
)

// Location is where one executor keeps its files. It is immutable; its address
// identifies the registration in caches.
type Location struct {
	Dirs    []string // absolute
	SubDirs int      // sub-directories per dir, spark.diskStore.subDirectories
}

// Limits of a Location. Spark's default is one directory with 64 sub-directories.
const (
	maxDirs    = 128
	maxDirLen  = 4096
	maxSubDirs = 1 << 16
)

// ErrBadLocation is wrapped when a registration names directories that no
// executor could use.
var ErrBadLocation = errors.New("unusable local directories")

// NewLocation checks what an executor registered. allowed, if not empty, lists
// the directories that local dirs must be beneath.
func NewLocation(dirs []string, subDirs int, allowed []string) (*Location, error) {
	if len(dirs) == 0 || len(dirs) > maxDirs {
		return nil, fmt.Errorf("%w: %d directories, 1 to %d are possible", ErrBadLocation, len(dirs), maxDirs)
	}
	if subDirs < 1 || subDirs > maxSubDirs {
		return nil, fmt.Errorf("%w: %d sub-directories, 1 to %d are possible", ErrBadLocation, subDirs, maxSubDirs)
	}
	l := &Location{SubDirs: subDirs}
	for _, d := range dirs {
		if err := checkDir(d, allowed); err != nil {
			return nil, err
		}
		l.Dirs = append(l.Dirs, filepath.Clean(d))
	}
	return l, nil
}

func checkDir(d string, allowed []string) error {
	switch {
	case !filepath.IsAbs(d) || len(d) > maxDirLen || strings.ContainsRune(d, 0):
		return fmt.Errorf("%w: %.100q is not an absolute path of at most %d bytes", ErrBadLocation, d, maxDirLen)
	case strings.Contains(d+"/", "/../"):
		return fmt.Errorf("%w: %.100q contains \"..\"", ErrBadLocation, d)
	}
	for _, a := range allowed {
		if Within(filepath.Clean(d), filepath.Clean(a)) {
			return nil
		}
	}
	if len(allowed) > 0 {
		return fmt.Errorf("%w: %.100q is not beneath an allowed directory", ErrBadLocation, d)
	}
	return nil
}

// Within reports whether the clean path p is dir or beneath it.
func Within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// Equal reports whether both describe the same directories.
func (l *Location) Equal(o *Location) bool {
	if o == nil || l.SubDirs != o.SubDirs || len(l.Dirs) != len(o.Dirs) {
		return false
	}
	for i, d := range l.Dirs {
		if d != o.Dirs[i] {
			return false
		}
	}
	return true
}

// Find gives the local dir and the path beneath it of the file called name
// (ExecutorDiskUtils.getFilePath in Spark).
func (l *Location) Find(name string) (dir, rel string) {
	hash := nonNegativeHash(name)
	dir = l.Dirs[hash%len(l.Dirs)]
	sub := hash / len(l.Dirs) % l.SubDirs
	return dir, fmt.Sprintf("%02x/%s", sub, name)
}

// nonNegativeHash is |String.hashCode|, and 0 for the one int without an
// absolute value.
func nonNegativeHash(s string) int {
	var h int32
	for _, r := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(r)
	}
	if h == -1<<31 {
		return 0
	}
	if h < 0 {
		h = -h
	}
	return int(h)
}
