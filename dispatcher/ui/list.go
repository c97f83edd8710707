package ui

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

const (
	// listRows is how many drivers a page of the list has.
	listRows = 100
	// scanBudget is how many drivers one page looks at. Where few of them pass
	// the filter the page ends there and offers to go on.
	scanBudget = 50_000
	// fewDrivers may be gathered and sorted for one page.
	fewDrivers = 5_000
	// maxSearch is the longest text to search for, in bytes.
	maxSearch = 200
)

// listQuery is what a page of the list was asked for.
type listQuery struct {
	text   string // as typed
	lower  string
	states []fsm.DriverState
	before uint64 // only drivers accepted before this one; 0: from the latest
	after  uint64 // only drivers accepted after this one; 0: no limit
}

func parseListQuery(v url.Values) (*listQuery, error) {
	q := &listQuery{text: strings.TrimSpace(v.Get("q"))}
	if len(q.text) > maxSearch {
		return nil, &problem{Status: http.StatusBadRequest, Text: "The text to search for is too long.",
			Hint: "Use at most " + strconv.Itoa(maxSearch) + " characters.", Link: "drivers", LinkTo: "All drivers"}
	}
	q.lower = strings.ToLower(q.text)
	for _, s := range v["state"] {
		state := fsm.DriverState(strings.ToUpper(s))
		if _, known := meaning[state]; !known {
			return nil, &problem{Status: http.StatusBadRequest, Text: "There is no state '" + clip(s) + "'.",
				Link: "drivers", LinkTo: "All drivers"}
		}
		if !slices.Contains(q.states, state) {
			q.states = append(q.states, state)
		}
	}
	for name, to := range map[string]*uint64{"before": &q.before, "after": &q.after} {
		if text := v.Get(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return nil, &problem{Status: http.StatusBadRequest, Text: name + " must be a number that a link of the list gave.",
					Link: "drivers", LinkTo: "The first page"}
			}
			*to = n
		}
	}
	return q, nil
}

// address of the list with these filters from another place on.
func (q *listQuery) address(cursor string, seq uint64) string {
	v := url.Values{}
	if q.text != "" {
		v.Set("q", q.text)
	}
	for _, s := range q.states {
		v.Add("state", string(s))
	}
	if cursor != "" {
		v.Set(cursor, strconv.FormatUint(seq, 10))
	}
	if len(v) == 0 {
		return "drivers"
	}
	return "drivers?" + v.Encode()
}

func (q *listQuery) matches(d *fsm.Driver) bool {
	if len(q.states) > 0 && !slices.Contains(q.states, d.State) {
		return false
	}
	return q.lower == "" || q.in(d.ID) || q.in(d.Name) || q.in(d.MainClass) || q.in(d.User)
}

func (q *listQuery) in(s string) bool { return strings.Contains(strings.ToLower(s), q.lower) }

// listPage is one page, the latest driver first. The cursors are the order of
// acceptance of a driver, which stays valid whatever comes or goes.
type listPage struct {
	drivers []*fsm.Driver
	newer   uint64 // look after it for newer ones; 0: there are none
	older   uint64 // look before it for older ones; 0: there are none
	looked  int
	cut     bool // the budget ended the page
}

func (q *listQuery) page(v *fsm.View) listPage {
	if d, found := v.Driver(fsm.DriverOfTask(q.text)); found && q.matchesState(d) {
		return listPage{drivers: []*fsm.Driver{d}, looked: 1}
	}
	if q.after > 0 {
		return q.newerPage(v)
	}
	var p listPage
	var last uint64
	q.walk(v, func(d *fsm.Driver) bool {
		if len(p.drivers) == listRows || p.looked == scanBudget {
			p.older, p.cut = last, len(p.drivers) < listRows
			return false
		}
		p.looked++
		last = d.Seq
		if q.matches(d) {
			p.drivers = append(p.drivers, d)
		}
		return true
	})
	if q.before > 0 {
		p.newer = q.before - 1
		if len(p.drivers) > 0 {
			p.newer = p.drivers[0].Seq
		}
	}
	return p
}

func (q *listQuery) matchesState(d *fsm.Driver) bool {
	return len(q.states) == 0 || slices.Contains(q.states, d.State)
}

// newerPage walks the other way, so that going back leads to the page before.
func (q *listQuery) newerPage(v *fsm.View) listPage {
	p := listPage{older: q.after + 1}
	var last uint64
	v.After(q.after, func(d *fsm.Driver) bool {
		if len(p.drivers) == listRows || p.looked == scanBudget {
			p.newer, p.cut = last, len(p.drivers) < listRows
			return false
		}
		p.looked++
		last = d.Seq
		if q.matches(d) {
			p.drivers = append(p.drivers, d)
		}
		return true
	})
	slices.Reverse(p.drivers)
	if n := len(p.drivers); n > 0 {
		p.older = p.drivers[n-1].Seq
	}
	return p
}

// walk visits the drivers that may match, the latest first. Those that are not
// over may be as old as the log and lie behind 100,000 that are: where they are
// asked for, and few, they are visited through their own indexes.
func (q *listQuery) walk(v *fsm.View, visit func(*fsm.Driver) bool) {
	parts, few := q.fewAlive(v)
	if !few {
		v.Before(q.before, visit)
		return
	}
	var alive []*fsm.Driver
	for _, part := range parts {
		part(func(d *fsm.Driver) bool {
			if q.before == 0 || d.Seq < q.before {
				alive = append(alive, d)
			}
			return true
		})
	}
	slices.SortFunc(alive, func(a, b *fsm.Driver) int { return cmp.Compare(b.Seq, a.Seq) })
	for _, d := range alive {
		if !visit(d) {
			return
		}
	}
}

// fewAlive are the indexes that hold all drivers of the states asked for, if
// these are no terminal ones and the indexes are small.
func (q *listQuery) fewAlive(v *fsm.View) (parts []func(func(*fsm.Driver) bool), few bool) {
	counts, n := v.Counts(), 0
	need := func(part func(func(*fsm.Driver) bool), size int) {
		parts = append(parts, part)
		n += size
	}
	if slices.Contains(q.states, fsm.DriverQueued) {
		need(v.Waiting, counts.Waiting)
	}
	if slices.ContainsFunc(q.states, fsm.DriverState.Active) {
		need(v.Active, counts.Active)
	}
	if slices.Contains(q.states, fsm.DriverRetrying) {
		need(v.Retrying, counts.Retrying)
	}
	return parts, len(parts) > 0 && n <= fewDrivers && !slices.ContainsFunc(q.states, fsm.DriverState.Terminal)
}

type listBody struct {
	Query        string
	Filtered     bool
	Choices      []choice
	Rows         []row
	Total        int
	Looked       int
	Cut          bool
	First        string
	Newer, Older string
	History      bool
	Welcome      *welcome
}

type choice struct {
	State   fsm.DriverState
	Checked bool
}

var allStates = []fsm.DriverState{
	fsm.DriverQueued, fsm.DriverLaunching, fsm.DriverRunning, fsm.DriverKilling, fsm.DriverRetrying,
	fsm.DriverFinished, fsm.DriverFailed, fsm.DriverKilled, fsm.DriverLost, fsm.DriverError,
}

func (v *visit) drivers() (any, error) {
	v.title = "All drivers"
	q, err := parseListQuery(v.r.URL.Query())
	if err != nil {
		return nil, err
	}
	v.search = q.text
	p := q.page(v.view)
	body := listBody{
		Query: q.text, Filtered: q.text != "" || len(q.states) > 0, Rows: v.rows(p.drivers), Total: v.view.Len(),
		Looked: p.looked, Cut: p.cut, History: v.cfg.HistoryServerURL != "",
	}
	for _, s := range allStates {
		body.Choices = append(body.Choices, choice{s, slices.Contains(q.states, s)})
	}
	if q.before > 0 || q.after > 0 {
		body.First = q.address("", 0)
	}
	if p.newer > 0 {
		body.Newer = q.address("after", p.newer)
	}
	if p.older > 0 {
		body.Older = q.address("before", p.older)
	}
	if body.Total == 0 {
		body.Welcome = v.welcome()
	}
	return body, nil
}
