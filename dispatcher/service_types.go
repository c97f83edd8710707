package dispatcher

import (
	"errors"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Consistency is how fresh a read must be.
type Consistency int

const (
	// Linearizable reads see everything that was acknowledged, by whichever node,
	// before the read began. They need a leader.
	Linearizable Consistency = iota
	// Stale reads answer from what this node has applied, without asking anybody.
	Stale
)

// Request identifies what a client asks for, so that asking again is harmless.
type Request struct {
	// Key is the client's idempotency key; empty: this request is never repeated
	// by the client.
	Key string
	// User is who asks, where that is known.
	User string
}

// Receipt is the acknowledgement of a submission: it is in the log of a majority.
type Receipt struct {
	DriverID string
	Repeated bool     // the outcome of an earlier request with the same key
	Warnings []string // about properties that are unknown or without effect
}

// KillReceipt is the answer to a kill.
type KillReceipt struct {
	Code    fsm.Code
	Success bool
	Message string // in Spark's words
}

// Errors that a caller can act on. Those of raftstore (no leader, outcome
// unknown) and *launch.InvalidError, *fsm.RefusedError come through unchanged.
var (
	// ErrNotFound says that no driver has this id.
	ErrNotFound = errors.New("no such driver")
)

// Cluster is the state of the cluster as this node sees it.
type Cluster struct {
	Leader       string        `json:"leader"`
	Term         uint64        `json:"term"`
	CommitIndex  uint64        `json:"commitIndex"`
	AppliedIndex uint64        `json:"appliedIndex"`
	Nodes        []ClusterNode `json:"nodes"`
	Framework    ClusterMesos  `json:"framework"`
}

// ClusterMesos is the cluster's registration with Mesos.
type ClusterMesos struct {
	ID     string `json:"id,omitempty"`
	State  string `json:"state"`
	Master string `json:"master,omitempty"`
}

// ClusterNode is one member.
type ClusterNode struct {
	ID      string `json:"id"`
	Raft    string `json:"raft"`
	REST    string `json:"rest"`
	WebUI   string `json:"webui,omitempty"`
	Version string `json:"version,omitempty"`
	Voter   bool   `json:"voter"`
	Healthy bool   `json:"healthy"`
	// LastContact is when the answering node last heard of this one; zero: never.
	LastContact time.Time `json:"lastContact,omitzero"`
	// Problem says in words what is wrong with the node, if anything.
	Problem string `json:"problem,omitempty"`
}
