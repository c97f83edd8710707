package shuffle

import (
	"fmt"
	"unsafe"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registry"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// stream is a list of blocks that a client asked for and now fetches one by
// one, in order. It belongs to one connection: another can neither fetch from
// it nor guess that it exists, and it dies with its connection.
type stream struct {
	app, exec string
	next      int32 // the chunk to be fetched next
	total     int32
	find      func(s *blocks.Store, e *registry.Executor) (blocks.Block, error) // of chunk next
	bytes     int64                                                             // memory that is accounted for it
	sent      int64                                                             // bytes of blocks
}

const streamOverhead = 256

// newShuffleStream is for FetchShuffleBlocks. The request's arrays become the
// stream's state; a cursor suffices because chunks are fetched in order.
func newShuffleStream(m wire.FetchShuffleBlocks) (*stream, error) {
	s := &stream{app: m.AppID, exec: m.ExecID,
		bytes: streamOverhead + int64(8*cap(m.MapIDs)+4*cap(m.ReduceCounts)+4*cap(m.ReduceIDs))}
	if m.Batch {
		for i, n := range m.ReduceCounts {
			if n != 2 {
				return nil, fmt.Errorf("java.lang.IllegalArgumentException: batch fetch needs a start and an end, map %d has %d reduce ids", m.MapIDs[i], n)
			}
		}
		s.total = int32(len(m.MapIDs))
		s.find = func(store *blocks.Store, e *registry.Executor) (blocks.Block, error) {
			i := s.next
			return store.Shuffle(e.Location, m.ShuffleID, m.MapIDs[i], m.ReduceIDs[2*i], m.ReduceIDs[2*i+1])
		}
		return s, nil
	}
	s.total = int32(len(m.ReduceIDs))
	mapAt, end := -1, int32(0) // the chunks before end belong to the maps up to mapAt
	s.find = func(store *blocks.Store, e *registry.Executor) (blocks.Block, error) {
		for s.next >= end {
			mapAt++
			end += m.ReduceCounts[mapAt]
		}
		reduce := m.ReduceIDs[s.next]
		return store.Shuffle(e.Location, m.ShuffleID, m.MapIDs[mapAt], reduce, reduce+1)
	}
	return s, nil
}

// newNamedStream is for OpenBlocks. All ids are parsed now, as Spark does since
// 3.0, and kept as numbers.
func newNamedStream(m wire.OpenBlocks) (*stream, error) {
	n := m.BlockIDs.Len()
	if n == 0 {
		return nil, fmt.Errorf("java.lang.IllegalArgumentException: OpenBlocks without blocks")
	}
	s := &stream{app: m.AppID, exec: m.ExecID, total: int32(n)}
	for _, first := range m.BlockIDs.All() {
		if blocks.IsRDD(first) {
			return s, s.openRDDs(m.BlockIDs)
		}
		break
	}
	return s, s.openShuffle(m.BlockIDs)
}

func (s *stream) openShuffle(names wire.StringList) error {
	ids := make([]blocks.ShuffleID, 0, names.Len())
	for i, name := range names.All() {
		id, err := blocks.ParseShuffle(name)
		if err != nil {
			return fmt.Errorf("java.lang.IllegalArgumentException: %w", err)
		}
		if i > 0 && id.Shuffle != ids[0].Shuffle {
			return fmt.Errorf("java.lang.IllegalArgumentException: Expected shuffleId=%d, got:%s", ids[0].Shuffle, name)
		}
		ids = append(ids, id)
	}
	s.bytes = streamOverhead + int64(cap(ids))*int64(unsafe.Sizeof(blocks.ShuffleID{}))
	s.find = func(store *blocks.Store, e *registry.Executor) (blocks.Block, error) {
		id := ids[s.next]
		return store.Shuffle(e.Location, id.Shuffle, id.Map, id.Reduce, id.Reduce+1)
	}
	return nil
}

func (s *stream) openRDDs(names wire.StringList) error {
	ids := make([]blocks.RDDID, 0, names.Len())
	for _, name := range names.All() {
		id, err := blocks.ParseRDD(name)
		if err != nil {
			return fmt.Errorf("java.lang.IllegalArgumentException: %w", err)
		}
		ids = append(ids, id)
	}
	s.bytes = streamOverhead + int64(cap(ids))*int64(unsafe.Sizeof(blocks.RDDID{}))
	s.find = func(store *blocks.Store, e *registry.Executor) (blocks.Block, error) {
		return store.RDD(e.Location, ids[s.next])
	}
	return nil
}
