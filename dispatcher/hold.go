package dispatcher

import (
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Hold keeps what one agent offers for one driver that has waited for long and
// that nothing offered at once is large enough for. Smaller drivers behind it
// would otherwise take each piece as it comes free, and it would wait for ever.
//
// A hold is bounded: it ends after HoldFor, and then the driver has to do
// without one for a while, twice as long after each hold that did not help. So
// even a driver that no agent can ever run costs little. The next hold is on
// another agent.
type Hold struct {
	DriverID string
	AgentID  string    // empty: between two holds
	Until    time.Time // end of the hold, or of the pause after it
	Fails    int       // holds that did not help
}

// maxHoldPause bounds the time between two holds of a driver.
const maxHoldPause = time.Hour

// holds are the holds of one decision.
type holds struct {
	byDriver map[string]*Hold
	byAgent  map[string]*Hold
	failed   map[string]int // of drivers whose pause is over: holds that did not help
	order    []string       // drivers, as they came
	limit    int            // agents that may be held at once
}

func newHolds(s *Situation, agents int) *holds {
	h := &holds{
		byDriver: make(map[string]*Hold), byAgent: make(map[string]*Hold), failed: make(map[string]int),
		limit: max(1, agents/8),
	}
	for i := range s.Holds {
		hold := s.Holds[i]
		if !stillWaits(s.View, hold.DriverID) {
			continue
		}
		if !hold.Until.After(s.Now) {
			if hold.AgentID == "" {
				h.failed[hold.DriverID] = hold.Fails
				h.order = append(h.order, hold.DriverID)
				continue
			}
			hold.Fails++
			hold.AgentID, hold.Until = "", s.Now.Add(min(min(s.HoldFor, maxHoldPause)<<min(hold.Fails-1, 16), maxHoldPause))
		}
		h.byDriver[hold.DriverID] = &hold
		h.order = append(h.order, hold.DriverID)
		if hold.AgentID != "" {
			h.byAgent[hold.AgentID] = &hold
		}
	}
	return h
}

func stillWaits(v *fsm.View, id string) bool {
	d, found := v.Driver(id)
	return found && (d.State == fsm.DriverQueued || d.State == fsm.DriverRetrying)
}

// open tells whether a driver that found no room may have an agent held.
func (h *holds) open(s *Situation, d *fsm.Driver) bool {
	if s.HoldAfter <= 0 || len(h.byAgent) >= h.limit || h.byDriver[d.ID] != nil {
		return false
	}
	since := time.UnixMilli(max(d.ChangedMs, d.NotBeforeMs))
	return s.Now.Sub(since) >= s.HoldAfter
}

func (h *holds) add(s *Situation, d *fsm.Driver, agentID string) {
	fails, again := h.failed[d.ID]
	hold := &Hold{DriverID: d.ID, AgentID: agentID, Until: s.Now.Add(s.HoldFor), Fails: fails}
	h.byDriver[d.ID], h.byAgent[agentID] = hold, hold
	delete(h.failed, d.ID)
	if !again {
		h.order = append(h.order, d.ID)
	}
}

// drop ends the hold of a driver that was placed.
func (h *holds) drop(driverID string) {
	delete(h.failed, driverID)
	if hold := h.byDriver[driverID]; hold != nil {
		delete(h.byDriver, driverID)
		delete(h.byAgent, hold.AgentID)
	}
}

// list is what the next decision is to know, and when the first of it ends.
func (h *holds) list() (out []Hold, until time.Time) {
	for _, id := range h.order {
		hold := h.byDriver[id]
		if hold == nil {
			// How often it was held for in vain is not forgotten with the pause.
			if fails, known := h.failed[id]; known {
				out = append(out, Hold{DriverID: id, Fails: fails})
			}
			continue
		}
		out = append(out, *hold)
		if until.IsZero() || hold.Until.Before(until) {
			until = hold.Until
		}
	}
	return out, until
}
