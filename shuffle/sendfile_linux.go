package shuffle

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
)

// io.Copy would use sendfile(2) too, but from the file's own position, and the
// same open file serves many connections at once. So it is called here, with
// an offset.

// writeMore writes p and tells the kernel that more follows at once, so that a
// header does not travel alone.
func writeMore(_ net.Conn, raw syscall.RawConn, p []byte) error {
	var failed error
	err := raw.Write(func(fd uintptr) bool {
		for len(p) > 0 {
			n, err := unix.SendmsgN(int(fd), p, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			switch err {
			case nil:
				p = p[n:]
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				failed = err
				return true
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}

// sendfile sends n bytes of the block from off on.
func sendfile(_ net.Conn, raw syscall.RawConn, b blocks.Block, off, n int64) (sent int64, err error) {
	at := b.Off + off
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for sent < n {
			m, err := unix.Sendfile(int(fd), b.FD(), &at, int(n-sent))
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false
			case err != nil:
				failed = err
				return true
			case m == 0:
				failed = io.ErrUnexpectedEOF // the file was cut short
				return true
			default:
				sent += int64(m)
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return sent, err
}
