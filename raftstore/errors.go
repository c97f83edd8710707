package raftstore

import (
	"errors"
	"fmt"
)

// The errors of this package, for errors.Is. The comment of each says whether
// the command may have been executed.
var (
	// ErrNotLeader: the node asked is not the leader, or is handing leadership
	// over. Surely not executed. errors.As with *NotLeaderError gives a hint
	// where the leader is.
	ErrNotLeader = errors.New("raftstore: this node is not the leader")

	// ErrNoLeader: no leader is known at the moment, or it cannot be reached.
	// Surely not executed. An election takes well below a second; try again.
	ErrNoLeader = errors.New("raftstore: no leader known; try again shortly")

	// ErrOutcomeUnknown: the command was handed over, and then leadership, the
	// connection or the caller's context ended. It may have been executed, or
	// may yet be. Repeating it is safe only if the machine deduplicates.
	ErrOutcomeUnknown = errors.New("raftstore: outcome unknown, the command may or may not be executed")

	// ErrClosed: the store is closed or closing. Surely not executed, unless
	// ErrOutcomeUnknown is in the same chain.
	ErrClosed = errors.New("raftstore: store is closed")

	// ErrTooLarge: the command exceeds Config.MaxCommandBytes. Not executed.
	ErrTooLarge = errors.New("raftstore: command too large")

	// ErrWrongNode: the data directory belongs to another node id, or the
	// node that answers at an address is not the one expected there.
	ErrWrongNode = errors.New("raftstore: belongs to another node")

	// ErrWrongVersion: the data directory or archive was written in a format
	// that this binary does not know.
	ErrWrongVersion = errors.New("raftstore: unknown format version")

	// ErrLocked: another process (or store) has the data directory open.
	ErrLocked = errors.New("raftstore: data directory is in use by another process")

	// ErrAddrInUse: BindAddr is taken.
	ErrAddrInUse = errors.New("raftstore: address already in use")

	// ErrTimersDiffer: the joining node runs with another Profile.
	ErrTimersDiffer = errors.New("raftstore: timer profiles differ between nodes")

	// ErrDiskStalled: a write to the log did not finish within
	// Config.DiskDeadline. For a command it comes with ErrOutcomeUnknown.
	ErrDiskStalled = errors.New("raftstore: disk stalled")

	// ErrBadSnapshot: an archive is damaged, truncated or of another machine.
	ErrBadSnapshot = errors.New("raftstore: snapshot archive refused")

	// ErrUnknownMember: no member with this id.
	ErrUnknownMember = errors.New("raftstore: no such member")

	// ErrUntrusted: the peer's certificate is not from our CA or does not name
	// the node it claims to be.
	ErrUntrusted = errors.New("raftstore: peer not trusted")
)

// NotLeaderError is ErrNotLeader with what the refusing node knows about the
// leader. The hint may be empty or stale.
type NotLeaderError struct {
	LeaderID   string
	LeaderAddr string
}

func (e *NotLeaderError) Error() string {
	if e.LeaderID == "" {
		return ErrNotLeader.Error() + " (leader unknown)"
	}
	return fmt.Sprintf("%s (leader is %s at %s)", ErrNotLeader, e.LeaderID, e.LeaderAddr)
}

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// unknown marks err as one that leaves the outcome open.
func unknown(err error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err) }
