package fsm

import (
	"errors"
	"strings"
	"testing"
)

// The golden tables: a row per state, a column per event, "-" is refused. They
// are written by hand; do not generate them from the code they check.
const driverTable = `
            launch     dropped  started  finished  failed  lost    error   ended   retry     kill     reject
QUEUED      LAUNCHING  -        -        -         -       -       -       -       -         KILLED   ERROR
LAUNCHING   -          QUEUED   RUNNING  FINISHED  FAILED  LOST    ERROR   KILLED  RETRYING  KILLING  -
RUNNING     -          -        RUNNING  FINISHED  FAILED  LOST    ERROR   KILLED  RETRYING  KILLING  -
KILLING     -          KILLED   KILLING  FINISHED  KILLED  KILLED  KILLED  KILLED  -         KILLING  -
RETRYING    LAUNCHING  -        -        -         -       -       -       -       -         KILLED   ERROR
FINISHED    -          -        -        -         -       -       -       -       -         -        -
FAILED      -          -        -        -         -       -       -       -       -         -        -
KILLED      -          -        -        -         -       -       -       -       -         -        -
LOST        -          -        -        -         -       -       -       -       -         -        -
ERROR       -          -        -        -         -       -       -       -       -         -        -
`

const frameworkTable = `
              subscribe   disconnect    remove   tear_down  reset
NEW           SUBSCRIBED  -             -        -          -
SUBSCRIBED    SUBSCRIBED  DISCONNECTED  REMOVED  TORN_DOWN  -
DISCONNECTED  SUBSCRIBED  DISCONNECTED  REMOVED  TORN_DOWN  -
TORN_DOWN     -           -             -        -          NEW
REMOVED       -           -             REMOVED  -          NEW
`

// goldenTable is state → event → next state; a refused pair is absent.
func goldenTable(text string) (states, events []string, next map[[2]string]string) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	events = strings.Fields(lines[0])
	next = make(map[[2]string]string)
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		states = append(states, cells[0])
		for i, to := range cells[1:] {
			if to != "-" {
				next[[2]string{cells[0], events[i]}] = to
			}
		}
	}
	return states, events, next
}

func TestEveryPairOfStateAndEventHasItsDefinedAnswer(t *testing.T) {
	golden := map[string]string{"driver": driverTable, "framework": frameworkTable, "executor": executorTable}
	for _, l := range Lifecycles() {
		t.Run(l.Name(), func(t *testing.T) {
			states, events, next := goldenTable(golden[l.Name()])
			if got, want := strings.Join(l.States(), " "), strings.Join(states, " "); got != want {
				t.Fatalf("states %s, want %s", got, want)
			}
			if got, want := strings.Join(l.Events(), " "), strings.Join(events, " "); got != want {
				t.Fatalf("events %s, want %s", got, want)
			}
			if l.Initial() != states[0] {
				t.Errorf("begins in %s, want %s", l.Initial(), states[0])
			}
			for _, state := range states {
				for _, event := range events {
					checkPair(t, l, state, event, next[[2]string{state, event}])
				}
				checkPair(t, l, state, "no such event", "")
				checkPair(t, l, state, "", "")
			}
			for _, event := range events {
				checkPair(t, l, "NO_SUCH_STATE", event, "")
			}
		})
	}
}

func checkPair(t *testing.T, l *Lifecycle, state, event, want string) {
	t.Helper()
	got, err := l.Next(state, event)
	var illegal *IllegalTransition
	switch {
	case want != "" && (err != nil || got != want):
		t.Errorf("%s in %s leads to %s (%v), want %s", event, state, got, err, want)
	case want == "" && (!errors.As(err, &illegal) || got != state):
		t.Errorf("%s in %s leads to %s (%v), want a refusal", event, state, got, err)
	case want == "" && (illegal.State != state || illegal.Event != event || illegal.Lifecycle != l.Name()):
		t.Errorf("refusal says %v", illegal)
	}
}

func TestTerminalAndActiveStatesAgreeWithTheTable(t *testing.T) {
	states, events, next := goldenTable(driverTable)
	for _, s := range states {
		leaves := false
		for _, e := range events {
			leaves = leaves || next[[2]string{s, e}] != ""
		}
		if DriverState(s).Terminal() == leaves {
			t.Errorf("%s: Terminal() is %v, but events lead out: %v", s, !leaves, leaves)
		}
		_, canEnd := next[[2]string{s, EventFinished}]
		if DriverState(s).Active() != canEnd {
			t.Errorf("%s: Active() is %v, but its task can finish: %v", s, !canEnd, canEnd)
		}
	}
}

func TestListsOfALifecycleCanBeChangedByTheCaller(t *testing.T) {
	l := Lifecycles()[0]
	l.States()[0], l.Events()[0] = "X", "X"
	if l.States()[0] == "X" || l.Events()[0] == "X" {
		t.Error("the caller changed the table")
	}
	if text := l.Mermaid(); !strings.Contains(text, "QUEUED --> LAUNCHING: launch") {
		t.Errorf("diagram lacks a transition:\n%s", text)
	}
}
