package ui

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testFramework = "11111111-2222-3333-4444-555555555555-0000"
	testAgent     = "11111111-2222-3333-4444-555555555555-S0"
	testPrefix    = "driver-20261122112417-"
)

// testStart is 2026/11/22 11:24:17 UTC.
const testStart = int64(1795346657000)

// backend is a Dispatcher over a state that the test writes.
type backend struct {
	t       testing.TB
	state   *fsm.State
	index   uint64
	nowMs   int64
	members dispatcher.Cluster
	status  dispatcher.LeaderStatus
	secret  *regexp.Regexp
	fresh   error // what a linearizable read fails with
	reads   map[dispatcher.Consistency]int
}

var _ Dispatcher = (*backend)(nil)
var _ Dispatcher = (*dispatcher.Leader)(nil)

func newBackend(t testing.TB) *backend {
	b := &backend{
		t: t, state: fsm.New(), nowMs: testStart, secret: sparkconf.DefaultRedaction, reads: map[dispatcher.Consistency]int{},
		members: dispatcher.Cluster{Leader: "n1", Term: 7, CommitIndex: 4321, Nodes: []dispatcher.ClusterNode{
			{ID: "n1", Raft: "10.0.0.1:7079", REST: "http://10.0.0.1:7077", WebUI: "http://10.0.0.1:8081", Version: "1.0.0", Voter: true, Healthy: true},
			{ID: "n2", Raft: "10.0.0.2:7079", REST: "http://10.0.0.2:7077", WebUI: "http://10.0.0.2:8081", Version: "1.0.0", Voter: true, Healthy: true, LastContact: time.UnixMilli(testStart)},
			{ID: "n3", Raft: "10.0.0.3:7079", REST: "http://10.0.0.3:7077", WebUI: "http://10.0.0.3:8081", Version: "1.0.0", Voter: true, Healthy: true, LastContact: time.UnixMilli(testStart)},
		}},
	}
	b.apply(fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: testFramework, Master: "http://10.0.0.9:5050"})
	b.apply(fsm.NumberSetPolicy, &fsm.Policy{MaxDrivers: 1_000_000, RetainedDrivers: 1_000_000, RetryWaitMaxS: 60, DedupWindow: 10})
	return b
}

func (b *backend) apply(n fsm.Number, body proto.Message) *fsmpb.Result {
	b.t.Helper()
	b.index++
	b.nowMs += 1000
	stamp := fsm.Stamp{TimeMs: b.nowMs}
	binary.BigEndian.PutUint64(stamp.RequestID[:], b.index)
	entry, err := fsm.Encode(n, stamp, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := fsm.DecodeResult(b.state.Apply(b.index, entry))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := fsm.ResultError(r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *backend) View(_ context.Context, c dispatcher.Consistency) (*fsm.View, error) {
	b.reads[c]++
	if c == dispatcher.Linearizable && b.fresh != nil {
		return nil, b.fresh
	}
	return b.state.View(), nil
}

func (b *backend) Description(d *fsm.Driver) (*launch.Description, error) {
	if string(d.Spec) == "damaged" {
		return nil, errors.New("specification cannot be decoded")
	}
	return dispatcher.DecodeSpec(d.Spec)
}

func (b *backend) Cluster(context.Context) (dispatcher.Cluster, error) { return b.members, nil }
func (b *backend) Redaction() *regexp.Regexp                           { return b.secret }
func (b *backend) Status() dispatcher.LeaderStatus                     { return b.status }

// description is a submission with something in every field.
func description(name string) *launch.Description {
	return &launch.Description{
		Name: name, AppResource: "hdfs://nn/apps/app.jar", MainClass: "org.example.App", Args: []string{"10", "<b>&"},
		Environment: []launch.KV{{Key: "SPARK_ENV_X", Value: "1"}},
		Properties: []launch.KV{
			{Key: "spark.app.name", Value: name},
			{Key: "spark.driver.extraClassPath", Value: "/opt/a.jar:/opt/b.jar"},
			{Key: "spark.driver.extraJavaOptions", Value: "-Da=b"},
			{Key: "spark.driver.extraLibraryPath", Value: "/opt/lib"},
			{Key: "spark.ssl.keyPassword", Value: "hunter2"},
		},
		ClientSparkVersion: "3.5.1", Cores: 1, MemoryMiB: 1024, OverheadMiB: 384, Queue: "default",
	}
}

// submit takes in a driver and returns its id.
func (b *backend) submit(d *launch.Description) string {
	b.t.Helper()
	spec, err := dispatcher.EncodeSpec(d)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.submitRaw(&fsmpb.SubmitDriver{
		IdPrefix: testPrefix, Name: d.Name, MainClass: d.MainClass, Queue: d.Queue, Cores: d.Cores,
		MemMib: d.MemoryMiB + d.OverheadMiB, Supervise: d.Supervise, Spec: spec,
	})
}

func (b *backend) submitRaw(c *fsmpb.SubmitDriver) string {
	b.t.Helper()
	return b.apply(fsm.NumberSubmitDriver, c).DriverId
}

// launch makes the next attempt of a driver and returns its task id.
func (b *backend) launch(id string) string {
	b.t.Helper()
	d, _ := b.state.Driver(id)
	task := fsm.TaskID(id, d.NextAttempt)
	b.apply(fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{
		DriverId: id, Attempt: d.NextAttempt, TaskId: task, AgentId: testAgent, AgentHost: "agent-0.example",
		FrameworkId: b.state.Framework().ID + "-" + task,
	}}})
	return task
}

func (b *backend) report(task string, state fsm.TaskState, message string, reason int32) {
	b.t.Helper()
	st := &fsm.Status{
		TaskId: task, State: int32(state), Message: message, Source: 2, HasSource: true, AgentId: testAgent,
		ExecutorId: task, Timestamp: float64(b.nowMs) / 1000, Uuid: fmt.Appendf(nil, "%016d", b.index),
	}
	if reason >= 0 {
		st.Reason, st.HasReason = reason, true
	}
	b.apply(fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{st}})
}

// full has a driver in every state; the result maps the state to its id.
func (b *backend) full() map[fsm.DriverState]string {
	b.t.Helper()
	ids := make(map[fsm.DriverState]string)
	start := func(name string, supervise bool) (id, task string) {
		d := description(name)
		d.Supervise = supervise
		id = b.submit(d)
		task = b.launch(id)
		return id, task
	}
	run := func(state fsm.DriverState, name string, end fsm.TaskState, message string, reason int32) {
		id, task := start(name, false)
		b.report(task, fsm.TaskRunning, "", -1)
		b.report(task, end, message, reason)
		ids[state] = id
	}
	run(fsm.DriverFinished, "finished", fsm.TaskFinished, "Command exited with status 0", -1)
	run(fsm.DriverFailed, "failed", fsm.TaskFailed, "Command exited with status 1", 0)
	run(fsm.DriverLost, "lost", fsm.TaskGone, "Agent is gone", 11)
	run(fsm.DriverError, "in error", fsm.TaskError, "Task uses more resources than the offer has", 14)
	ids[fsm.DriverLaunching], _ = start("launching", false)
	var task string
	ids[fsm.DriverRunning], task = start("running", false)
	b.report(task, fsm.TaskRunning, "", -1)
	ids[fsm.DriverKilling], task = start("killing", false)
	b.report(task, fsm.TaskRunning, "", -1)
	b.apply(fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: ids[fsm.DriverKilling], Reason: "killed on request of alice"})
	ids[fsm.DriverRetrying], task = start("retrying", true)
	for attempt := range 3 {
		if attempt > 0 {
			b.nowMs += 10_000
			task = b.launch(ids[fsm.DriverRetrying])
		}
		b.report(task, fsm.TaskRunning, "", -1)
		b.report(task, fsm.TaskFailed, "Command exited with status 1", 0)
	}
	ids[fsm.DriverKilled] = b.submit(description("killed"))
	b.apply(fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: ids[fsm.DriverKilled], Reason: "killed on request of bob"})
	ids[fsm.DriverQueued] = b.submit(description("queued"))
	for state, id := range ids {
		if d, _ := b.state.Driver(id); d.State != state {
			b.t.Fatalf("%s is %s, not %s", id, d.State, state)
		}
	}
	return ids
}

func testConfig() Config {
	return Config{
		NodeID: "n1", Version: "1.0.0", RESTURL: "http://10.0.0.1:7077", HistoryServerURL: "http://history.example:18080/",
		ProxyBaseURL: "http://mesos.example/", Location: time.UTC, Logger: slog.New(slog.DiscardHandler),
	}
}

func (b *backend) pages(cfg Config) *Pages {
	b.t.Helper()
	cfg.Clock = func() time.Time { return time.UnixMilli(b.nowMs) }
	p, err := New(cfg, b)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// get returns the status and the page.
func get(t testing.TB, h http.Handler, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func getOK(t testing.TB, h http.Handler, target string) string {
	t.Helper()
	code, body := get(t, h, target)
	if code != http.StatusOK {
		t.Fatalf("%s: %d\n%s", target, code, body)
	}
	return body
}

func wantAll(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("the page has no %q", part)
		}
	}
}

func wantNone(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(page, part) {
			t.Errorf("the page has %q", part)
		}
	}
}

// between is the part of a page from one text to the next.
func between(t *testing.T, page, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, from)
	if !found {
		t.Fatalf("the page has no %q", from)
	}
	part, _, found := strings.Cut(rest, to)
	if !found {
		t.Fatalf("the page has no %q behind %q", to, from)
	}
	return part
}

// many fills the state with drivers: one of each five queued, the rest killed.
func (b *backend) many(n int) {
	b.t.Helper()
	for i := range n {
		id := b.submitRaw(&fsmpb.SubmitDriver{IdPrefix: testPrefix, Name: fmt.Sprintf("job %d", i), MainClass: "org.example.Many", Cores: 1, MemMib: 512})
		if i%5 != 0 {
			b.apply(fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: id, Reason: "killed on request"})
		}
	}
}
