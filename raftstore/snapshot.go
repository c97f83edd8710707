package raftstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/hashicorp/raft"
)

// An archive is a snapshot to carry away: magic, length and JSON of
// archiveMeta, the state as the machine wrote it, SHA-256 of all before.
var archiveMagic = [8]byte{'R', 'S', 'A', 'R', 'C', 'H', 0, 1}

const maxArchiveMeta = 64 << 10

// ArchiveMeta describes an archive.
type ArchiveMeta struct {
	Machine string `json:"machine,omitempty"` // Config.MachineName
	Index   uint64 `json:"index"`             // last entry that is in the state
	Term    uint64 `json:"term"`
	Size    int64  `json:"size"` // bytes of state
}

// SaveSnapshot writes the state to w as an archive that RestoreSnapshot of any
// cluster with the same machine reads. It contains everything acknowledged
// before the call.
func (s *Store) SaveSnapshot(ctx context.Context, w io.Writer) error {
	if _, err := s.Linearize(ctx); err != nil {
		return err
	}
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	id, err := s.takeSnapshot(ctx)
	if err != nil {
		return err
	}
	meta, rc, err := s.snaps.Open(id)
	if err != nil {
		return fmt.Errorf("raftstore: open snapshot: %w", err)
	}
	defer rc.Close()
	return writeSnapshot(w, s.cfg.MachineName, meta, rc)
}

// takeSnapshot has raft take one and names it, or the newest there is.
func (s *Store) takeSnapshot(ctx context.Context) (string, error) {
	f := s.raft.Snapshot()
	if err := s.await(ctx, f); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return "", err
	}
	list, err := s.snaps.List()
	if err != nil {
		return "", fmt.Errorf("raftstore: list snapshots: %w", err)
	}
	if len(list) == 0 {
		return "", errors.New("raftstore: nothing to save yet")
	}
	return list[0].ID, nil
}

// WriteArchive writes an archive of a state that was made elsewhere; meta.Size
// must be the number of bytes that state writes. It is how a cluster is filled
// with a prepared state: RestoreSnapshot reads it.
func WriteArchive(w io.Writer, meta ArchiveMeta, state io.WriterTo) error {
	return writeArchive(w, meta, func(w io.Writer) error {
		n, err := state.WriteTo(w)
		if err == nil && n != meta.Size {
			err = fmt.Errorf("%d bytes of state, and %d were announced", n, meta.Size)
		}
		return err
	})
}

func writeArchive(w io.Writer, meta ArchiveMeta, state func(io.Writer) error) error {
	b, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	head := binary.BigEndian.AppendUint32(archiveMagic[:], uint32(len(b)))
	if _, err := out.Write(append(head, b...)); err != nil {
		return err
	}
	if err := state(out); err != nil {
		return fmt.Errorf("raftstore: save snapshot: %w", err)
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// writeSnapshot writes one of raft's snapshots as an archive.
func writeSnapshot(w io.Writer, machine string, meta *raft.SnapshotMeta, state io.Reader) error {
	if _, _, err := readSnapshotHeader(state); err != nil {
		return err
	}
	out := ArchiveMeta{Machine: machine, Index: meta.Index, Term: meta.Term, Size: meta.Size - snapshotHeaderLen}
	return writeArchive(w, out, func(w io.Writer) error {
		_, err := io.CopyN(w, state, out.Size)
		return err
	})
}

// RestoreSnapshot replaces the state of the whole cluster by an archive. It
// must be called on the leader. Commands under way end with ErrOutcomeUnknown.
// The archive is checked completely before anything is changed. Meant for
// disaster recovery: stop what writes to the cluster first.
//
// Errors: ErrBadSnapshot, ErrWrongVersion, ErrNotLeader, ErrOutcomeUnknown.
func (s *Store) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	if _, _, err := s.waitConfirmed(ctx); err != nil {
		return err
	}
	f, meta, err := s.spoolArchive(r)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := s.checkState(f); err != nil {
		return err
	}
	return s.install(ctx, f, meta)
}

// spoolArchive copies a checked archive's state to a file, with our header.
func (s *Store) spoolArchive(r io.Reader) (_ *os.File, _ ArchiveMeta, err error) {
	f, err := os.CreateTemp(s.dir.path, "restore-*.tmp")
	if err != nil {
		return nil, ArchiveMeta{}, fmt.Errorf("raftstore: restore: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	h := snapshotHeader(0, 0)
	if _, err := f.Write(h[:]); err != nil {
		return nil, ArchiveMeta{}, err
	}
	meta, err := ReadArchive(r, f, s.cfg.MachineName)
	return f, meta, err
}

// ReadArchive checks an archive and copies the state in it to state. machine
// must match the archive's unless either is empty. What was written to state
// is good only if the error is nil.
func ReadArchive(r io.Reader, state io.Writer, machine string) (meta ArchiveMeta, err error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	var head [12]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return meta, fmt.Errorf("%w: too short: %w", ErrBadSnapshot, err)
	}
	if [8]byte(head[:8]) != archiveMagic {
		return meta, fmt.Errorf("%w: not an archive of this version", ErrWrongVersion)
	}
	n := binary.BigEndian.Uint32(head[8:])
	if n > maxArchiveMeta {
		return meta, fmt.Errorf("%w: description of %d bytes", ErrBadSnapshot, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return meta, fmt.Errorf("%w: truncated: %w", ErrBadSnapshot, err)
	}
	if err := json.Unmarshal(b, &meta); err != nil || meta.Size < 0 {
		return meta, fmt.Errorf("%w: description unreadable", ErrBadSnapshot)
	}
	if machine != "" && meta.Machine != "" && machine != meta.Machine {
		return meta, fmt.Errorf("%w: it is of machine %q, not %q", ErrBadSnapshot, meta.Machine, machine)
	}
	if _, err := io.CopyN(state, in, meta.Size); err != nil {
		return meta, fmt.Errorf("%w: truncated: %w", ErrBadSnapshot, err)
	}
	return meta, checkSum(r, sum)
}

func checkSum(r io.Reader, sum hash.Hash) error {
	var want [sha256.Size]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return fmt.Errorf("%w: truncated: %w", ErrBadSnapshot, err)
	}
	if [sha256.Size]byte(sum.Sum(nil)) != want {
		return fmt.Errorf("%w: checksum differs, the file is damaged", ErrBadSnapshot)
	}
	return nil
}

// checkState lets the machine look first: raft panics when a restore fails.
func (s *Store) checkState(f *os.File) error {
	c, ok := s.fsm.machine.(SnapshotChecker)
	if !ok {
		return nil
	}
	if _, err := f.Seek(snapshotHeaderLen, io.SeekStart); err != nil {
		return err
	}
	if err := c.CheckSnapshot(f); err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	return nil
}

func (s *Store) install(ctx context.Context, f *os.File, meta ArchiveMeta) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m := &raft.SnapshotMeta{Version: 1, Index: meta.Index, Term: meta.Term, Size: meta.Size + snapshotHeaderLen}
	if err := s.raft.Restore(m, f, s.changeLimit(ctx)); err != nil {
		if errors.Is(err, raft.ErrNotLeader) {
			return s.notLeader()
		}
		return unknown(err)
	}
	// raft ends with an entry that machines do not see; ours marks the position.
	if _, err := s.tick(ctx); err != nil {
		return unknown(err)
	}
	return nil
}
