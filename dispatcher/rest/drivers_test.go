package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func get[T any](t *testing.T, s http.Handler, path string) T {
	t.Helper()
	var v T
	w := do(s, "GET", path, "")
	if w.Code != 200 {
		t.Fatalf("%s: status %d: %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func (n *node) submitNamed(name, queue string) string {
	return n.apply("", fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{
		IdPrefix: "driver-20261122112319-", Name: name, MainClass: "org.example." + name, Queue: queue, User: "ann",
	}).DriverId
}

func names(l api.DriverList) (out []string) {
	for _, d := range l.Drivers {
		out = append(out, d.Name)
	}
	return out
}

func TestDriversAreListedLatestFirstAndFiltered(t *testing.T) {
	n := newNode()
	n.submitNamed("A", "")
	b := n.submitNamed("B", "gold")
	n.submitNamed("C", "gold")
	n.launchDriver(b, &fsm.Status{State: int32(fsm.TaskRunning)})
	s := newServer(t, testConfig(), n)
	for query, want := range map[string][]string{
		"":                                {"C", "B", "A"},
		"?state=RUNNING":                  {"B"},
		"?state=running,queued":           {"C", "B", "A"},
		"?state=queued&state=killed":      {"C", "A"},
		"?queue=gold":                     {"C", "B"},
		"?queue=default":                  {"A"},
		"?name=B":                         {"B"},
		"?q=EXAMPLE.c":                    {"C"},
		"?q=ann":                          {"C", "B", "A"},
		"?q=nothing":                      nil,
		"?since=2023-11-14T22:13:23Z":     {"C", "B"},
		"?until=1700000003000":            {"A"},
		"?limit=2":                        {"C", "B"},
		"?queue=gold&state=queued&q=driv": {"C"},
	} {
		if diff := cmp.Diff(want, names(get[api.DriverList](t, s, "/v1/drivers"+query))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	list := get[api.DriverList](t, s, "/v1/drivers/")
	if list.Counts != (api.Counts{Waiting: 2, Active: 1}) || list.Index != n.state.Index() || list.Change+1 != n.state.Feed().Next() {
		t.Errorf("counts %+v, index %d, change %d", list.Counts, list.Index, list.Change)
	}
}

func TestWrongListParametersAreNamed(t *testing.T) {
	s := newServer(t, testConfig(), newNode())
	for _, query := range []string{
		"state=BUSY", "limit=0", "limit=1001", "limit=x", "since=yesterday", "until=x", "cursor=%21", "cursor=AQ", "cursor=AgE", "sort=name",
	} {
		name, _, _ := strings.Cut(query, "=")
		if w := do(s, "GET", "/v1/drivers?"+query, ""); w.Code != 400 || !strings.Contains(w.Body.String(), name) {
			t.Errorf("%s: status %d, body %s", query, w.Code, w.Body)
		}
	}
}

func TestPagesCoverEachDriverOnceWhileOthersComeAndGo(t *testing.T) {
	n := newNode()
	want := map[string]bool{}
	for i := range 25 {
		want[n.submitNamed(fmt.Sprintf("d%d", i), "")] = true
	}
	s := newServer(t, testConfig(), n)
	seen := map[string]bool{}
	for cursor, pages := "", 0; ; pages++ {
		l := get[api.DriverList](t, s, "/v1/drivers?limit=7&cursor="+url.QueryEscape(cursor))
		for _, d := range l.Drivers {
			if seen[d.ID] || !want[d.ID] {
				t.Errorf("driver %s comes twice, or is new", d.ID)
			}
			seen[d.ID] = true
		}
		n.submitNamed("late", "")
		if cursor = l.NextCursor; cursor == "" {
			break
		}
		if pages > 10 {
			t.Fatal("the list has no end")
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d drivers listed, want %d", len(seen), len(want))
	}
}

func TestADriverIsShownWithAllItsAttempts(t *testing.T) {
	n := newNode()
	id := n.apply("", fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{
		IdPrefix: "d-", Name: "n", Supervise: true, Spec: []byte("app.jar\na\nb"),
	}).DriverId
	n.launchDriver(id, &fsm.Status{
		State: int32(fsm.TaskFailed), Message: "exit 1", HasReason: true, Reason: 11, HasSource: true, Source: 1, Timestamp: 1700000000.5,
	})
	s := newServer(t, testConfig(), n)
	d := get[api.Driver](t, s, "/v1/drivers/"+id)
	if d.State != "RETRYING" || d.SparkState != "RETRYING" || d.AttemptCount != 1 || d.NextRetryAt == nil || len(d.Attempts) != 1 {
		t.Fatalf("driver %+v", d)
	}
	a := d.Attempts[0]
	if a.TaskID != id || a.AgentID != "agent-1" || a.LaunchedAt == nil || a.EndedAt == nil || a.Status == nil {
		t.Errorf("attempt %+v", a)
	}
	if st := d.LastStatus; st.State != "TASK_FAILED" || st.Reason != "REASON_AGENT_REMOVED" || st.Source != "SOURCE_AGENT" || st.At.UnixMilli() != 1700000000500 {
		t.Errorf("status %+v", st)
	}
	if diff := cmp.Diff([]string{"a", "b"}, d.AppArgs); diff != "" || d.AppResource != "app.jar" || d.Environment == nil {
		t.Errorf("description: %+v", d)
	}
	for path, want := range map[string]int{"/v1/drivers/none": 404, "/v1/drivers/a/b": 404, "/v1/driversx": 468} {
		if w := do(s, "GET", path, ""); w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
}

func TestTheClusterIsShownWithoutALeaderToo(t *testing.T) {
	n := newNode()
	n.fail(fmt.Errorf("no leader"))
	n.leader = ""
	c := get[api.Cluster](t, newServer(t, testConfig(), n), "/v1/cluster")
	if c.Leader != "" || len(c.Nodes) != 1 || !c.Nodes[0].Voter {
		t.Errorf("cluster %+v", c)
	}
}
