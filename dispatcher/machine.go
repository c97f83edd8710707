package dispatcher

import (
	"io"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Machine lets raftstore run the replicated state.
type Machine struct{ State *fsm.State }

// Apply carries out one log entry. fsm copies what it keeps of the data.
func (m Machine) Apply(e raftstore.Entry) []byte { return m.State.Apply(e.Index, e.Data) }

// Snapshot captures the state in O(1).
func (m Machine) Snapshot() (raftstore.Snapshot, error) { return m.State.View(), nil }

// Restore replaces the state.
func (m Machine) Restore(r io.Reader) error { return m.State.Restore(r) }
