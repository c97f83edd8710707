package ui

import (
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// row is one driver in a table.
type row struct {
	ID, Name, Queue, MainClass, Resources string

	State     fsm.DriverState
	Status    stateText
	Reason    string // where the status does not say it
	AgentID   string
	AgentHost string
	History   string
	Sandbox   string

	Submitted, Started, Finished stamp

	LastFailed stateText
	NextRetry  stamp
	Retries    int32  // upstream's attempt count: failures in a row
	Attempt    uint32 // which attempt this is, from 1; 0 before the first
}

func (v *visit) row(d *fsm.Driver) row {
	r := row{
		ID: d.ID, Name: d.Name, Queue: queueName(d), MainClass: d.MainClass, Resources: resources(d),
		State: d.State, Submitted: v.at(d.SubmittedMs), Finished: v.at(d.FinishedMs),
		NextRetry: v.at(d.NotBeforeMs), Retries: d.Retries, Attempt: d.NextAttempt,
	}
	if a := d.Current(); a != nil {
		r.Started, r.AgentID, r.AgentHost = v.at(a.LaunchedMs), a.AgentID, a.AgentHost
		r.History, r.Sandbox = v.history(a), v.sandbox(a, v.view.Framework().ID)
		r.Status = v.stateText(a.Last)
	}
	r.LastFailed = v.stateText(lastFailed(d))
	if !strings.Contains(r.Status.Text, d.Reason) {
		r.Reason = d.Reason
	}
	return r
}

func (v *visit) rows(drivers []*fsm.Driver) []row {
	out := make([]row, 0, len(drivers))
	for _, d := range drivers {
		out = append(out, v.row(d))
	}
	return out
}

// queueName names the default queue, which a submission need not.
func queueName(d *fsm.Driver) string {
	if d.Queue == "" {
		return "default"
	}
	return d.Queue
}

func resources(d *fsm.Driver) string {
	return "cpus: " + decimal(d.Cores) + ", mem: " + decimalInt(d.MemMiB)
}
