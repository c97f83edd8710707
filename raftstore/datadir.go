package raftstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	formatVersion = 1
	metaFile      = "node.json"
	lockFile      = "LOCK"
	logFile       = "raft.db"
	snapshotsDir  = "snapshots" // fixed by raft.FileSnapshotStore
)

// nodeMeta ties a data directory to a node and a format.
type nodeMeta struct {
	Format int    `json:"format"`
	NodeID string `json:"node_id"`
}

// dataDir is a locked data directory.
type dataDir struct {
	path string
	lock *os.File
	meta nodeMeta
}

// openDataDir creates or opens path for the node id; "" accepts any owner but
// then the directory must exist.
func openDataDir(path, id string) (*dataDir, error) {
	if id != "" {
		if err := os.Mkdir(path, 0o700); err == nil {
			if err := syncDir(filepath.Dir(path)); err != nil {
				return nil, err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("raftstore: data directory: %w", err)
		}
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: lock}
	if err := d.checkMeta(id); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("raftstore: data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s", ErrLocked, path)
	}
	return f, nil
}

func (d *dataDir) checkMeta(id string) error {
	b, err := os.ReadFile(filepath.Join(d.path, metaFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.initMeta(id)
	case err != nil:
		return fmt.Errorf("raftstore: %w", err)
	}
	if err := json.Unmarshal(b, &d.meta); err != nil {
		return fmt.Errorf("%w: %s is damaged (%w); restore the directory from a backup or start empty and join", ErrWrongVersion, metaFile, err)
	}
	if d.meta.Format != formatVersion {
		return fmt.Errorf("%w: %s has format %d, this binary knows %d", ErrWrongVersion, d.path, d.meta.Format, formatVersion)
	}
	if id != "" && d.meta.NodeID != id {
		return fmt.Errorf("%w: %s holds the data of node %q, not %q", ErrWrongNode, d.path, d.meta.NodeID, id)
	}
	return nil
}

func (d *dataDir) initMeta(id string) error {
	if id == "" {
		return fmt.Errorf("%w: %s is not a data directory", ErrWrongNode, d.path)
	}
	if _, err := os.Stat(filepath.Join(d.path, logFile)); err == nil {
		return fmt.Errorf("%w: %s has a log but no %s", ErrWrongVersion, d.path, metaFile)
	}
	d.meta = nodeMeta{Format: formatVersion, NodeID: id}
	b, err := json.Marshal(d.meta)
	if err != nil {
		return err
	}
	return writeFileDurably(filepath.Join(d.path, metaFile), append(b, '\n'))
}

// writeFileDurably replaces name such that after a power cut it has either
// the old or the new content, and the new one once this has returned.
func writeFileDurably(name string, b []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// openLog opens the bolt file. The freelist is not written with each commit
// but rebuilt at start: otherwise every small write pays for a past burst.
func (d *dataDir) openLog(readOnly bool) (*raftboltdb.BoltStore, error) {
	b, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(d.path, logFile),
		BoltOptions: &bbolt.Options{
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			ReadOnly:       readOnly,
		},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, fmt.Errorf("raftstore: open log: %w", err)
	}
	// The file holds the votes: its directory entry must survive too.
	if err := syncDir(d.path); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// dropPartialSnapshots removes what a crash left of unfinished snapshots.
func (d *dataDir) dropPartialSnapshots() error {
	entries, err := os.ReadDir(filepath.Join(d.path, snapshotsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.RemoveAll(filepath.Join(d.path, snapshotsDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dataDir) close() { d.lock.Close() }
