package fsm

import (
	"bytes"
	"encoding/binary"
	"flag"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

var update = flag.Bool("update", false, "write the stored fixtures anew; only before their format is released")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a state with somebody who writes its log.
type node struct {
	t     testing.TB
	s     *State
	index uint64
	now   int64
	log   [][]byte // kept where keep is set
	keep  bool
}

const startMs = 1_700_000_000_000

func newNode(t testing.TB) *node { return &node{t: t, s: New(), now: startMs} }

// subscribed is a node whose framework can take drivers.
func subscribed(t testing.TB) *node {
	n := newNode(t)
	n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkSubscribe, FrameworkId: "fw", Master: "m:5050"})
	return n
}

func (n *node) stamp() Stamp {
	s := Stamp{TimeMs: n.now}
	binary.BigEndian.PutUint64(s.RequestID[8:], n.index+1)
	return s
}

func (n *node) do(number Number, body proto.Message) *fsmpb.Result {
	return n.stamped(number, n.stamp(), body)
}

func (n *node) stamped(number Number, s Stamp, body proto.Message) *fsmpb.Result {
	n.t.Helper()
	entry, err := Encode(number, s, body)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.raw(entry)
}

func (n *node) raw(entry []byte) *fsmpb.Result {
	n.t.Helper()
	n.index++
	if n.keep {
		n.log = append(n.log, entry)
	}
	r, err := DecodeResult(n.s.Apply(n.index, entry))
	if err != nil {
		n.t.Fatal(err)
	}
	if r.Index != n.index {
		n.t.Fatalf("result of entry %d says index %d", n.index, r.Index)
	}
	return r
}

func (n *node) ok(number Number, body proto.Message) *fsmpb.Result {
	n.t.Helper()
	r := n.do(number, body)
	if err := ResultError(r); err != nil {
		n.t.Fatalf("%s refused: %v", number.Name(), err)
	}
	return r
}

func (n *node) policy(change func(*Policy)) {
	n.t.Helper()
	p := proto.Clone(n.s.Policy()).(*Policy)
	change(p)
	n.ok(NumberSetPolicy, p)
}

func (n *node) submit(change func(*fsmpb.SubmitDriver)) string {
	n.t.Helper()
	c := &fsmpb.SubmitDriver{IdPrefix: "driver-", Name: "job", Cores: 1, MemMib: 1024}
	if change != nil {
		change(c)
	}
	return n.ok(NumberSubmitDriver, c).DriverId
}

func supervised(c *fsmpb.SubmitDriver) { c.Supervise = true }

func (n *node) driver(id string) *Driver {
	n.t.Helper()
	d, found := n.s.Driver(id)
	if !found {
		n.t.Fatalf("driver %s is not known", id)
	}
	return d
}

// launch commits the intent of the next attempt and returns its task id.
func (n *node) launch(id string) string {
	n.t.Helper()
	attempt := n.driver(id).NextAttempt
	task := TaskID(id, attempt)
	r := n.ok(NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{
		DriverId: id, Attempt: attempt, TaskId: task, AgentId: "agent-1", AgentHost: "host-1", FrameworkId: "fw-" + task,
	}}})
	if c := Code(r.Launches[0].Code); c != CodeOK {
		n.t.Fatalf("launch of %s: %s %s", task, c, r.Launches[0].Message)
	}
	return task
}

func (n *node) status(task string, state TaskState, change ...func(*Status)) *fsmpb.StatusResult {
	n.t.Helper()
	st := &Status{TaskId: task, State: int32(state)}
	for _, c := range change {
		c(st)
	}
	return n.ok(NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*Status{st}}).Statuses[0]
}

func (n *node) kill(id string) *fsmpb.Result {
	n.t.Helper()
	return n.do(NumberKillDriver, &fsmpb.KillDriver{DriverId: id, Reason: "asked"})
}

func reason(r int32) func(*Status) {
	return func(st *Status) { st.HasReason, st.Reason = true, r }
}

func snapshot(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.View().WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("snapshot: %d bytes said, %d written, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func restored(t testing.TB, data []byte) *State {
	t.Helper()
	s := New()
	if err := s.Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return s
}

func wantCode(t testing.TB, got uint32, want Code) {
	t.Helper()
	if Code(got) != want {
		t.Fatalf("outcome %s, want %s", Code(got), want)
	}
}

func wantState(t testing.TB, d *Driver, want DriverState) {
	t.Helper()
	if d.State != want {
		t.Fatalf("driver %s is %s, want %s", d.ID, d.State, want)
	}
}
