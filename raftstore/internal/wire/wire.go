// Package wire has the types of the calls between stores. They are exported,
// as net/rpc demands, but not for users: hence a package of their own.
//
// The encoding is gob, which ignores unknown fields and leaves missing ones at
// zero: fields may be added, but never change their meaning.
package wire

import "time"

// Request is the argument of every call.
type Request struct {
	Timeout  time.Duration // what is left of the caller's deadline; 0 = none
	Data     []byte        // Propose: the command
	PeerID   string        // Join, Remove, Transfer
	PeerAddr string        // Join
	Voter    bool          // Join
}

// Reply is the answer to every call. Code is not zero if it failed.
type Reply struct {
	Code       int
	Detail     string // of the error, for humans
	LeaderID   string // hint when the callee does not lead
	LeaderAddr string
	Data       []byte // Propose: what Apply answered
	Index      uint64 // ReadIndex: the index; Position: last log index
	Term       uint64 // Position: term of the last entry
}
