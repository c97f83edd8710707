package javaser

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Limits bound what Decode takes. Zero fields stand for the defaults.
type Limits struct {
	Bytes  int // of the stream; default 16 MiB
	Depth  int // of objects in objects; default 200
	Values int // objects, strings, fields and array items together; default 1,000,000
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 16 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 200
	}
	if l.Values <= 0 {
		l.Values = 1_000_000
	}
	return l
}

// Marks of the stream (specification, section 6.4.2).
const (
	magic   = 0xaced
	version = 5

	tcNull           = 0x70
	tcReference      = 0x71
	tcClassDesc      = 0x72
	tcObject         = 0x73
	tcString         = 0x74
	tcArray          = 0x75
	tcClass          = 0x76
	tcBlockData      = 0x77
	tcEndBlockData   = 0x78
	tcReset          = 0x79
	tcBlockDataLong  = 0x7a
	tcException      = 0x7b
	tcLongString     = 0x7c
	tcProxyClassDesc = 0x7d
	tcEnum           = 0x7e

	baseHandle = 0x7e0000

	scWriteMethod    = 0x01
	scSerializable   = 0x02
	scExternalizable = 0x04
	scBlockData      = 0x08
	scEnum           = 0x10
)

// Decode reads a stream that holds exactly one value. Errors are *SyntaxError.
func Decode(data []byte, limits Limits) (v Value, err error) {
	d := &decoder{data: data, limits: limits.withDefaults()}
	defer func() {
		if p := recover(); p != nil {
			fault, ours := p.(*SyntaxError)
			if !ours {
				panic(p)
			}
			v, err = nil, fault
		}
	}()
	if len(data) > d.limits.Bytes {
		d.fail(ErrLimit, "%d bytes, at most %d are taken", len(data), d.limits.Bytes)
	}
	if len(data) < 4 || d.u16() != magic || d.u16() != version {
		d.fail(ErrNotStream, "")
	}
	v = d.content(d.mark())
	if d.pos != len(d.data) {
		d.fail(ErrSyntax, "%d bytes follow the value", len(d.data)-d.pos)
	}
	return v, nil
}

// decoder reads one stream. Its methods panic with a *SyntaxError, which Decode
// returns: a grammar that recurses through a dozen rules is lost among error
// returns otherwise.
type decoder struct {
	data    []byte
	pos     int
	limits  Limits
	depth   int
	values  int
	handles []Value
}

func (d *decoder) fail(err error, format string, args ...any) {
	panic(&SyntaxError{Offset: d.pos, Err: err, Detail: fmt.Sprintf(format, args...)})
}

// spend counts n values against the limit before any memory is taken for them.
func (d *decoder) spend(n int) {
	if n < 0 || n > d.limits.Values-d.values {
		d.fail(ErrLimit, "more than %d values", d.limits.Values)
	}
	d.values += n
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.data)-d.pos {
		d.fail(ErrTruncated, "%d bytes expected, %d are left", n, len(d.data)-d.pos)
	}
	d.pos += n
	return d.data[d.pos-n : d.pos : d.pos]
}

func (d *decoder) u8() byte    { return d.take(1)[0] }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) i32() int32  { return int32(binary.BigEndian.Uint32(d.take(4))) }
func (d *decoder) i64() int64  { return int64(binary.BigEndian.Uint64(d.take(8))) }

func (d *decoder) utf() string { return d.text(int(d.u16())) }

func (d *decoder) text(n int) string {
	raw := d.take(n)
	s, ok := decodeUTF(raw)
	if !ok {
		d.fail(ErrSyntax, "a text is not in modified UTF-8")
	}
	return s
}

// mark reads the byte that begins a content element, passing over resets.
func (d *decoder) mark() byte {
	for {
		tc := d.u8()
		if tc != tcReset {
			return tc
		}
		if d.depth > 0 {
			d.fail(ErrSyntax, "reset inside an object")
		}
		d.handles = nil
	}
}

// assign gives v the next handle. Objects get theirs before they are complete:
// what they hold may refer back to them.
func (d *decoder) assign(v Value) {
	d.spend(1)
	d.handles = append(d.handles, v)
}

func (d *decoder) reference() Value {
	h := int64(d.i32()) - baseHandle
	if h < 0 || h >= int64(len(d.handles)) {
		d.fail(ErrSyntax, "reference to handle %d of %d", h, len(d.handles))
	}
	return d.handles[h]
}

// content reads the object that follows its mark.
func (d *decoder) content(tc byte) Value {
	d.depth++
	if d.depth > d.limits.Depth {
		d.fail(ErrLimit, "objects are nested deeper than %d", d.limits.Depth)
	}
	defer func() { d.depth-- }()
	switch tc {
	case tcNull:
		return nil
	case tcReference:
		return d.reference()
	case tcString:
		return d.string(int64(d.u16()))
	case tcLongString:
		return d.string(d.i64())
	case tcObject:
		return d.object()
	case tcArray:
		return d.array()
	case tcEnum:
		return d.enum()
	case tcClass:
		c := d.classDesc(d.mark())
		d.assign(c)
		return c
	case tcClassDesc, tcProxyClassDesc:
		return d.classDesc(tc)
	case tcException:
		d.fail(ErrException, "")
	case tcBlockData, tcBlockDataLong, tcEndBlockData:
		d.fail(ErrSyntax, "block data where an object is due")
	}
	d.fail(ErrSyntax, "unknown mark 0x%02x", tc)
	return nil
}

func (d *decoder) string(n int64) string {
	if n < 0 || n > math.MaxInt32 {
		d.fail(ErrSyntax, "a text of %d bytes", n)
	}
	s := d.text(int(n))
	d.assign(s)
	return s
}

func (d *decoder) enum() *Enum {
	e := &Enum{Class: d.needClass(d.mark())}
	d.assign(e)
	name, isText := d.content(d.mark()).(string)
	if !isText {
		d.fail(ErrSyntax, "an enum constant without a name")
	}
	e.Name = name
	return e
}

func (d *decoder) array() *Array {
	c := d.needClass(d.mark())
	if len(c.Name) < 2 || c.Name[0] != '[' {
		d.fail(ErrSyntax, "array of class %q", c.Name)
	}
	a := &Array{Class: c}
	d.assign(a)
	n := int(d.i32())
	if c.Name[1] == 'B' {
		a.Bytes = d.take(n)
		return a
	}
	d.spend(n)
	// Each item takes a byte at least, so a short stream cannot ask for much.
	if n > len(d.data)-d.pos {
		d.fail(ErrTruncated, "array of %d items", n)
	}
	a.Items = make([]Value, 0, n)
	for range n {
		a.Items = append(a.Items, d.value(c.Name[1]))
	}
	return a
}

// value reads a field or array item of a type.
func (d *decoder) value(code byte) Value {
	switch code {
	case 'B':
		return int8(d.u8())
	case 'C':
		return d.u16()
	case 'D':
		return math.Float64frombits(uint64(d.i64()))
	case 'F':
		return math.Float32frombits(uint32(d.i32()))
	case 'I':
		return d.i32()
	case 'J':
		return d.i64()
	case 'S':
		return int16(d.u16())
	case 'Z':
		return d.u8() != 0
	case 'L', '[':
		return d.content(d.mark())
	}
	d.fail(ErrSyntax, "type code %q", code)
	return nil
}
