package mesosutil

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	maxRecordHeader  = 20      // digits of the largest uint64
	keepRecordBuffer = 1 << 20 // a larger buffer is given back after its record
)

// recordReader reads RecordIO (decimal length, newline, that many bytes) and
// is a mesos-go framing.Reader. It stands in for mesos-go's own, which stops
// at 4 MiB unless it is given half of the limit as a buffer up front, and
// which panics on a length of 2⁶³ or more.
type recordReader struct {
	src   *bufio.Reader
	limit int
	buf   bytes.Buffer
}

func newRecordReader(src io.Reader, limit int) *recordReader {
	return &recordReader{src: bufio.NewReaderSize(src, 32<<10), limit: limit}
}

// ReadFrame returns the next record, valid until the next call; io.EOF only
// between two records.
func (r *recordReader) ReadFrame() ([]byte, error) {
	for {
		size, err := r.readSize()
		if err != nil {
			return nil, err
		}
		if size == 0 {
			continue
		}
		if r.buf.Cap() > keepRecordBuffer {
			r.buf = bytes.Buffer{}
		}
		r.buf.Reset()
		// CopyN grows with what arrives, so a length that lies costs nothing.
		if _, err := io.CopyN(&r.buf, r.src, int64(size)); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		return r.buf.Bytes(), nil
	}
}

func (r *recordReader) readSize() (int, error) {
	var digits [maxRecordHeader]byte
	for n := 0; ; n++ {
		c, err := r.src.ReadByte()
		switch {
		case err != nil && n > 0 && errors.Is(err, io.EOF):
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case c == '\n':
			return r.parseSize(digits[:n])
		case n == maxRecordHeader:
			return 0, fmt.Errorf("%w: length of more than %d digits", ErrRecord, maxRecordHeader)
		}
		digits[n] = c
	}
}

func (r *recordReader) parseSize(digits []byte) (int, error) {
	size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a length", ErrRecord, digits)
	}
	if size > uint64(r.limit) {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are taken (DriverConfig.MaxRecordBytes)", ErrRecord, size, r.limit)
	}
	return int(size), nil
}
