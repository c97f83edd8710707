package fsm

import (
	"context"
	"errors"
	"fmt"

	looplab "github.com/looplab/fsm"
)

// Lifecycle is one kind of finite state machine as data: states, events and the
// transitions between them. One looplab machine serves all records of a kind,
// because the state of a record lives in the record, not in the machine: a
// machine per driver would cost a map each.
//
// A Lifecycle is not safe for concurrent use. State calls it under its lock.
type Lifecycle struct {
	name    string
	initial string
	states  []string
	events  looplab.Events
	machine *looplab.FSM
}

// IllegalTransition is the answer to an event that a state does not know. It is
// a result like any other, the same on every node, and changes nothing.
type IllegalTransition struct {
	Lifecycle, State, Event string
}

func (e *IllegalTransition) Error() string {
	return fmt.Sprintf("%s: event %q does not apply in state %s", e.Lifecycle, e.Event, e.State)
}

func newLifecycle(name, initial string, states []string, events looplab.Events) *Lifecycle {
	return &Lifecycle{
		name:    name,
		initial: initial,
		states:  states,
		events:  events,
		machine: looplab.NewFSM(initial, events, nil),
	}
}

// Name of the lifecycle, such as "driver".
func (l *Lifecycle) Name() string { return l.name }

// Initial state.
func (l *Lifecycle) Initial() string { return l.initial }

// States in their natural order.
func (l *Lifecycle) States() []string { return append([]string(nil), l.states...) }

// Events in the order of the table, each once.
func (l *Lifecycle) Events() []string {
	var names []string
	seen := make(map[string]bool)
	for _, e := range l.events {
		if !seen[e.Name] {
			seen[e.Name] = true
			names = append(names, e.Name)
		}
	}
	return names
}

// Next is the state that event leads to from state, or *IllegalTransition.
func (l *Lifecycle) Next(state, event string) (string, error) {
	l.machine.SetState(state)
	err := l.machine.Event(context.Background(), event)
	var same looplab.NoTransitionError
	if err != nil && !errors.As(err, &same) {
		return state, &IllegalTransition{Lifecycle: l.name, State: state, Event: event}
	}
	return l.machine.Current(), nil
}

// Mermaid draws the table as a state diagram.
func (l *Lifecycle) Mermaid() string {
	fresh := looplab.NewFSM(l.initial, l.events, nil)
	text, err := looplab.VisualizeForMermaidWithGraphType(fresh, looplab.StateDiagram)
	if err != nil {
		return err.Error()
	}
	return text
}
