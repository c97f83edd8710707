package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"golang.org/x/sys/unix"
)

// voteFile keeps raft's term and vote. They are written a few times in every
// election, each time before anybody may go on, so their cost is most of a
// fail-over. In bolt each of the three values is a transaction of two syncs;
// here a change is one, and a vote (term and candidate) is one change.
//
// The file has two slots of 4 KiB, written in turn: a torn write destroys only
// the record that was not acknowledged yet. The newest valid slot counts.
//
// raft sets the term from its main goroutine and from heartbeats.
type voteFile struct {
	f       *os.File
	mu      sync.Mutex
	seq     uint64
	rec     voteRecord
	pending uint64 // term of the vote whose candidate comes next
}

type voteRecord struct {
	found     bool
	term      uint64
	voteTerm  uint64
	candidate []byte
}

const (
	votesFile    = "votes"
	slotSize     = 4096
	slotHeader   = 4 + 8 + 8 + 8 + 2 // crc, seq, term, vote term, candidate length
	maxCandidate = 1024
)

// The keys of raft.StableStore that hashicorp/raft uses.
const (
	keyTerm      = "CurrentTerm"
	keyVoteTerm  = "LastVoteTerm"
	keyCandidate = "LastVoteCand"
)

func (d *dataDir) openVotes() (*voteFile, error) {
	f, err := os.OpenFile(filepath.Join(d.path, votesFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("raftstore: votes: %w", err)
	}
	v := &voteFile{f: f}
	if err := errors.Join(v.read(), syncDir(d.path)); err != nil {
		f.Close()
		return nil, err
	}
	return v, nil
}

func (v *voteFile) read() error {
	b, err := io.ReadAll(io.LimitReader(v.f, 2*slotSize))
	if err != nil {
		return fmt.Errorf("raftstore: votes: %w", err)
	}
	for at := 0; at < len(b); at += slotSize {
		if seq, rec, ok := decodeSlot(b[at:min(at+slotSize, len(b))]); ok && seq > v.seq {
			v.seq, v.rec = seq, rec
		}
	}
	if len(b) > slotSize && !v.rec.found {
		return fmt.Errorf("%w: %s is damaged; start empty and join the cluster again", ErrWrongVersion, votesFile)
	}
	return nil
}

func encodeSlot(seq uint64, r voteRecord) []byte {
	b := make([]byte, slotHeader, slotSize)
	binary.BigEndian.PutUint64(b[4:], seq)
	binary.BigEndian.PutUint64(b[12:], r.term)
	binary.BigEndian.PutUint64(b[20:], r.voteTerm)
	binary.BigEndian.PutUint16(b[28:], uint16(len(r.candidate)))
	b = append(b, r.candidate...)[:slotSize]
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

func decodeSlot(b []byte) (seq uint64, r voteRecord, ok bool) {
	if len(b) != slotSize || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return 0, r, false
	}
	n := int(binary.BigEndian.Uint16(b[28:]))
	if n > maxCandidate {
		return 0, r, false
	}
	r = voteRecord{true, binary.BigEndian.Uint64(b[12:]), binary.BigEndian.Uint64(b[20:]), b[slotHeader : slotHeader+n]}
	return binary.BigEndian.Uint64(b[4:]), r, true
}

// slotOf is where a record goes; the first one, 1, into the first slot.
func slotOf(seq uint64) int64 { return int64((seq+1)%2) * slotSize }

// write makes r durable, and only then the current record.
func (v *voteFile) write(r voteRecord) error {
	r.found = true
	seq := v.seq + 1
	if _, err := v.f.WriteAt(encodeSlot(seq, r), slotOf(seq)); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(v.f.Fd())); err != nil {
		return err
	}
	v.seq, v.rec = seq, r
	return nil
}

func (v *voteFile) SetUint64(key []byte, val uint64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.rec
	switch string(key) {
	case keyTerm:
		r.term = val
		return v.write(r)
	case keyVoteTerm:
		// raft sets the candidate right after, and answers only then. Both go
		// into one record, so there is never one without the other.
		v.pending = val
		return nil
	}
	return fmt.Errorf("raftstore: unknown key %q", key)
}

func (v *voteFile) Set(key, val []byte) error {
	if string(key) != keyCandidate || len(val) > maxCandidate {
		return fmt.Errorf("raftstore: unknown key %q or %d bytes too long", key, len(val))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.rec
	r.voteTerm, r.candidate = v.pending, append([]byte(nil), val...)
	return v.write(r)
}

func (v *voteFile) GetUint64(key []byte) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.rec.found:
	case string(key) == keyTerm:
		return v.rec.term, nil
	case string(key) == keyVoteTerm && v.rec.voteTerm != 0:
		return v.rec.voteTerm, nil
	}
	return 0, raftboltdb.ErrKeyNotFound // raft compares its text
}

func (v *voteFile) Get(key []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if string(key) == keyCandidate && v.rec.voteTerm != 0 {
		return v.rec.candidate, nil
	}
	return nil, raftboltdb.ErrKeyNotFound
}

// checkVotes refuses a log whose votes are gone: this node could vote twice in
// one term.
func checkVotes(log raft.LogStore, v *voteFile) error {
	last, err := log.LastIndex()
	if err == nil && last > 0 && !v.rec.found {
		err = fmt.Errorf("%w: %s is missing; start empty and join the cluster again", ErrWrongVersion, votesFile)
	}
	return err
}

// close may come while a heartbeat wants to set the term; that fails then.
func (v *voteFile) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.f.Close()
}

// patientStable keeps raft from panicking when its term or vote cannot be
// saved. A node that cannot write those must not answer, so it waits and
// tries again until the disk works or the store is closed. In the latter case
// the calling goroutine ends: there is no error that raft could take.
type patientStable struct {
	raft.StableStore
	hooks  Hooks
	log    *slog.Logger
	closed <-chan struct{}
}

func (s *patientStable) Set(key, val []byte) error {
	return s.persist(func() error { return s.StableStore.Set(key, val) })
}

func (s *patientStable) SetUint64(key []byte, val uint64) error {
	return s.persist(func() error { return s.StableStore.SetUint64(key, val) })
}

func (s *patientStable) persist(write func() error) error {
	for {
		err := s.hooks.disk(DiskOp{Kind: "stable"}, write)
		if err == nil {
			return nil
		}
		s.log.Error("raftstore: cannot save term or vote, this node waits for its disk", "error", err)
		select {
		case <-s.closed:
			runtime.Goexit()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
