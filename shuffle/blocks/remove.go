package blocks

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// Remove deletes the named files of an executor and returns how many it
// deleted, with an error that joins the reasons for the others. A name that is
// no plain block name is refused.
func Remove(loc *Location, names []string) (removed int, err error) {
	var failed []error
	for _, name := range names {
		if err := remove(loc, name); err != nil {
			if len(failed) < 10 {
				failed = append(failed, fmt.Errorf("Failed to delete block: %.200q: %w", name, err))
			}
			continue
		}
		removed++
	}
	return removed, errors.Join(failed...)
}

func remove(loc *Location, name string) error {
	if !removable.MatchString(name) {
		return ErrBadName
	}
	dir, rel := loc.Find(name)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if st, err := root.Lstat(rel); err != nil {
		return err
	} else if !st.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrBadName)
	}
	return root.Remove(rel)
}

// DirID tells one directory from another of the same path: inode numbers are
// reused, so the time of birth counts too where the file system knows it.
type DirID struct {
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
	Born int64  `json:"born"` // Unix nanoseconds, 0 if unknown
}

// Identify looks at a directory. The zero DirID means that there is none.
func Identify(dir string) DirID {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return DirID{}
	}
	defer unix.Close(fd)
	return identify(fd)
}

func identify(fd int) DirID {
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st) != nil {
		return DirID{}
	}
	id := DirID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id
}

// ErrNotOurs is wrapped when a directory is not the one that was registered
// any more; nothing was deleted.
var ErrNotOurs = errors.New("not the directory that was registered")

// What a block manager leaves behind: <two or more hex digits>/<block file>.
var (
	subDirName   = regexp.MustCompile(`^[0-9a-f]{2,4}$`)
	blockFile    = regexp.MustCompile(`^(shuffle|rdd|broadcast|taskresult|input|temp_shuffle|temp_local|test)[A-Za-z]*[_-]`)
	managerNames = "blockmgr-"
)

// RemoveDir deletes a block manager's directory. It does so only if the
// directory still is the registered one; if it was missing then (zero id), only
// if its name is a block manager's. Of a directory that is not named
// blockmgr-*, only sub-directories of two to four hex digits are touched, and
// in them only files with names of blocks; whatever else is there stays, and
// so does the directory around it. Symbolic links are removed, never followed.
// A directory that is gone already is no error.
func RemoveDir(dir string, id DirID) error {
	named := strings.HasPrefix(filepath.Base(dir), managerNames)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	self, err := root.Open(".")
	if err != nil {
		return err
	}
	now := identify(int(self.Fd())) // of what root holds, whatever the path leads to by now
	self.Close()
	if now != id && (id != DirID{} || !named) {
		return fmt.Errorf("%w: %s is %+v, was %+v", ErrNotOurs, dir, now, id)
	}
	if named {
		err = removeEntries(root, ".", func(e fs.DirEntry) error { return root.RemoveAll(e.Name()) })
	} else {
		err = removeBlocks(root)
	}
	if err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOTEMPTY && err != unix.ENOENT {
		return fmt.Errorf("removing the empty %s: %w", dir, err)
	}
	return nil
}

func removeBlocks(root *os.Root) error {
	return removeEntries(root, ".", func(e fs.DirEntry) error {
		if !e.IsDir() || !subDirName.MatchString(e.Name()) {
			return nil
		}
		sub := e.Name()
		err := removeEntries(root, sub, func(f fs.DirEntry) error {
			if f.IsDir() || !blockFile.MatchString(f.Name()) {
				return nil
			}
			return root.Remove(filepath.Join(sub, f.Name()))
		})
		if err != nil {
			return err
		}
		_ = root.Remove(sub) // fails if something else is in it, which then stays
		return nil
	})
}

// removeEntries reads a directory in pieces, since it may hold millions of files.
func removeEntries(root *os.Root, dir string, remove func(fs.DirEntry) error) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	var failed []error
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			if err := remove(e); err != nil && !errors.Is(err, fs.ErrNotExist) && len(failed) < 10 {
				failed = append(failed, err)
			}
		}
		if err == io.EOF {
			return errors.Join(failed...)
		}
		if err != nil {
			return err
		}
	}
}
