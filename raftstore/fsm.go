package raftstore

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// tickMark in a log entry's extensions says that the entry is ours, not the
// machine's: a new leader commits one to learn that everything before it is
// applied. raft's own no-op and barrier entries would not do, because they
// never reach the state machine and so would leave holes in its position.
var tickMark = []byte{1}

// fsm is the thin layer between raft and the Machine: it keeps the applied
// position, and knows which entries are not the machine's.
type fsm struct {
	machine  Machine
	hooks    Hooks
	applied  position
	onConfig func() // a membership change was committed
	restored atomic.Uint64
	stopping <-chan struct{} // a snapshot under way is given up
}

// batchFSM is fsm for machines that apply in batches; raft looks for the
// method, so it must be a type of its own.
type batchFSM struct {
	*fsm
	batch BatchMachine
}

var (
	_ raft.ConfigurationStore = (*fsm)(nil)
	_ raft.BatchingFSM        = (*batchFSM)(nil)
)

func newFSM(m Machine, h Hooks, onConfig func()) *fsm {
	f := &fsm{machine: m, hooks: h, onConfig: onConfig}
	f.applied.changed = make(chan struct{})
	return f
}

func (f *fsm) forRaft() raft.FSM {
	if b, ok := f.machine.(BatchMachine); ok {
		return &batchFSM{f, b}
	}
	return f
}

// Apply returns []byte for a command, and the term (uint64) for a tick.
func (f *fsm) Apply(l *raft.Log) any {
	if len(l.Extensions) > 0 {
		f.applied.set(l.Index)
		return l.Term
	}
	e := Entry{Index: l.Index, Term: l.Term, Data: l.Data}
	if f.hooks.BeforeApply != nil {
		f.hooks.BeforeApply(e)
	}
	res := f.machine.Apply(e)
	f.applied.set(l.Index)
	return res
}

// StoreConfiguration is called for each committed membership change.
func (f *fsm) StoreConfiguration(index uint64, _ raft.Configuration) {
	f.applied.set(index)
	f.onConfig()
}

func (f *batchFSM) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	entries := make([]Entry, 0, len(logs))
	at := make([]int, 0, len(logs))
	for i, l := range logs {
		switch {
		case l.Type == raft.LogConfiguration:
			f.onConfig()
		case len(l.Extensions) > 0:
			out[i] = l.Term
		default:
			e := Entry{Index: l.Index, Term: l.Term, Data: l.Data}
			if f.hooks.BeforeApply != nil {
				f.hooks.BeforeApply(e)
			}
			entries, at = append(entries, e), append(at, i)
		}
	}
	if len(entries) > 0 {
		results := f.batch.ApplyBatch(entries)
		if len(results) != len(entries) {
			panic(fmt.Sprintf("raftstore: ApplyBatch returned %d results for %d entries", len(results), len(entries)))
		}
		for k, i := range at {
			out[i] = results[k]
		}
	}
	f.applied.set(logs[len(logs)-1].Index)
	return out
}

func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	s, err := f.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &fsmSnapshot{s, f.stopping}, nil
}

// Restore reads what fsmSnapshot.Persist wrote, with the position filled in
// by snapshotStore.Open.
func (f *fsm) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	index, _, err := readSnapshotHeader(rc)
	if err != nil {
		return err
	}
	if err := f.machine.Restore(rc); err != nil {
		return err
	}
	f.restored.Add(1)
	f.applied.set(index)
	f.onConfig()
	return nil
}

type fsmSnapshot struct {
	s        Snapshot
	stopping <-chan struct{}
}

// Persist leaves closing or cancelling the sink to raft, which does either.

func (s *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	h := snapshotHeader(0, 0)
	if _, err := sink.Write(h[:]); err != nil {
		return err
	}
	var w io.Writer = sink
	if s.stopping != nil { // a node serves
		w = &pacedWriter{w: sink, stopping: s.stopping, since: time.Now()}
	}
	_, err := s.s.WriteTo(w)
	return err
}

func (s *fsmSnapshot) Release() { s.s.Release() }

// A snapshot stream starts with a header: 8 bytes magic and format version,
// index, term. On disk the numbers are zero, so that equal states give equal
// bytes; the store fills them in when it opens the snapshot, because only its
// metadata knows at which index the state was really installed.
const snapshotHeaderLen = 24

var snapshotMagic = [8]byte{'R', 'S', 'S', 'N', 'A', 'P', 0, 1}

func snapshotHeader(index, term uint64) (h [snapshotHeaderLen]byte) {
	copy(h[:], snapshotMagic[:])
	binary.BigEndian.PutUint64(h[8:], index)
	binary.BigEndian.PutUint64(h[16:], term)
	return h
}

func readSnapshotHeader(r io.Reader) (index, term uint64, err error) {
	var h [snapshotHeaderLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, fmt.Errorf("%w: short header: %w", ErrBadSnapshot, err)
	}
	if [8]byte(h[:8]) != snapshotMagic {
		return 0, 0, fmt.Errorf("%w: snapshot header % x", ErrWrongVersion, h[:8])
	}
	return binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint64(h[16:]), nil
}
