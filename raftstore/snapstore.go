package raftstore

import (
	"bytes"
	"io"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// snapshotStore is raft's file snapshot store with two additions: a snapshot
// is opened with its position in the header (see fsm.go), and its directory is
// synced before it is moved into place.
type snapshotStore struct {
	raft.SnapshotStore
	dir   string
	hooks Hooks
}

func (d *dataDir) openSnapshots(cfg Config) (*snapshotStore, error) {
	if err := d.dropPartialSnapshots(); err != nil {
		return nil, err
	}
	fss, err := raft.NewFileSnapshotStoreWithLogger(d.path, cfg.SnapshotRetain, newHclog(cfg.Logger))
	if err != nil {
		return nil, err
	}
	return &snapshotStore{fss, filepath.Join(d.path, snapshotsDir), cfg.Hooks}, syncDir(d.path)
}

func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration,
	confIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	var sink raft.SnapshotSink
	err := s.hooks.disk(DiskOp{Kind: "snapshot"}, func() (err error) {
		sink, err = s.SnapshotStore.Create(version, index, term, conf, confIndex, trans)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &syncedSink{sink, filepath.Join(s.dir, sink.ID()+".tmp")}, nil
}

func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, rc, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := readSnapshotHeader(rc); err != nil {
		rc.Close()
		return nil, nil, err
	}
	h := snapshotHeader(meta.Index, meta.Term)
	return meta, readCloser{io.MultiReader(bytes.NewReader(h[:]), rc), rc}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

type syncedSink struct {
	raft.SnapshotSink
	tmp string
}

func (s *syncedSink) Close() error {
	if err := syncDir(s.tmp); err != nil {
		_ = s.Cancel() // the error that counts is err
		return err
	}
	return s.SnapshotSink.Close()
}
