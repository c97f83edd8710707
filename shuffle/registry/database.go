package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
)

// The database: bucket "meta" with the format's version, "executors" with
// key app 0x00 executor, "drivers" with key app, "removals" with key directory.
// Values are JSON. A change that older binaries would misread raises the version.
var (
	bucketMeta      = []byte("meta")
	bucketExecutors = []byte("executors")
	bucketDrivers   = []byte("drivers")
	bucketRemovals  = []byte("removals")
	keyVersion      = []byte("version")
	formatVersion   = []byte("1")
)

// Errors of Open.
var (
	// ErrVersion is wrapped when the database was written by a newer release.
	ErrVersion = errors.New("database has another format")
	// ErrLocked is wrapped when another process has the database open.
	ErrLocked = errors.New("database is in use")
)

type executorRecord struct {
	LocalDirs      []string       `json:"localDirs"`
	SubDirs        int            `json:"subDirsPerLocalDir"`
	ShuffleManager string         `json:"shuffleManager"`
	DirIDs         []blocks.DirID `json:"dirIds"`
}

type driverRecord struct {
	TimeoutMs int64 `json:"timeoutMs"`
}

type database struct {
	db       *bbolt.DB
	setAside string
}

// openDatabase opens the file, setting a damaged one aside: registrations can
// be made again by restarting executors, while a service that refuses to start
// helps nobody on the host.
func openDatabase(path string) (*database, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d, err := open(path)
	if err == nil || errors.Is(err, ErrVersion) || errors.Is(err, ErrLocked) || errors.Is(err, os.ErrPermission) {
		return d, err
	}
	aside := fmt.Sprintf("%s.damaged-%d", path, time.Now().UnixNano())
	if os.Rename(path, aside) != nil {
		return nil, fmt.Errorf("registrations in %s: %w", path, err)
	}
	if d, err = open(path); err != nil {
		return nil, fmt.Errorf("registrations in %s: %w", path, err)
	}
	d.setAside = aside
	return d, nil
}

func open(path string) (d *database, err error) {
	defer func() { // bbolt panics on some kinds of damage
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("damaged: %v", p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			return nil, fmt.Errorf("%w: %s; is another shuffle service running with this data directory?", ErrLocked, path)
		}
		return nil, err
	}
	if err := db.Update(prepare); err != nil {
		db.Close()
		return nil, err
	}
	return &database{db: db}, nil
}

func prepare(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketExecutors, bucketDrivers, bucketRemovals} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	switch v := meta.Get(keyVersion); {
	case v == nil:
		return meta.Put(keyVersion, formatVersion)
	case !bytes.Equal(v, formatVersion):
		return fmt.Errorf("%w: version %q, this release reads %q; use the release that wrote it, or another data directory",
			ErrVersion, v, formatVersion)
	}
	return nil
}

func (d *database) close() error { return d.db.Close() }

// load hands everything stored to r. Records that do not parse are skipped:
// each concerns one executor, and refusing all for one would help nobody.
func (d *database) load(r *Registry) error {
	return d.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketExecutors).ForEach(func(k, v []byte) error {
			var rec executorRecord
			app, id, ok := bytes.Cut(k, []byte{0})
			if ok && json.Unmarshal(v, &rec) == nil {
				r.restoreExecutor(string(app), string(id), rec)
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.Bucket(bucketDrivers).ForEach(func(k, v []byte) error {
			var rec driverRecord
			if json.Unmarshal(v, &rec) == nil {
				r.restoreDriver(string(k), rec)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketRemovals).ForEach(func(_, v []byte) error {
			var m Removal
			if json.Unmarshal(v, &m) == nil {
				r.removals[m.Dir] = m
			}
			return nil
		})
	})
}

func executorKey(app, id string) []byte { return []byte(app + "\x00" + id) }

func (d *database) put(bucket, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, raw) })
}

func (d *database) putExecutor(app, id string, rec executorRecord) error {
	return d.put(bucketExecutors, executorKey(app, id), rec)
}

func (d *database) putDriver(app string, rec driverRecord) error {
	return d.put(bucketDrivers, []byte(app), rec)
}

// removeApp deletes an application's records and notes its directories for
// deletion, in one transaction.
func (d *database) removeApp(app string, removals []Removal) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		prefix := executorKey(app, "")
		executors := tx.Bucket(bucketExecutors)
		var keys [][]byte
		c := executors.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		for _, k := range keys {
			if err := executors.Delete(k); err != nil {
				return err
			}
		}
		for _, m := range removals {
			raw, err := json.Marshal(m)
			if err == nil {
				err = tx.Bucket(bucketRemovals).Put([]byte(m.Dir), raw)
			}
			if err != nil {
				return err
			}
		}
		return tx.Bucket(bucketDrivers).Delete([]byte(app))
	})
}

func (d *database) removalDone(dir string) error {
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRemovals).Delete([]byte(dir)) })
}
