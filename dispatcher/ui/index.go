package ui

import (
	"net"
	"net/url"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// indexRows is how many drivers a table of the first page shows; the rest is on
// the list, which has pages.
const indexRows = 50

// table is one of the four tables of the first page.
type table struct {
	ID, Heading string
	Layout      string // which columns: queued, launched, finished, retrying
	Empty       string
	Count       int
	Rows        []row
	More        string // the list of all of them
	History     bool   // the column exists
}

type indexBody struct {
	Framework fsm.Framework
	Tables    []table
	Welcome   *welcome // for a cluster that has seen no driver
}

// welcome tells a newcomer how to submit.
type welcome struct{ Server, Master string }

var (
	launchedStates = []fsm.DriverState{fsm.DriverLaunching, fsm.DriverRunning, fsm.DriverKilling}
	terminalStates = []fsm.DriverState{fsm.DriverFinished, fsm.DriverFailed, fsm.DriverKilled, fsm.DriverLost, fsm.DriverError}
)

func (v *visit) index() (any, error) {
	counts := v.view.Counts()
	first := func(walk func(func(*fsm.Driver) bool)) []row {
		var top []*fsm.Driver
		walk(func(d *fsm.Driver) bool {
			top = append(top, d)
			return len(top) < indexRows
		})
		return v.rows(top)
	}
	history := v.cfg.HistoryServerURL != ""
	body := indexBody{Framework: v.view.Framework(), Tables: []table{
		{
			ID: "queued", Heading: "Queued Drivers:", Layout: "queued", Count: counts.Waiting,
			Empty: "No driver waits for resources.",
			Rows:  first(v.view.Waiting), More: listOf(fsm.DriverQueued),
		}, {
			ID: "launched", Heading: "Launched Drivers:", Layout: "launched", Count: counts.Active, History: history,
			Empty: "No driver is running.",
			Rows:  first(v.view.Active), More: listOf(launchedStates...),
		}, {
			ID: "finished", Heading: "Finished Drivers:", Layout: "finished", Count: counts.Finished, History: history,
			Empty: "No driver has ended yet, or those that have are no longer kept (spark.mesos.retainedDrivers).",
			Rows:  first(v.view.Finished), More: listOf(terminalStates...),
		}, {
			ID: "retrying", Heading: "Supervise drivers waiting for retry:", Layout: "retrying", Count: counts.Retrying,
			Empty: "No supervised driver waits for its next attempt.",
			Rows:  first(v.view.Retrying), More: listOf(fsm.DriverRetrying),
		},
	}}
	if v.view.Len() == 0 {
		body.Welcome = v.welcome()
	}
	return body, nil
}

// listOf is the address of the list of all drivers in one of the states.
func listOf(states ...fsm.DriverState) string {
	q := url.Values{}
	for _, s := range states {
		q.Add("state", string(s))
	}
	return "drivers?" + q.Encode()
}

func (v *visit) welcome() *welcome {
	w := &welcome{Server: v.cfg.RESTURL}
	if w.Server == "" {
		w.Server = "http://HOST:7077"
	}
	w.Master = "mesos://HOST:7077"
	if u, err := url.Parse(w.Server); err == nil && u.Host != "" {
		w.Master = "mesos://" + u.Host
		if u.Port() == "" {
			w.Master = "mesos://" + net.JoinHostPort(u.Hostname(), "7077")
		}
	}
	return w
}
