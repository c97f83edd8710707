package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrMalformed is wrapped by every decoding error: the bytes are not what the
// protocol allows. The connection cannot be trusted to be in step any more
// when a frame was malformed; it can when only a message body was.
var ErrMalformed = errors.New("malformed")

// decoder walks over a byte slice; the first failure sticks, and everything
// read after it is a zero value, so that callers check once at the end.
type decoder struct {
	p   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	d.p = nil
}

func (d *decoder) take(n int, what string) []byte {
	if n < 0 || n > len(d.p) {
		d.fail("%s needs %d bytes, %d are left", what, n, len(d.p))
		return nil
	}
	b := d.p[:n]
	d.p = d.p[n:]
	return b
}

func (d *decoder) i8(what string) int8 {
	if b := d.take(1, what); b != nil {
		return int8(b[0])
	}
	return 0
}

func (d *decoder) i32(what string) int32 {
	if b := d.take(4, what); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) i64(what string) int64 {
	if b := d.take(8, what); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) bool(what string) bool { return d.i8(what) != 0 }

// count reads an array length and refuses one whose elements, of at least
// elemSize bytes each, cannot be in what is left.
func (d *decoder) count(elemSize int, what string) int {
	n := int(d.i32(what))
	if n < 0 || n > len(d.p)/elemSize {
		d.fail("%s declares %d elements, %d bytes are left", what, n, len(d.p))
		return 0
	}
	return n
}

func (d *decoder) bytes(what string) []byte { return d.take(int(d.i32(what)), what) }

func (d *decoder) string(what string) string {
	b := d.bytes(what)
	if !utf8.Valid(b) {
		d.fail("%s is not valid UTF-8", what)
		return ""
	}
	return string(b)
}

func (d *decoder) strings(what string) []string {
	n := d.count(4, what)
	var out []string
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, d.string(what))
	}
	return out
}

func (d *decoder) i32s(what string) []int32 {
	n := d.count(4, what)
	out := make([]int32, 0, n)
	return d.appendI32s(out, n, what)
}

func (d *decoder) appendI32s(dst []int32, n int, what string) []int32 {
	b := d.take(4*n, what)
	for ; len(b) >= 4; b = b[4:] {
		dst = append(dst, int32(binary.BigEndian.Uint32(b)))
	}
	return dst
}

func (d *decoder) i64s(what string) []int64 {
	n := d.count(8, what)
	b := d.take(8*n, what)
	out := make([]int64, 0, n)
	for ; len(b) >= 8; b = b[8:] {
		out = append(out, int64(binary.BigEndian.Uint64(b)))
	}
	return out
}

// end refuses bytes that nobody asked for: a message that is longer than its
// fields is a message of some other protocol.
func (d *decoder) end(what string) error {
	if d.err == nil && len(d.p) > 0 {
		d.fail("%d bytes after the end of %s", len(d.p), what)
	}
	return d.err
}

func appendI32(p []byte, v int32) []byte { return binary.BigEndian.AppendUint32(p, uint32(v)) }
func appendI64(p []byte, v int64) []byte { return binary.BigEndian.AppendUint64(p, uint64(v)) }

func appendBool(p []byte, v bool) []byte {
	if v {
		return append(p, 1)
	}
	return append(p, 0)
}

func appendString(p []byte, s string) []byte {
	return append(appendI32(p, int32(len(s))), s...)
}

func appendBytes(p, b []byte) []byte { return append(appendI32(p, int32(len(b))), b...) }

func appendStrings(p []byte, ss []string) []byte {
	p = appendI32(p, int32(len(ss)))
	for _, s := range ss {
		p = appendString(p, s)
	}
	return p
}

func appendI32s(p []byte, vs []int32) []byte {
	p = appendI32(p, int32(len(vs)))
	for _, v := range vs {
		p = appendI32(p, v)
	}
	return p
}
