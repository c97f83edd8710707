package blocks

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// ErrBadName is wrapped when a block id is not of a form that is served.
var ErrBadName = errors.New("bad block id")

// ShuffleID is a parsed shuffle_<shuffle>_<map>_<reduce>.
type ShuffleID struct {
	Shuffle int32
	Map     int64
	Reduce  int32
}

// RDDID is a parsed rdd_<rdd>_<split>.
type RDDID struct{ RDD, Split int32 }

// Name is the file's name.
func (id RDDID) Name() string { return fmt.Sprintf("rdd_%d_%d", id.RDD, id.Split) }

// IsRDD reports whether a block id is that of a cached partition; the first
// block of a request decides for all.
func IsRDD(id []byte) bool { return bytes.HasPrefix(id, []byte("rdd_")) }

// ParseShuffle parses a shuffle block id. It allocates nothing on success.
func ParseShuffle(id []byte) (ShuffleID, error) {
	rest, ok := bytes.CutPrefix(id, []byte("shuffle_"))
	if !ok {
		return ShuffleID{}, fmt.Errorf("%w: Unexpected block id format: %.100q", ErrBadName, id)
	}
	shuffle, rest, ok1 := number(rest)
	mapID, rest, ok2 := number(rest)
	reduce, rest, ok3 := number(rest)
	if !ok1 || !ok2 || !ok3 || len(rest) > 0 {
		return ShuffleID{}, fmt.Errorf("%w: Unexpected shuffle block id format: %.100q", ErrBadName, id)
	}
	return ShuffleID{Shuffle: shuffle, Map: int64(mapID), Reduce: reduce}, nil
}

// ParseRDD parses the id of a cached partition.
func ParseRDD(id []byte) (RDDID, error) {
	rest, _ := bytes.CutPrefix(id, []byte("rdd_"))
	rdd, rest, ok1 := number(rest)
	split, rest, ok2 := number(rest)
	if !IsRDD(id) || !ok1 || !ok2 || len(rest) > 0 {
		return RDDID{}, fmt.Errorf("%w: Unexpected block id format: %.100q", ErrBadName, id)
	}
	return RDDID{rdd, split}, nil
}

// number takes a 32-bit decimal up to the next '_' or the end.
func number(p []byte) (v int32, rest []byte, ok bool) {
	digits, rest, _ := bytes.Cut(p, []byte("_"))
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1<<31 {
			return 0, nil, false
		}
		n = 10*n + int64(c-'0')
	}
	return int32(n), rest, len(digits) > 0 && n < 1<<31
}

func shuffleFile(shuffle int32, mapID int64, suffix string) string {
	p := append(make([]byte, 0, 48), "shuffle_"...)
	p = strconv.AppendInt(p, int64(shuffle), 10)
	p = strconv.AppendInt(append(p, '_'), mapID, 10)
	return string(append(append(p, "_0."...), suffix...))
}

// removable is what RemoveBlocks may name: a plain file name, nothing that a
// path could be made of.
var removable = regexp.MustCompile(`^(shuffle|rdd|broadcast|taskresult|input|temp|test)[A-Za-z]*[_-][A-Za-z0-9_.\-]{1,200}$`)
