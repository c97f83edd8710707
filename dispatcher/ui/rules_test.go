package ui

import (
	"regexp"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Spark's page breaks on a driver that could not be launched: it has no date of
// a start, no agent and no status.
func TestADriverThatCouldNotBeLaunchedIsShown(t *testing.T) {
	b := newBackend(t)
	d := description("rejected")
	id := b.submit(d)
	b.apply(fsm.NumberRejectDriver, &fsmpb.RejectDriver{DriverId: id, Reason: "no such volume"})
	p := b.pages(testConfig())
	finished := between(t, getOK(t, p, "/"), "Finished Drivers:", "</section>")
	row := between(t, finished, "driver?id="+id, "</tr>")
	wantAll(t, row, "no such volume", `data-label="Start Date"><span class="none">–`, `data-label="Mesos Agent ID">–`,
		`data-label="Sandbox"><span class="none">–`, `data-label="History"><span class="none">–`)
	wantAll(t, getOK(t, p, "/driver?id="+id), "no such volume", "The driver was not launched yet.", "No attempt was made yet.")
}

// State, then of Message, Healthy, Source, Reason and Time those that the status
// has.
func TestStateTextHasTheFieldsThatTheStatusHas(t *testing.T) {
	b := newBackend(t)
	p := b.pages(testConfig())
	for want, st := range map[string]*fsm.Status{
		"":                 nil,
		"State: TASK_LOST": {State: int32(fsm.TaskLost)},
		"State: TASK_ERROR, Message: m, Healthy: false, Source: SOURCE_MASTER, Reason: REASON_TASK_INVALID": {
			State: int32(fsm.TaskError), Message: "m", HasHealthy: true, HasSource: true, Source: 0, HasReason: true, Reason: 14, Timestamp: 1},
		"State: TASK_RUNNING, Healthy: true, Source: SOURCE_EXECUTOR": {State: int32(fsm.TaskRunning), HasHealthy: true, Healthy: true, HasSource: true, Source: 2},
	} {
		got := p.stateText(st)
		if got.Text != want || (got.At.Text != "") != (st.GetTimestamp() > 0) {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
}

// The column exists in the tables of launched and finished drivers.
func TestHistoryColumnIsThereOnlyWithAHistoryServer(t *testing.T) {
	b := newBackend(t)
	b.full()
	cfg := testConfig()
	column := regexp.MustCompile(`<th scope="col">History</th>`)
	if n := len(column.FindAllString(getOK(t, b.pages(cfg), "/"), -1)); n != 2 { // of launched and finished drivers
		t.Errorf("%d columns", n)
	}
	cfg.HistoryServerURL = ""
	if n := len(column.FindAllString(getOK(t, b.pages(cfg), "/"), -1)); n != 0 {
		t.Errorf("%d columns", n)
	}
}

// No page kills or submits: a page of another origin cannot either.
func TestPagesChangeNothing(t *testing.T) {
	b := newBackend(t)
	ids := b.full()
	p := b.pages(testConfig())
	for _, target := range []string{"/", "/drivers", "/cluster", "/driver?id=" + ids[fsm.DriverRunning]} {
		page := getOK(t, p, target)
		wantNone(t, page, `method="post"`, `method="POST"`, "/submissions/kill", "formaction")
		for _, form := range regexp.MustCompile(`<form[^>]*>`).FindAllString(page, -1) {
			wantAll(t, form, `method="get"`)
		}
	}
}

// A key in a hint must be one that can be set.
func TestHintsNameTheKeyOfTheLimit(t *testing.T) {
	p := newBackend(t).pages(testConfig())
	wantAll(t, getOK(t, p, "/"), "(spark.mesos.retainedDrivers)")
	_, page := get(t, p, "/driver?id=nobody")
	wantAll(t, page, "(spark.mesos.retainedDrivers)")
}
