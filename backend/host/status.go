package host

import (
	"cmp"
	"slices"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// State is how an application stands.
type State string

// The states of an application.
const (
	StateStarting     State = "STARTING" // Mesos does not know it yet
	StateRunning      State = "RUNNING"
	StateDisconnected State = "DISCONNECTED" // from Mesos; its executors go on
	StateStopping     State = "STOPPING"     // its executors are being ended
	StateStopped      State = "STOPPED"
	StateRemoved      State = "REMOVED" // Mesos has removed its framework, and its executors
)

var states = []State{StateStarting, StateRunning, StateDisconnected, StateStopping, StateStopped, StateRemoved}

// StateOf tells how an application stands.
func StateOf(a *fsm.App) State {
	switch {
	case a.Over():
		return StateStopped
	case a.Stopped:
		return StateStopping
	}
	switch a.Framework.State {
	case fsm.FrameworkSubscribed:
		return StateRunning
	case fsm.FrameworkDisconnected:
		return StateDisconnected
	case fsm.FrameworkRemoved, fsm.FrameworkTornDown:
		return StateRemoved
	}
	return StateStarting
}

// Status is an application as a node knows it.
type Status struct {
	App   *fsm.App
	State State
	// Of the rest, what the leader alone knows is there on the leader alone.
	backend.Status
}

// App is one application in a view. Errors: ErrNotFound.
func (h *Host) App(v *fsm.View, id string) (Status, error) {
	a, found := v.App(id)
	if !found || !a.Hosted() {
		return Status{}, ErrNotFound
	}
	return h.Status(v, a), nil
}

// Apps are all applications of a view, in the order of their registration.
func (h *Host) Apps(v *fsm.View) []Status {
	var out []Status
	v.Apps(func(a *fsm.App) bool {
		if a.Hosted() {
			out = append(out, h.Status(v, a))
		}
		return true
	})
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.App.Seq, b.App.Seq) })
	return out
}

// Status of an application, which may be of another time than the view, in which
// its executors are counted.
func (h *Host) Status(v *fsm.View, a *fsm.App) Status {
	out := Status{App: a, State: StateOf(a)}
	switch e := h.known(a); {
	case e == nil || e.coarse == nil:
		out.Status = backend.StatusOf(v, a.ID)
		if e != nil && !a.Over() {
			out.Problem = e.err
		}
	default:
		out.Status = e.coarse.StatusIn(v)
		if out.Problem == nil {
			out.Problem = out.Err
		}
	}
	return out
}
