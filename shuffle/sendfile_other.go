//go:build !linux

package shuffle

import (
	"io"
	"net"
	"syscall"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
)

func writeMore(nc net.Conn, _ syscall.RawConn, p []byte) error {
	_, err := nc.Write(p)
	return err
}

func sendfile(nc net.Conn, _ syscall.RawConn, b blocks.Block, off, n int64) (int64, error) {
	return io.Copy(nc, io.NewSectionReader(b, off, n))
}
