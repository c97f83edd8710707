package blocks

import (
	"encoding/binary"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// Verdict says where a shuffle block was corrupted.
type Verdict int

// The verdicts.
const (
	DiskIssue            Verdict = iota // the file does not match what its writer summed up
	NetworkIssue                        // the file is fine, the reader got something else
	UnknownIssue                        // no checksum to compare with
	ChecksumPass                        // all three agree
	UnsupportedAlgorithm                // the reader's algorithm is not known
)

// Diagnose compares the checksum that a reader computed over a block with the
// one its writer stored beside it, and with the file as it is now. It fails
// only if the block itself cannot be found.
func (s *Store) Diagnose(loc *Location, id ShuffleID, algorithm string, readers int64) (Verdict, error) {
	var sum hash.Hash32
	switch algorithm {
	case "ADLER32":
		sum = adler32.New()
	case "CRC32":
		sum = crc32.NewIEEE()
	default:
		return UnsupportedAlgorithm, nil
	}
	block, err := s.Shuffle(loc, id.Shuffle, id.Map, id.Reduce, id.Reduce+1)
	if err != nil {
		return UnknownIssue, err
	}
	defer block.Close()
	writers, ok := storedChecksum(loc, id, algorithm)
	if !ok {
		return UnknownIssue, nil
	}
	if _, err := io.Copy(sum, io.NewSectionReader(block, 0, block.Len)); err != nil {
		return UnknownIssue, nil
	}
	switch {
	case int64(sum.Sum32()) != writers:
		return DiskIssue, nil
	case writers != readers:
		return NetworkIssue, nil
	}
	return ChecksumPass, nil
}

func storedChecksum(loc *Location, id ShuffleID, algorithm string) (int64, bool) {
	dir, rel := loc.Find(shuffleFile(id.Shuffle, id.Map, "checksum."+algorithm))
	f, st, err := openFile(dir, rel)
	if err != nil {
		return 0, false
	}
	defer f.release()
	var raw [8]byte
	n, _ := Block{file: f, Len: st.Size}.ReadAt(raw[:], 8*int64(id.Reduce))
	return int64(binary.BigEndian.Uint64(raw[:])), n == len(raw)
}
