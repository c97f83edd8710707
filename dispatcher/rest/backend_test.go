package rest

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var launchConf = launch.DispatcherConf{Master: "127.0.0.1:5050", SparkHome: "/opt/spark"}

// node is a Dispatcher over a real state, without a log between.
type node struct {
	mu     sync.Mutex
	state  *fsm.State
	index  uint64
	leader string
	err    error                          // what every call fails with
	asked  []dispatcher.Request           // by writes
	hold   chan struct{}                  // writes wait for it
	readBy map[dispatcher.Consistency]int // reads
	onSub  func(launch.Submission)        // sees each submission
	warn   []string                       // of each receipt
}

func newNode() *node {
	n := &node{state: fsm.New(), leader: "n1", readBy: map[dispatcher.Consistency]int{}}
	n.apply("", fsm.NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: fsm.FrameworkSubscribe, FrameworkId: "fw"})
	return n
}

// apply carries out a command; a key makes a repetition of it known.
func (n *node) apply(key string, number fsm.Number, body proto.Message) *fsmpb.Result {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index++
	stamp := fsm.Stamp{TimeMs: 1_700_000_000_000 + int64(n.index)*1000}
	binary.BigEndian.PutUint64(stamp.RequestID[:], n.index)
	if key != "" {
		stamp.RequestID = fsm.RequestID{0xff}
		copy(stamp.RequestID[1:], key)
		raw, _ := proto.Marshal(body)
		for _, c := range raw {
			stamp.Fingerprint = stamp.Fingerprint*31 + uint64(c) + 1
		}
	}
	entry, err := fsm.Encode(number, stamp, body)
	if err != nil {
		panic(err)
	}
	r, err := fsm.DecodeResult(n.state.Apply(n.index, entry))
	if err != nil {
		panic(err)
	}
	return r
}

func (n *node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

func (n *node) wait(ctx context.Context) error {
	if n.hold != nil {
		select {
		case <-n.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return n.failure()
}

func (n *node) Submit(ctx context.Context, s launch.Submission, r dispatcher.Request) (dispatcher.Receipt, error) {
	if n.onSub != nil {
		n.onSub(s)
	}
	n.mu.Lock()
	n.asked = append(n.asked, r)
	n.mu.Unlock()
	if err := n.wait(ctx); err != nil {
		return dispatcher.Receipt{}, err
	}
	res := n.apply(r.Key, fsm.NumberSubmitDriver, &fsmpb.SubmitDriver{
		IdPrefix: "driver-20261122112319-", Name: s.Properties["spark.app.name"], MainClass: s.MainClass, User: r.User,
		Queue: s.Properties["spark.mesos.dispatcher.queue"], Cores: 1, MemMib: 1408,
		Spec: []byte(s.AppResource + "\n" + strings.Join(s.Args, "\n")),
	})
	if err := fsm.ResultError(res); err != nil {
		return dispatcher.Receipt{}, err
	}
	return dispatcher.Receipt{DriverID: res.DriverId, Repeated: res.RepeatedRequest, Warnings: n.warn}, nil
}

func (n *node) Kill(ctx context.Context, id string, r dispatcher.Request) (dispatcher.KillReceipt, error) {
	n.mu.Lock()
	n.asked = append(n.asked, r)
	n.mu.Unlock()
	if err := n.wait(ctx); err != nil {
		return dispatcher.KillReceipt{}, err
	}
	res := n.apply(r.Key, fsm.NumberKillDriver, &fsmpb.KillDriver{DriverId: id, Reason: "killed on request"})
	code := fsm.Code(res.Code)
	return dispatcher.KillReceipt{Code: code, Success: !code.Refused(), Message: res.Message}, nil
}

func (n *node) read(c dispatcher.Consistency) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.readBy[c]++
	if c == dispatcher.Stale {
		return nil
	}
	return n.err
}

func (n *node) Driver(_ context.Context, id string, c dispatcher.Consistency) (*fsm.Driver, error) {
	if err := n.read(c); err != nil {
		return nil, err
	}
	d, found := n.state.Driver(id)
	if !found {
		return nil, dispatcher.ErrNotFound
	}
	return d, nil
}

func (n *node) View(_ context.Context, c dispatcher.Consistency) (*fsm.View, error) {
	if err := n.read(c); err != nil {
		return nil, err
	}
	return n.state.View(), nil
}

func (n *node) Feed() *fsm.Feed { return n.state.Feed() }

func (n *node) Cluster(context.Context) (dispatcher.Cluster, error) {
	return dispatcher.Cluster{
		Leader: n.leader, Term: 3, CommitIndex: n.state.Index(), AppliedIndex: n.state.Index(),
		Nodes: []dispatcher.ClusterNode{{ID: "n1", Raft: "127.0.0.1:7070", REST: "127.0.0.1:7077", Voter: true, Healthy: true}},
	}, nil
}

func (n *node) Describe(d *fsm.Driver) (Description, error) {
	resource, args, _ := strings.Cut(string(d.Spec), "\n")
	if resource == "broken" {
		return Description{}, errors.New("specification cannot be decoded")
	}
	out := Description{AppResource: resource, Properties: map[string]string{"spark.app.name": d.Name}}
	if args != "" {
		out.Args = strings.Split(args, "\n")
	}
	return out, nil
}

func (n *node) Leader() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader
}

// launchDriver makes a driver RUNNING.
func (n *node) launchDriver(id string, status *fsm.Status) {
	d, _ := n.state.Driver(id)
	task := fsm.TaskID(id, d.NextAttempt)
	n.apply("", fsm.NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{
		DriverId: id, Attempt: d.NextAttempt, TaskId: task, AgentId: "agent-1", AgentHost: "agent.example", FrameworkId: "fw-" + id,
	}}})
	if status != nil {
		status.TaskId = task
		n.apply("", fsm.NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*fsm.Status{status}})
	}
}

func testConfig() Config { return Config{NodeID: "n1", Addr: "127.0.0.1:0"} }

func newServer(t testing.TB, cfg Config, d Dispatcher) *Server {
	t.Helper()
	s, err := New(cfg, d, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// do sends one request to the handler, without a network between.
func do(s http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const minimal = `{"action":"CreateSubmissionRequest","clientSparkVersion":"3.5.1","appResource":"file:///srv/jobs/app.jar",` +
	`"mainClass":"org.example.App","appArgs":[],"environmentVariables":{},"sparkProperties":{"spark.app.name":"t"}}`
