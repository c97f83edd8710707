package fsm

import (
	"sync"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Policy is the part of the configuration that Apply needs. It is replicated,
// because nodes that disagreed about it would disagree about everything.
type Policy = fsmpb.Policy

// Node is one member as the others reach it.
type Node = fsmpb.Node

// Framework is our registration with Mesos.
type Framework struct {
	State   FrameworkState
	ID      string // committed before the first offer is used
	Master  string
	Message string
	SinceMs int64
}

// DefaultPolicy is upstream's.
func DefaultPolicy() *Policy {
	return &Policy{MaxDrivers: 200, RetainedDrivers: 200, RetryWaitMaxS: 60, DedupWindow: 65536}
}

// trees holds the records and their indexes. All of them are copy-on-write:
// copying one is O(1), and a write copies only the path that it touches.
type trees struct {
	drivers  *btree.Map[string, *Driver]  // by id
	bySeq    *btree.Map[uint64, *Driver]  // in order of acceptance
	waiting  *btree.BTreeG[*Driver]       // QUEUED, in launch order
	retrying *btree.BTreeG[*Driver]       // RETRYING, by due time
	active   *btree.Map[string, *Driver]  // LAUNCHING, RUNNING, KILLING
	finished *btree.Map[uint64, *Driver]  // terminal, by FinishSeq
	requests *btree.Map[string, *request] // by request id
	reqOrder *btree.Map[uint64, *request] // oldest first
	nodes    *btree.Map[string, *Node]

	apps      *btree.Map[string, *App]      // by id
	executors *btree.Map[string, *Executor] // by application and number
	live      *btree.Map[string, *Executor] // those that are not terminal
	ended     *btree.Map[string, *Executor] // terminal, by application and EndSeq
}

// treeDegree keeps nodes small: every Apply after a View copies one node a level
// in each tree that it writes.
const treeDegree = 16

func newTrees() trees {
	noLocks := btree.Options{NoLocks: true, Degree: treeDegree}
	return trees{
		drivers:  btree.NewMap[string, *Driver](treeDegree),
		bySeq:    btree.NewMap[uint64, *Driver](treeDegree),
		waiting:  btree.NewBTreeGOptions(launchesBefore, noLocks),
		retrying: btree.NewBTreeGOptions(dueBefore, noLocks),
		active:   btree.NewMap[string, *Driver](treeDegree),
		finished: btree.NewMap[uint64, *Driver](treeDegree),
		requests: btree.NewMap[string, *request](treeDegree),
		reqOrder: btree.NewMap[uint64, *request](treeDegree),
		nodes:    btree.NewMap[string, *Node](treeDegree),

		apps:      btree.NewMap[string, *App](treeDegree),
		executors: btree.NewMap[string, *Executor](treeDegree),
		live:      btree.NewMap[string, *Executor](treeDegree),
		ended:     btree.NewMap[string, *Executor](treeDegree),
	}
}

func (t *trees) copy() trees {
	return trees{
		drivers: t.drivers.IsoCopy(), bySeq: t.bySeq.IsoCopy(), waiting: t.waiting.IsoCopy(),
		retrying: t.retrying.IsoCopy(), active: t.active.IsoCopy(), finished: t.finished.IsoCopy(),
		requests: t.requests.IsoCopy(), reqOrder: t.reqOrder.IsoCopy(), nodes: t.nodes.IsoCopy(),
		apps: t.apps.IsoCopy(), executors: t.executors.IsoCopy(), live: t.live.IsoCopy(), ended: t.ended.IsoCopy(),
	}
}

// launchesBefore is the order of the queue: higher priority first, then order of
// acceptance. Upstream orders by millisecond and loses all but one of the
// submissions of the same millisecond (SPARK-40902).
func launchesBefore(a, b *Driver) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.Seq < b.Seq
}

func dueBefore(a, b *Driver) bool {
	if a.NotBeforeMs != b.NotBeforeMs {
		return a.NotBeforeMs < b.NotBeforeMs
	}
	return a.Seq < b.Seq
}

// scalars is the rest of the state: small, copied whole.
type scalars struct {
	index      uint64 // of the last entry applied
	timeMs     int64  // the largest stamp seen
	nextSeq    uint64
	nextFinish uint64
	nextReq    uint64
	nextChange uint64
	nextAppSeq uint64
	policy     *Policy // never changed in place
	framework  Framework
}

// State is the replicated state. Apply and Restore are called by one goroutine,
// in log order; everything else may be called from any goroutine.
type State struct {
	mu        sync.RWMutex
	t         trees
	s         scalars
	driverFSM *Lifecycle
	fwFSM     *Lifecycle
	feed      *Feed

	executorFSM *Lifecycle
}

// New returns an empty state.
func New() *State {
	return &State{
		t:         newTrees(),
		s:         freshScalars(),
		driverFSM: driverLifecycle(),
		fwFSM:     frameworkLifecycle(),
		feed:      newFeed(),

		executorFSM: executorLifecycle(),
	}
}

func freshScalars() scalars {
	return scalars{
		nextSeq: 1, nextFinish: 1, nextReq: 1, nextChange: 1, nextAppSeq: 1,
		policy:    DefaultPolicy(),
		framework: Framework{State: FrameworkNew},
	}
}

// Lifecycles are the tables behind the state, for diagrams and documents.
func Lifecycles() []*Lifecycle {
	return []*Lifecycle{driverLifecycle(), frameworkLifecycle(), executorLifecycle()}
}

// Apply carries out one log entry and returns the encoded result. It never
// fails: what cannot be done is refused, in the same way on every node.
func (s *State) Apply(index uint64, data []byte) []byte {
	t := &txn{State: s, index: index}
	s.mu.Lock()
	r := t.run(data)
	s.s.index = index
	s.feed.publish(t.changes) // under the lock: no View may be ahead of the feed
	s.mu.Unlock()
	r.Index = index
	out, err := proto.Marshal(r)
	if err != nil { // only invalid UTF-8 can do it, and decoding refused that
		out, _ = proto.Marshal(&fsmpb.Result{Code: uint32(CodeMalformed), Index: index})
	}
	return out
}

// txn is the application of one entry.
type txn struct {
	*State
	index   uint64
	timeMs  int64
	changes []Change
}

// decoding drops the fields that this version does not know: kept as raw bytes
// they would be state of unbounded size that nothing here can read.
var decoding = proto.UnmarshalOptions{DiscardUnknown: true}

func (t *txn) run(data []byte) *fsmpb.Result {
	if len(data) > maxCommand {
		return refuse(CodeMalformed, "log entry of %d bytes is longer than %d", len(data), maxCommand)
	}
	var c fsmpb.Command
	if err := decoding.Unmarshal(data, &c); err != nil {
		return refuse(CodeMalformed, "log entry is not a command")
	}
	row, known := registry[Number(c.Number)]
	if !known {
		return refuse(CodeUnknownCommand, "command %d is not known to this version", c.Number)
	}
	if len(c.RequestId) != len(RequestID{}) || RequestID(c.RequestId) == (RequestID{}) {
		return refuse(CodeMalformed, "%s without a request id of %d bytes", row.name, len(RequestID{}))
	}
	if c.TimeMs == 0 || !validTime(c.TimeMs) {
		return refuse(CodeMalformed, "%s stamped with a time out of range", row.name)
	}
	if r := t.repeated(&c); r != nil {
		return r
	}
	body := row.body()
	if err := decoding.Unmarshal(c.Body, body); err != nil {
		return refuse(CodeMalformed, "%s cannot be decoded", row.name)
	}
	t.timeMs = c.TimeMs
	t.s.timeMs = max(t.s.timeMs, c.TimeMs)
	r := row.apply(t, body)
	t.forgetExcess()
	t.remember(&c, r)
	return r
}

// View is the state at one index. It costs O(1) to take and never changes.
type View struct {
	t trees
	s scalars
}

// View takes the state as it is now.
func (s *State) View() *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &View{t: s.t.copy(), s: s.s}
}

// Driver is the driver with this id, without the cost of a View.
func (s *State) Driver(id string) (*Driver, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.t.drivers.Get(id)
}

// Framework is our registration as of now.
func (s *State) Framework() Framework {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.s.framework
}

// Node is the member with this id.
func (s *State) Node(id string) (*Node, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.t.nodes.Get(id)
}

// Policy is the replicated policy. It must not be changed.
func (s *State) Policy() *Policy {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.s.policy
}

// Index is that of the last entry applied or restored.
func (s *State) Index() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.s.index
}

// Counts of drivers by the part they stand in.
type Counts struct{ Waiting, Active, Retrying, Finished int }

// Counts of this moment.
func (s *State) Counts() Counts {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.t.counts()
}

func (t *trees) counts() Counts {
	return Counts{t.waiting.Len(), t.active.Len(), t.retrying.Len(), t.finished.Len()}
}

// Feed is the stream of changes.
func (s *State) Feed() *Feed { return s.feed }
