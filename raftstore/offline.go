package raftstore

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Info is what a stopped node's data directory holds.
type Info struct {
	NodeID               string
	Term                 uint64 // current term
	FirstIndex           uint64 // of the log; 0 if empty
	LastIndex            uint64
	SnapshotIndex        uint64 // newest snapshot; 0 if none
	SnapshotTerm         uint64
	SnapshotSize         int64 // bytes
	ConfigurationIndex   uint64
	Members              []Member // ID, Addr and Voter only
	UncommittedUncertain bool     // entries after the snapshot may or may not be committed
}

// offline is an opened directory of a stopped node.
type offline struct {
	dir   *dataDir
	bolt  *raftboltdb.BoltStore
	votes *voteFile
	snaps *snapshotStore
}

func openOffline(dataDir string, logger *slog.Logger) (*offline, error) {
	if logger == nil {
		logger = slog.Default()
	}
	d, err := openDataDir(dataDir, "")
	if err != nil {
		return nil, err
	}
	o := &offline{dir: d}
	if o.bolt, err = d.openLog(false); err != nil {
		d.close()
		return nil, err
	}
	if o.votes, err = d.openVotes(); err != nil {
		o.bolt.Close()
		d.close()
		return nil, err
	}
	if o.snaps, err = d.openSnapshots(Config{Logger: logger, SnapshotRetain: 2}); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *offline) close() {
	o.votes.close()
	o.bolt.Close()
	o.dir.close()
}

// Inspect reads the data directory of a stopped node. ErrLocked if it runs.
func Inspect(dataDir string) (Info, error) {
	o, err := openOffline(dataDir, slog.New(slog.DiscardHandler))
	if err != nil {
		return Info{}, err
	}
	defer o.close()
	info := Info{NodeID: o.dir.meta.NodeID}
	info.Term = o.votes.rec.term
	if info.FirstIndex, err = o.bolt.FirstIndex(); err != nil {
		return info, err
	}
	if info.LastIndex, err = o.bolt.LastIndex(); err != nil {
		return info, err
	}
	if err := o.fillSnapshot(&info); err != nil {
		return info, err
	}
	info.UncommittedUncertain = info.LastIndex > info.SnapshotIndex
	return info, o.fillMembers(&info)
}

func (o *offline) fillSnapshot(info *Info) error {
	list, err := o.snaps.List()
	if err != nil || len(list) == 0 {
		return err
	}
	m := list[0]
	info.SnapshotIndex, info.SnapshotTerm, info.SnapshotSize = m.Index, m.Term, m.Size
	info.ConfigurationIndex = m.ConfigurationIndex
	info.Members = membersOf(m.Configuration)
	return nil
}

// fillMembers looks for a newer membership in the log.
func (o *offline) fillMembers(info *Info) error {
	for i := info.LastIndex; i > 0 && i >= info.FirstIndex && i > info.SnapshotIndex; i-- {
		var l raft.Log
		if err := o.bolt.GetLog(i, &l); err != nil {
			return fmt.Errorf("raftstore: log entry %d: %w", i, err)
		}
		if l.Type == raft.LogConfiguration {
			info.ConfigurationIndex, info.Members = i, membersOf(raft.DecodeConfiguration(l.Data))
			return nil
		}
	}
	return nil
}

func membersOf(c raft.Configuration) (out []Member) {
	for _, srv := range c.Servers {
		out = append(out, Member{ID: string(srv.ID), Addr: string(srv.Address), Voter: srv.Suffrage == raft.Voter})
	}
	return out
}

// ExportSnapshot writes the state of a stopped node as an archive: its newest
// snapshot and then every entry of its log. The last entries may be ones that
// were never acknowledged to anybody. m must be empty and is used up.
func ExportSnapshot(dataDir, machineName string, m Machine, w io.Writer) error {
	o, err := openOffline(dataDir, nil)
	if err != nil {
		return err
	}
	defer o.close()
	f := newFSM(m, Hooks{}, func() {})
	meta, err := o.replay(f)
	if err != nil {
		return err
	}
	snap, err := f.machine.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	// The size goes before the state, so it is written twice: once to count.
	return writeCounted(w, machineName, meta, snap, func() (Snapshot, error) { return f.machine.Snapshot() })
}

func writeCounted(w io.Writer, name string, meta raft.SnapshotMeta, first Snapshot, again func() (Snapshot, error)) error {
	n, err := first.WriteTo(io.Discard)
	if err != nil {
		return err
	}
	snap, err := again()
	if err != nil {
		return err
	}
	defer snap.Release()
	return WriteArchive(w, ArchiveMeta{Machine: name, Index: meta.Index, Term: meta.Term, Size: n}, snap)
}

// replay brings f to the end of the log.
func (o *offline) replay(f *fsm) (meta raft.SnapshotMeta, err error) {
	list, err := o.snaps.List()
	if err != nil {
		return meta, err
	}
	if len(list) > 0 {
		m, rc, err := o.snaps.Open(list[0].ID)
		if err != nil {
			return meta, fmt.Errorf("raftstore: open snapshot: %w", err)
		}
		if err := f.Restore(rc); err != nil {
			return meta, fmt.Errorf("raftstore: restore snapshot: %w", err)
		}
		meta.Index, meta.Term = m.Index, m.Term
	}
	last, err := o.bolt.LastIndex()
	if err != nil {
		return meta, err
	}
	for i := meta.Index + 1; i <= last; i++ {
		var l raft.Log
		if err := o.bolt.GetLog(i, &l); err != nil {
			return meta, fmt.Errorf("raftstore: log entry %d: %w", i, err)
		}
		if l.Type == raft.LogCommand {
			f.Apply(&l)
		}
		meta.Index, meta.Term = l.Index, l.Term
	}
	return meta, nil
}

// RecoverPeers gives a stopped node a new membership by force, when so many
// nodes are lost for good that no majority is left. Every entry in its log
// then counts as committed, acknowledged or not. Run it on all surviving
// nodes with the same list (or on the best one alone, and join fresh nodes
// later) while all are stopped. m must be empty and is used up; open the
// store with a new one afterwards.
func RecoverPeers(dataDir string, m Machine, peers []Peer) error {
	o, err := openOffline(dataDir, nil)
	if err != nil {
		return err
	}
	defer o.close()
	cfg := Config{NodeID: o.dir.meta.NodeID, DataDir: dataDir, Peers: peers, BindAddr: "offline"}.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	f := newFSM(m, Hooks{}, func() {})
	_, trans := raft.NewInmemTransport("")
	defer trans.Close()
	err = raft.RecoverCluster(raftConfig(cfg, cfg.Logger), f.forRaft(), o.bolt, o.votes, o.snaps, trans, configuration(peers))
	if err != nil {
		return fmt.Errorf("raftstore: recover: %w", err)
	}
	return nil
}
