package raftstore

import (
	"time"

	"github.com/hashicorp/raft"
)

// Member is one node of the cluster as this node sees it.
type Member struct {
	ID    string
	Addr  string
	Voter bool
	// Healthy: this node talked to it within the last seconds.
	Healthy bool
	// LastContact is when it last answered this node; zero if never.
	LastContact time.Time
	// Version is its Config.Version as last heard; 0 if never.
	Version uint32
	// Problem says in words what is wrong, if anything.
	Problem string
}

// Role is what a node does in the current term.
type Role string

// The roles. A non-voter is always a follower.
const (
	Follower  Role = "follower"
	Candidate Role = "candidate"
	Leader    Role = "leader"
	Stopped   Role = "stopped"
)

// Status is a snapshot of one node's view; nothing in it was confirmed by
// others.
type Status struct {
	NodeID      string
	Role        Role
	Ready       bool   // leading, and everything acknowledged before is applied here
	Term        uint64 // current term
	Commit      uint64 // highest index known to be committed
	Applied     uint64 // highest index applied to the machine
	LastIndex   uint64 // highest index in the local log
	SnapshotAt  uint64 // index of the newest snapshot
	Restores    uint64 // snapshots installed since start
	LeaderID    string // "" if unknown
	LeaderAddr  string
	LastContact time.Time // with the leader; zero if this node leads or never heard one
	Members     []Member
	// MinVersion is the lowest Version among the members. A member never heard
	// of counts as 1, which every binary supports.
	MinVersion uint32
}

// Status describes this node and what it knows of the others.
func (s *Store) Status() Status {
	addr, id := s.raft.LeaderWithID()
	ep, _, _ := s.leadership.watch()
	st := Status{
		NodeID: s.cfg.NodeID, Role: role(s.raft.State()), Ready: ep != nil,
		Term: s.raft.CurrentTerm(), Commit: s.raft.CommitIndex(), Applied: s.AppliedIndex(),
		LastIndex: s.raft.LastIndex(), SnapshotAt: number(s.raft.Stats()["last_snapshot_index"]), Restores: s.fsm.restored.Load(),
		LeaderID: string(id), LeaderAddr: string(addr),
	}
	if st.Role != Leader {
		st.LastContact = s.raft.LastContact()
	}
	st.MinVersion = s.cfg.Version
	for _, srv := range s.servers() {
		m := s.member(srv)
		st.Members = append(st.Members, m)
		st.MinVersion = min(st.MinVersion, max(m.Version, 1))
	}
	return st
}

func (s *Store) member(srv raft.Server) Member {
	m := Member{ID: string(srv.ID), Addr: string(srv.Address), Voter: srv.Suffrage == raft.Voter}
	if m.ID == s.cfg.NodeID {
		m.Healthy, m.LastContact, m.Version = true, time.Now(), s.cfg.Version
		return m
	}
	st, ok := s.mesh.get(m.ID)
	if !ok {
		return m
	}
	m.LastContact, m.Version, m.Problem = st.contact, st.hello.Version, st.problem
	m.Healthy = st.up && time.Since(st.contact) < silentAfter
	return m
}

func role(st raft.RaftState) Role {
	switch st {
	case raft.Leader:
		return Leader
	case raft.Candidate:
		return Candidate
	case raft.Shutdown:
		return Stopped
	}
	return Follower
}
