package localmesos

import (
	"slices"

	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// Action is what a fault hook wants done with a call or an event.
type Action int

const (
	// Pass lets it through: no fault.
	Pass Action = iota
	// Drop loses it. A dropped call is still answered 202, as a call is that
	// dies between the master's door and its work.
	Drop
	// Hold keeps it until [Mesos.Release]: a call waits unanswered, an event
	// is sent later.
	Hold
	// Duplicate sends an event twice. It has no meaning for a call.
	Duplicate
	// LoseAnswer does what the call asks for and cuts the connection instead
	// of answering. It has no meaning for an event.
	LoseAnswer
	// Refuse answers a call with 503 and does nothing else. It has no meaning
	// for an event.
	Refuse
)

// Faults are hooks for tests. Each may be nil, is called from many goroutines,
// must not call into the [Mesos] it belongs to, and must not change what it is
// given.
type Faults struct {
	// Call sees every call of the scheduler API, once it is decoded and valid.
	Call func(*scheduler.Call) Action
	// Event sees every event before it is put on a framework's stream.
	Event func(frameworkID string, event *scheduler.Event) Action
	// ExecutorCall sees every call of the executor API; it may not Hold.
	ExecutorCall func(*execproto.Call) Action
	// ExecutorEvent sees every event before it is put on an executor's stream;
	// it may Pass, Drop or Duplicate.
	ExecutorEvent func(executorID string, event *execproto.Event) Action
}

// SetFaults replaces the hooks. What was held before stays held.
func (m *Mesos) SetFaults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = f
}

// Release lets held calls and events go, in the order in which they came.
func (m *Mesos) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.released)
	m.released = make(chan struct{})
	held := m.heldEvents
	m.heldEvents = nil
	for _, h := range held {
		if f := m.master.frameworks[h.framework]; f != nil && f.stream != nil {
			f.stream.push(h.event)
		}
	}
}

type heldEvent struct {
	framework string
	event     *scheduler.Event
}

// CutStreams breaks the event streams of these frameworks, or of all if none
// is named, as a network does: without a last word. Frameworks may subscribe
// again within their failover timeout.
func (m *Mesos) CutStreams(frameworkIDs ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, f := range m.master.frameworks {
		if f.stream != nil && (len(frameworkIDs) == 0 || slices.Contains(frameworkIDs, id)) {
			f.stream.cut()
			m.disconnected(f, f.stream)
		}
	}
}

// CutExecutors breaks the event streams of these executors, or of all if none
// is named, on every agent. Executors of frameworks that checkpoint may
// subscribe again; others end.
func (m *Mesos) CutExecutors(executorIDs ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.agents {
		for key, e := range a.executors {
			if e.stream != nil && (len(executorIDs) == 0 || slices.Contains(executorIDs, key.executor)) {
				e.stream.cut()
				e.stream = nil
			}
		}
	}
}

// Silence stops (true) or resumes (false) everything that streams send,
// heartbeats included, while connections stay open: what a scheduler sees
// when its master is cut off without a word. Events wait meanwhile.
func (m *Mesos) Silence(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = on
	for _, f := range m.master.frameworks {
		if f.stream != nil {
			f.stream.setSilent(on)
		}
	}
}
