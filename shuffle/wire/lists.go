package wire

import (
	"encoding/binary"
	"iter"
)

// StringList is an array of strings that stays encoded. A request can name a
// hundred thousand blocks; walking them in place costs no memory.
type StringList struct {
	n   int
	raw []byte
}

// NewStringList encodes ss.
func NewStringList(ss ...string) StringList {
	l := StringList{n: len(ss)}
	for _, s := range ss {
		l.raw = appendString(l.raw, s)
	}
	return l
}

// Len is the number of strings.
func (l StringList) Len() int { return l.n }

// All walks over the strings' bytes, which are valid as long as the buffer
// that the list was decoded from.
func (l StringList) All() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		p := l.raw
		for i := range l.n {
			n := int(binary.BigEndian.Uint32(p))
			if !yield(i, p[4:4+n]) {
				return
			}
			p = p[4+n:]
		}
	}
}

// stringList checks the bounds of every element once, so that All need not.
func (d *decoder) stringList(what string) StringList {
	n := d.count(4, what)
	start := d.p
	for i := 0; i < n && d.err == nil; i++ {
		d.bytes(what)
	}
	if d.err != nil {
		return StringList{}
	}
	return StringList{n: n, raw: start[:len(start)-len(d.p)]}
}

func decodeFetch(d *decoder) FetchShuffleBlocks {
	m := FetchShuffleBlocks{AppID: d.string("app id"), ExecID: d.string("executor id"),
		ShuffleID: d.i32("shuffle"), MapIDs: d.i64s("map ids")}
	k := d.count(4, "reduce id lists")
	if d.err == nil && k != len(m.MapIDs) {
		d.fail("%d map ids but %d reduce id lists", len(m.MapIDs), k)
	}
	if d.err != nil {
		return m
	}
	m.ReduceCounts = make([]int32, 0, k)
	m.ReduceIDs = make([]int32, 0, (len(d.p)-4*k)/4) // exact when the frame is well-formed
	for i := 0; i < k && d.err == nil; i++ {
		n := d.count(4, "reduce ids")
		m.ReduceIDs = d.appendI32s(m.ReduceIDs, n, "reduce ids")
		m.ReduceCounts = append(m.ReduceCounts, int32(n))
	}
	m.Batch = d.bool("batch flag")
	return m
}

func (m FetchShuffleBlocks) append(p []byte) []byte {
	p = appendI32(appendString(appendString(p, m.AppID), m.ExecID), m.ShuffleID)
	p = appendI32(p, int32(len(m.MapIDs)))
	for _, id := range m.MapIDs {
		p = appendI64(p, id)
	}
	p = appendI32(p, int32(len(m.ReduceCounts)))
	rest := m.ReduceIDs
	for _, n := range m.ReduceCounts {
		p = appendI32s(p, rest[:n])
		rest = rest[n:]
	}
	return appendBool(p, m.Batch)
}

func decodeLocalDirs(d *decoder) LocalDirs {
	m := LocalDirs{ExecIDs: d.strings("executor ids")}
	counts := d.i32s("directory counts")
	dirs := d.strings("directories")
	if d.err == nil && len(counts) != len(m.ExecIDs) {
		d.fail("%d executors but %d directory counts", len(m.ExecIDs), len(counts))
	}
	for _, n := range counts {
		if d.err != nil || n < 0 || int(n) > len(dirs) {
			d.fail("directory counts do not match the directories")
			return m
		}
		m.Dirs = append(m.Dirs, dirs[:n])
		dirs = dirs[n:]
	}
	return m
}

func (m LocalDirs) append(p []byte) []byte {
	p = appendI32(appendStrings(p, m.ExecIDs), int32(len(m.Dirs)))
	total := 0
	for _, dirs := range m.Dirs {
		p = appendI32(p, int32(len(dirs)))
		total += len(dirs)
	}
	p = appendI32(p, int32(total))
	for _, dirs := range m.Dirs {
		for _, dir := range dirs {
			p = appendString(p, dir)
		}
	}
	return p
}
