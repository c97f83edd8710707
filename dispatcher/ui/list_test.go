package ui

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

var driverLink = regexp.MustCompile(`driver\?id=([^"]+)"`)

func idsOn(page string) (ids []string) {
	for _, m := range driverLink.FindAllStringSubmatch(page, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// follow is where the link of that relation leads, or empty.
func follow(page, rel string) string {
	m := regexp.MustCompile(`<a rel="` + rel + `" href="\./([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return "/" + html.UnescapeString(m[1])
}

func TestListPagesForthAndBack(t *testing.T) {
	b := newBackend(t)
	b.many(2*listRows + 30)
	p := b.pages(testConfig())
	for name, target := range map[string]string{
		"all": "/drivers", "filtered": "/drivers?state=QUEUED&state=KILLED", "searched": "/drivers?q=org.example",
	} {
		t.Run(name, func(t *testing.T) {
			var all []string
			var pages []string
			for at := target; at != ""; {
				page := getOK(t, p, at)
				pages = append(pages, page)
				all = append(all, idsOn(page)...)
				at = follow(page, "next")
			}
			if len(pages) != 3 || len(all) != 2*listRows+30 || len(slices.Compact(slices.Clone(all))) != len(all) {
				t.Errorf("%d pages, %d drivers", len(pages), len(all))
			}
			if !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }) {
				t.Error("the latest is not first")
			}
			back := getOK(t, p, follow(pages[2], "prev"))
			if !slices.Equal(idsOn(back), idsOn(pages[1])) {
				t.Error("the page before the last is another one on the way back")
			}
			first := getOK(t, p, follow(back, "prev"))
			if !slices.Equal(idsOn(first), idsOn(pages[0])) || follow(first, "prev") != "" {
				t.Error("the way back does not end on the first page")
			}
		})
	}
}

func TestSearchFindsByIDNameClassAndUser(t *testing.T) {
	b := newBackend(t)
	b.many(20)
	id := b.submitRaw(&fsmpb.SubmitDriver{IdPrefix: testPrefix, Name: "Nightly Ünion", MainClass: "com.acme.Report", User: "alice", Cores: 1})
	b.launch(id)
	p := b.pages(testConfig())
	for query, want := range map[string]int{
		id: 1, id[3:]: 1, "nightly": 1, "ünion": 1, "ACME.rep": 1, "alice": 1, " alice ": 1, "nobody": 0, "job 1": 11,
		fsm.TaskID(id, 3): 1, "%": 0, `\`: 0, "": 21,
	} {
		page := getOK(t, p, "/drivers?q="+url.QueryEscape(query))
		if got := idsOn(page); len(got) != want {
			t.Errorf("%q: %d found, not %d", query, len(got), want)
		}
		wantAll(t, page, `name="q" maxlength="200" value="`+strings.TrimSpace(query)+`"`)
	}
	wantAll(t, getOK(t, p, "/drivers?q=nobody"), "No driver matches.")
	if got := idsOn(getOK(t, p, "/drivers?state=QUEUED&q="+id)); len(got) != 0 {
		t.Errorf("a launched driver is found among the queued: %v", got)
	}
}

func TestStatesFilter(t *testing.T) {
	b := newBackend(t)
	ids := b.full()
	p := b.pages(testConfig())
	for state, id := range ids {
		page := getOK(t, p, "/drivers?state="+strings.ToLower(string(state)))
		if got := idsOn(page); !slices.Equal(got, []string{id}) {
			t.Errorf("%s: %v, not %s", state, got, id)
		}
		wantAll(t, page, `value="`+string(state)+`" checked`)
	}
	if got := idsOn(getOK(t, p, "/"+listOf(launchedStates...))); len(got) != 3 {
		t.Errorf("launched: %v", got)
	}
	if got := idsOn(getOK(t, p, "/"+listOf(terminalStates...))); len(got) != 5 {
		t.Errorf("finished: %v", got)
	}
}

func TestFirstPageIsCutAndLeadsOn(t *testing.T) {
	b := newBackend(t)
	b.many(1000)
	page := getOK(t, b.pages(testConfig()), "/")
	if got := len(idsOn(page)); got != 2*indexRows {
		t.Errorf("%d rows", got)
	}
	wantAll(t, page, "The first 50 of 200.", "The first 50 of 800.", `href="./drivers?state=QUEUED"`,
		"state=FINISHED&amp;state=FAILED&amp;state=KILLED&amp;state=LOST&amp;state=ERROR")
}

func TestManyAttemptsAreCut(t *testing.T) {
	b := newBackend(t)
	d := description("restless")
	d.Supervise = true
	id := b.submit(d)
	for range 2 * attemptRows {
		b.report(b.launch(id), fsm.TaskFailed, "again", 0)
	}
	p := b.pages(testConfig())
	page := getOK(t, p, "/driver?id="+id)
	if got := strings.Count(page, "/browse"); got != attemptRows {
		t.Errorf("%d attempts shown", got)
	}
	wantAll(t, page, `href="./driver?attempts=all&amp;id=`+id)
	if got := strings.Count(getOK(t, p, "/driver?id="+id+"&attempts=all"), "/browse"); got != 2*attemptRows {
		t.Errorf("%d attempts shown of all", got)
	}
}

// The drivers of the large tests: one of each five queued, the others over. They
// are made once and only read.
const crowd = 100_000

var crowded = sync.OnceValue(func() *backend {
	b := newBackend(panicker{})
	b.many(crowd)
	return b
})

// panicker is the testing.TB of a backend that outlives a test.
type panicker struct{ testing.TB }

func (panicker) Helper()           {}
func (panicker) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// A search for what nobody has looks at a bounded number, says so, and can be
// continued to the end.
func TestSearchIsBoundedAndContinues(t *testing.T) {
	p := crowded().pages(testConfig())
	page := getOK(t, p, "/drivers?q=JOB+5%3F")
	wantAll(t, page, "Nothing found so far.", "Looked at 50,000 drivers; there are more.", "Go on searching")
	page = getOK(t, p, follow(page, "next"))
	wantAll(t, page, "No driver matches.")
	// An exact id is found at once, wherever it is.
	if got := idsOn(getOK(t, p, "/drivers?q="+testPrefix+"0003")); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}

func TestTheFewAliveAreFoundBehindAnyNumberThatAreOver(t *testing.T) {
	b := newBackend(t)
	old := b.submit(description("old"))
	b.launch(old)
	b.many(1000)
	for state, looked := range map[fsm.DriverState]int{fsm.DriverLaunching: 1, fsm.DriverRetrying: 0, fsm.DriverQueued: listRows} {
		q := listQuery{states: []fsm.DriverState{state}}
		if p := q.page(b.state.View()); p.looked != looked || len(p.drivers) != looked {
			t.Errorf("%s: looked at %d drivers and found %d, not %d", state, p.looked, len(p.drivers), looked)
		}
	}
}

// A page costs what it shows: a hundred times the drivers must not be felt.
func TestPagesCostTheSameAtAnySize(t *testing.T) {
	few := newBackend(t)
	few.many(crowd / 100)
	small, large := few.pages(testConfig()), crowded().pages(testConfig())
	cost := func(h http.Handler, target string) time.Duration {
		best := time.Hour // the best of some: the machine may have other work
		for range 15 {
			began := time.Now()
			getOK(t, h, target)
			best = min(best, time.Since(began))
		}
		return best
	}
	driver := "/driver?id=" + testPrefix + "0500"
	for name, at := range map[string]struct{ small, large string }{
		"first page": {"/", "/"}, "list": {"/drivers", "/drivers"}, "driver": {driver, driver}, "cluster": {"/cluster", "/cluster"},
		"middle of the list": {"/drivers?before=500", "/drivers?before=50000"},
		"filtered":           {"/drivers?state=KILLED", "/drivers?state=KILLED"},
	} {
		ratio := float64(cost(large, at.large)) / float64(cost(small, at.small))
		t.Logf("%s: 100,000 drivers cost %.2f times what 1,000 cost", name, ratio)
		if ratio > 5 {
			t.Errorf("%s: 100,000 drivers cost %.1f times what 1,000 cost", name, ratio)
		}
	}
}
