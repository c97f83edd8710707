package fsm

import (
	"bytes"
	"math"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// checkInvariants looks at one state by itself.
func checkInvariants(t interface {
	Helper()
	Fatalf(string, ...any)
}, s *State) {
	t.Helper()
	v := s.View()
	c := v.Counts()
	if n := c.Waiting + c.Active + c.Retrying + c.Finished; n != v.Len() || v.t.bySeq.Len() != n {
		t.Fatalf("%d drivers, %d in order, %d in the indexes %+v", v.Len(), v.t.bySeq.Len(), n, c)
	}
	placed := 0
	in := func(state func(DriverState) bool) func(*Driver) bool {
		return func(d *Driver) bool {
			placed++
			if known, _ := v.Driver(d.ID); known != d || !state(d.State) {
				t.Fatalf("driver %s (%s) is in a wrong index or is an old record", d.ID, d.State)
			}
			return true
		}
	}
	v.Waiting(in(func(s DriverState) bool { return s == DriverQueued }))
	v.Retrying(in(func(s DriverState) bool { return s == DriverRetrying }))
	v.Active(in(DriverState.Active))
	v.Finished(in(DriverState.Terminal))
	v.After(0, in(func(DriverState) bool { return true }))
	if placed != 2*v.Len() {
		t.Fatalf("%d places for %d drivers", placed, v.Len())
	}
	var before *Driver
	v.Waiting(func(d *Driver) bool {
		if before != nil && !(before.Priority > d.Priority || before.Priority == d.Priority && before.Seq < d.Seq) {
			t.Fatalf("queue: %s (%v, %d) ahead of %s (%v, %d)", before.ID, before.Priority, before.Seq, d.ID, d.Priority, d.Seq)
		}
		before = d
		return true
	})
	v.After(0, func(d *Driver) bool {
		checkAttempts(t, d)
		return true
	})
	if v.t.reqOrder.Len() != v.t.requests.Len() || v.t.reqOrder.Len() > int(v.Policy().DedupWindow) {
		t.Fatalf("%d requests in order, %d by id, window %d", v.t.reqOrder.Len(), v.t.requests.Len(), v.Policy().DedupWindow)
	}
	checkExecutors(t, v)
	if c.Finished > max(int(v.Policy().RetainedDrivers), 1) {
		t.Fatalf("%d finished drivers kept of %d", c.Finished, v.Policy().RetainedDrivers)
	}
}

func checkAttempts(t interface {
	Helper()
	Fatalf(string, ...any)
}, d *Driver) {
	t.Helper()
	if int(d.NextAttempt) != len(d.Attempts)+int(d.AttemptsForgotten) || len(d.Attempts) > maxAttempts {
		t.Fatalf("driver %s: %d attempts, %d forgotten, next is %d", d.ID, len(d.Attempts), d.AttemptsForgotten, d.NextAttempt)
	}
	for i, a := range d.Attempts {
		want := uint32(i)
		if i > 0 {
			want += d.AttemptsForgotten
		}
		if a.Number != want || a.TaskID != TaskID(d.ID, want) || DriverOfTask(a.TaskID) != d.ID {
			t.Fatalf("driver %s: attempt %d has number %d, task %s", d.ID, want, a.Number, a.TaskID)
		}
		if i < len(d.Attempts)-1 && a.EndedMs == 0 {
			t.Fatalf("driver %s: attempt %d was followed by another before it ended", d.ID, a.Number)
		}
	}
	if d.State.Active() && (d.Current() == nil || d.Current().Dropped) {
		t.Fatalf("driver %s is %s without a current attempt", d.ID, d.State)
	}
	if d.State.Terminal() != (d.FinishedMs != 0) || d.State.Terminal() != (d.FinishSeq != 0) {
		t.Fatalf("driver %s is %s, finished at %d as %d", d.ID, d.State, d.FinishedMs, d.FinishSeq)
	}
}

// history follows one state from entry to entry.
type history struct {
	t       *rapid.T
	next    map[[2]string]string
	number  uint64                 // of the next change
	stands  map[uint64]DriverState // by Seq
	tasks   map[string]uint64      // task id → Seq of its driver
	drivers map[string]uint64      // driver id → Seq
}

func (h *history) follow(s *State) {
	changes, lost, _ := s.Feed().Since(h.number, 0)
	if lost {
		h.t.Fatalf("feed lost change %d", h.number)
	}
	for _, c := range changes {
		if c.Number != h.number || c.Index != s.Index() {
			h.t.Fatalf("change %d of entry %d, want %d of %d", c.Number, c.Index, h.number, s.Index())
		}
		h.number++
		if c.Kind == ChangeDriver {
			h.driver(c)
		}
	}
	if s.View().NextChange() != h.number || s.Feed().Next() != h.number {
		h.t.Fatalf("next change is %d in the view, %d in the feed, %d by count", s.View().NextChange(), s.Feed().Next(), h.number)
	}
}

func (h *history) driver(c Change) {
	d := c.Driver
	if was := h.stands[d.Seq]; string(was) != c.From || d.ID != c.ID || string(d.State) != c.To {
		h.t.Fatalf("driver %s was %s; change says %s → %s", d.ID, was, c.From, c.To)
	}
	h.stands[d.Seq] = d.State
	if c.Event == "submit" || c.Event == EventImport {
		if _, again := h.drivers[d.ID]; again {
			h.t.Fatalf("driver id %s is given twice", d.ID)
		}
		h.drivers[d.ID] = d.Seq
		return
	}
	if h.next[[2]string{c.From, c.Event}] != c.To {
		h.t.Fatalf("driver %s: %s in %s led to %s", d.ID, c.Event, c.From, c.To)
	}
	if c.Event == EventLaunch {
		if _, again := h.tasks[c.TaskID]; again {
			h.t.Fatalf("task id %s is used twice", c.TaskID)
		}
		h.tasks[c.TaskID] = d.Seq
	}
}

// entries draws log entries that fit the state they will meet, and garbage.
type entries struct {
	now   int64
	count uint64
}

func (e *entries) draw(t *rapid.T, s *State) []byte {
	e.now += rapid.Int64Range(-2_000, 5_000).Draw(t, "pass")
	e.count++
	pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	st := Stamp{TimeMs: e.now, Fingerprint: uint64(pick("fingerprint", 3))}
	if pick("repeat", 5) == 0 {
		st.RequestID[0] = byte(pick("request", 12)) // 0 is no id
	} else {
		st.RequestID = RequestID{1: 1, 14: byte(e.count >> 8), 15: byte(e.count)}
	}
	number, body := e.body(t, s, pick)
	if number == 0 {
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "garbage")
	}
	data, err := Encode(number, st, body)
	if err != nil {
		t.Fatal(err)
	}
	if pick("damage", 20) == 0 && len(data) > 0 {
		data[pick("at", len(data))] ^= byte(1 + pick("bits", 255))
	}
	return data
}

func (e *entries) body(t *rapid.T, s *State, pick func(string, int) int) (Number, proto.Message) {
	d := e.driver(t, s, pick)
	switch pick("command", 20) {
	case 0, 1, 2:
		c := &fsmpb.SubmitDriver{
			IdPrefix: "d-", Supervise: pick("supervise", 2) == 0, MaxRetries: int32(pick("retries", 4)),
			Priority: []float64{0, 1, -1, 0.5, math.NaN(), math.Inf(1), math.Copysign(0, -1)}[pick("priority", 7)],
		}
		if pick("migrated", 8) == 0 {
			c.DriverId = []string{"m-1", "m-2", "m-retry-1", " ", "m/3"}[pick("id", 5)]
			c.DriverId += rapid.StringMatching(`[a-z]{8}`).Draw(t, "unique")
		}
		return NumberSubmitDriver, c
	case 3:
		return NumberKillDriver, &fsmpb.KillDriver{DriverId: d.ID, Reason: "asked"}
	case 4, 5, 6, 7:
		n := d.NextAttempt + uint32(pick("wrong attempt", 8)/7)
		return NumberLaunchDrivers, &fsmpb.LaunchDrivers{Launches: []*fsmpb.Launch{{
			DriverId: d.ID, Attempt: n, TaskId: TaskID(d.ID, n), AgentId: "a",
		}}}
	case 8, 9, 10, 11, 12:
		st := &Status{TaskId: TaskID(d.ID, d.NextAttempt-uint32(1+pick("back", 10)/8)), State: int32(pick("state", 15))}
		st.HasReason, st.Reason = true, int32([]int{0, ReasonReconciliation, ReasonInvalidOffers}[pick("reason", 3)])
		st.Uuid = []byte{byte(pick("uuid", 5))}
		return NumberRecordStatuses, &fsmpb.RecordStatuses{Statuses: []*Status{st}}
	case 13:
		return e.rare(s, d, pick)
	case 14:
		return Number(pick("unknown number", 200)), &fsmpb.KillDriver{DriverId: d.ID}
	case 15, 16, 17, 18:
		return e.app(s, pick)
	}
	return 0, nil
}

func (e *entries) rare(s *State, d *Driver, pick func(string, int) int) (Number, proto.Message) {
	switch pick("rare", 7) {
	case 0, 1:
		return NumberSetPolicy, &Policy{
			MaxDrivers: int32(pick("max", 30)), RetainedDrivers: int32(pick("retained", 15)), MaxRetries: int32(pick("retries", 4)),
			RetryWaitMaxS: 60, DedupWindow: int32(pick("window", 40)), WaitForUnreachable: pick("wait", 2) == 0,
			BackoffResetMs: int64(pick("reset", 2)) * 4000, MaxDriversCountsLaunched: pick("launched", 2) == 0,
		}
	case 2, 3:
		events := []string{FrameworkSubscribe, FrameworkSubscribe, FrameworkDisconnect, FrameworkRemove, FrameworkTearDown, FrameworkReset}
		id := s.Framework().ID
		if id == "" || pick("foreign", 6) == 0 {
			id = []string{"fw-a", "fw-b"}[pick("id", 2)]
		}
		return NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: events[pick("event", 6)], FrameworkId: id, Master: "m"}
	case 4:
		return NumberRejectDriver, &fsmpb.RejectDriver{DriverId: d.ID, Reason: "impossible"}
	case 5:
		id, n := []string{"i-1", "i-2", d.ID}[pick("import", 3)], uint32(pick("attempt", 4))
		return NumberImportDriver, &fsmpb.ImportDriver{
			FrameworkId: []string{"fw-a", "fw-b"}[pick("id", 2)], Attempt: n, TaskId: TaskID(id, n), Retries: int32(n),
			State:  []string{"QUEUED", "RUNNING", "RETRYING", "FINISHED"}[pick("state", 4)],
			Driver: &fsmpb.SubmitDriver{DriverId: id, Supervise: pick("supervise", 2) == 0},
		}
	}
	id := []string{"", "n1", "n2"}[pick("node", 3)]
	if pick("remove", 2) == 0 {
		return NumberRemoveNode, &fsmpb.RemoveNode{Id: id}
	}
	return NumberUpsertNode, &fsmpb.UpsertNode{Node: &Node{Id: id, Version: "1"}}
}

func (e *entries) driver(t *rapid.T, s *State, pick func(string, int) int) *Driver {
	v := s.View()
	skip := pick("driver", v.Len()+1)
	chosen := &Driver{ID: "nobody"}
	v.Before(0, func(d *Driver) bool {
		chosen = d
		skip--
		return skip > 0
	})
	return chosen
}

// The same log gives the same bytes: applied from the start, from a snapshot on,
// and while others read. Every step keeps the invariants.
func TestEveryNodeComesToTheSameStateWhateverTheLogHolds(t *testing.T) {
	_, _, next := goldenTable(driverTable)
	rapid.Check(t, func(t *rapid.T) {
		first, read := New(), New()
		var late *State
		h := &history{t: t, next: next, number: 1, stands: map[uint64]DriverState{}, tasks: map[string]uint64{}, drivers: map[string]uint64{}}
		e := &entries{now: startMs}
		stop := watch(read)
		defer stop()
		steps := rapid.IntRange(1, 250).Draw(t, "steps")
		turn := rapid.IntRange(0, steps-1).Draw(t, "snapshot after")
		for i := range steps {
			data := e.draw(t, first)
			if i == 0 {
				data, _ = Encode(NumberFrameworkEvent, Stamp{RequestID: RequestID{9}, TimeMs: e.now},
					&fsmpb.FrameworkEvent{Event: FrameworkSubscribe, FrameworkId: "fw-a"})
			}
			index := uint64(i + 1)
			out := first.Apply(index, data)
			if !bytes.Equal(out, read.Apply(index, data)) || late != nil && !bytes.Equal(out, late.Apply(index, data)) {
				t.Fatalf("entry %d has different results", index)
			}
			h.follow(first)
			checkInvariants(t, first)
			if i == turn {
				late = New()
				if err := late.Restore(bytes.NewReader(snapshotBytes(first))); err != nil {
					t.Fatalf("%v", err)
				}
			}
		}
		want := snapshotBytes(first)
		if !bytes.Equal(want, snapshotBytes(read)) {
			t.Fatalf("a state that was read differs")
		}
		if !bytes.Equal(want, snapshotBytes(late)) {
			t.Fatalf("a restored state differs")
		}
		checkInvariants(t, late)
	})
}

func snapshotBytes(s *State) []byte {
	var b bytes.Buffer
	if _, err := s.View().WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// watch reads s in every way until it is told to stop.
func watch(s *State) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			_, _, wake := s.Feed().Since(s.Feed().Next(), 0)
			snapshotBytes(s)
			s.Counts()
			s.Driver("d-0001")
			select {
			case <-done:
				return
			case <-wake:
			}
		}
	})
	return func() { close(done); wg.Wait() }
}
