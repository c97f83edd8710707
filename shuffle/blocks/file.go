package blocks

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// file is an open regular file that several blocks and the cache share; it is
// closed when the last of them lets go.
type file struct {
	f    *os.File
	fd   int
	refs atomic.Int32
	used atomic.Int64 // last use, in the store's coarse clock
}

// openFile opens a regular file beneath dir for reading. O_NONBLOCK keeps a
// FIFO that somebody put in its place from blocking us for ever.
func openFile(dir, rel string) (*file, unix.Stat_t, error) {
	var st unix.Stat_t
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, st, err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, st, err
	}
	of := &file{f: f, fd: int(f.Fd())}
	of.refs.Store(1)
	if err := of.stat(&st); err != nil {
		f.Close()
		return nil, st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, st, fmt.Errorf("%s is not a regular file", rel)
	}
	return of, st, nil
}

func (f *file) stat(st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(f.fd, st); err != unix.EINTR {
			return err
		}
	}
}

func (f *file) release() {
	if f.refs.Add(-1) == 0 {
		f.f.Close()
	}
}

// Block is a range of an open file. The zero Block is an empty one.
type Block struct {
	file     *file
	Off, Len int64
}

// Close lets go of the file. It must be called once for every block that was
// handed out.
func (b Block) Close() {
	if b.file != nil {
		b.file.release()
	}
}

// FD is the descriptor to read from, valid until Close; -1 for an empty block.
func (b Block) FD() int {
	if b.file == nil {
		return -1
	}
	return b.file.fd
}

// ReadAt reads into p from position off within the block. A file that was cut
// short since the block was found gives io.ErrUnexpectedEOF.
func (b Block) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= b.Len {
		return 0, io.EOF
	}
	want := int(min(int64(len(p)), b.Len-off))
	for got := 0; got < want; {
		n, err := unix.Pread(b.file.fd, p[got:want], b.Off+off+int64(got))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return got, err
		case n == 0:
			return got, io.ErrUnexpectedEOF
		default:
			got += n
		}
	}
	if want < len(p) {
		return want, io.EOF
	}
	return want, nil
}
