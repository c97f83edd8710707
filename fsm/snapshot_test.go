package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// small is a node with a driver in every state and something of all else.
func small(t testing.TB) *node {
	n := newNode(t)
	n.keep = true
	last := &Status{State: int32(TaskFailed)}
	full13(last)
	n.ok(NumberImportDriver, &fsmpb.ImportDriver{
		FrameworkId: "fw", State: string(DriverRetrying), Attempt: 2, TaskId: "imported-retry-2", AgentId: "a", AgentHost: "h", AppId: "fw-imported",
		LaunchedMs: 43, Retries: 3, WaitS: 4, NotBeforeMs: 4300, Last: last,
		Driver: &fsmpb.SubmitDriver{DriverId: "imported", Name: "n", Cores: 1, MemMib: 1, Supervise: true, Spec: []byte{1}, SubmittedMs: 42},
	})
	n.ok(NumberImportDrivers, &fsmpb.ImportDrivers{Drivers: []*fsmpb.ImportDriver{importOf("imported-too", DriverRunning, 0), {FrameworkId: "other"}}})
	n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkSubscribe, FrameworkId: "fw", Master: "m:5050", Message: "hello"})
	n.policy(func(p *Policy) { p.MaxRetries, p.BackoffResetMs, p.DedupWindow = 9, 600_000, 8 })
	n.ok(NumberUpsertNode, &fsmpb.UpsertNode{Node: &Node{Id: "n1", RaftAddr: "h:1", RestUrl: "r", WebuiUrl: "w", Version: "1", CommandVersion: 1}})
	n.ok(NumberUpsertNode, &fsmpb.UpsertNode{Node: &Node{Id: "n2"}})
	n.ok(NumberRemoveNode, &fsmpb.RemoveNode{Id: "n2"})
	full := func(c *fsmpb.SubmitDriver) {
		c.MainClass, c.Queue, c.Priority, c.Supervise, c.MaxRetries = "Main", "q", 2.5, true, 7
		c.Spec, c.User, c.SubmittedMs = []byte{0, 1, 2, 255}, "ü", 42
	}
	at := make(map[string]string)
	for _, s := range []string{"queued", "launching", "running", "killing", "retrying", "finished", "failed", "killed", "lost", "error", "rejected", "dropped"} {
		n.now += 7
		change := full
		if s == "failed" || s == "lost" {
			change = nil
		}
		at[s] = n.submit(change)
	}
	n.ok(NumberRejectDriver, &fsmpb.RejectDriver{DriverId: at["rejected"], Reason: "no home"})
	n.kill(at["killed"])
	for s, state := range map[string]TaskState{"running": TaskRunning} {
		n.status(n.launch(at[s]), state, full13)
	}
	for _, c := range []struct {
		name  string
		state TaskState
	}{{"retrying", TaskFailed}, {"finished", TaskFinished}, {"failed", TaskFailed}, {"lost", TaskLost}, {"error", TaskError}, {"dropped", TaskDropped}} {
		n.now += 3
		n.status(n.launch(at[c.name]), c.state, full13)
	}
	n.launch(at["launching"])
	n.launch(at["killing"])
	n.kill(at["killing"])
	for _, state := range []TaskState{TaskStarting, TaskRunning, TaskFailed} { // a second attempt, and its predecessor again
		n.now += 1001
		if state == TaskStarting {
			n.launch(at["retrying"])
		}
		n.status(at["retrying"]+"-retry-1", state)
	}
	n.status(at["retrying"], TaskKilled)
	smallApps(n)
	n.everyTask()
	return n
}

// full13 sets every field of a status.
func full13(st *Status) {
	st.Message, st.Source, st.HasSource, st.Reason, st.HasReason = "why", 2, true, 1, true
	st.AgentId, st.ExecutorId, st.Timestamp, st.Uuid = "a", "e", 12.5, []byte{1, 2, 3}
	st.HasHealthy, st.Healthy = true, true
}

func TestASnapshotRestoresTheSameState(t *testing.T) {
	n := small(t)
	data := snapshot(t, n.s)
	s := restored(t, data)
	if diff := cmp.Diff(describe(n.s), describe(s)); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(data, snapshot(t, s)) {
		t.Error("the snapshot of a restored state differs")
	}
	if s.Index() != n.index || s.Feed().Next() != n.s.Feed().Next() || s.View().Index() != n.index {
		t.Errorf("index %d, want %d; next change %d", s.Index(), n.index, s.Feed().Next())
	}
	checkInvariants(t, s)
	t.Run("of the empty state", func(t *testing.T) {
		if s := restored(t, snapshot(t, New())); describe(s) != describe(New()) {
			t.Error(describe(s))
		}
	})
}

func TestADamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	data := snapshot(t, small(t).s)
	old := subscribed(t)
	old.submit(nil)
	want, next := snapshot(t, old.s), old.s.Feed().Next()
	refused := func(what string, data []byte) {
		t.Helper()
		if err := old.s.Restore(bytes.NewReader(data)); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := range data {
		refused(fmt.Sprintf("cut at byte %d", i), data[:i])
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("bit %d of byte %d turned", i%8, i), bad)
	}
	refused("something behind", append(bytes.Clone(data), 0))
	refused("twice", append(bytes.Clone(data), data...))
	if !bytes.Equal(want, snapshot(t, old.s)) || old.s.Feed().Next() != next {
		t.Error("a refused snapshot changed the state")
	}
}

// forge writes a snapshot that is whole, whatever it holds.
func forge(t *testing.T, h *fsmpb.Header, records ...*fsmpb.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	sum := &summingWriter{w: &b}
	if _, err := protodelim.MarshalTo(sum, h); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if _, err := protodelim.MarshalTo(sum, r); err != nil {
			t.Fatal(err)
		}
	}
	return append(b.Bytes(), byte(sum.crc>>24), byte(sum.crc>>16), byte(sum.crc>>8), byte(sum.crc))
}

func TestASnapshotThatContradictsItselfIsRefused(t *testing.T) {
	header := func(change func(*fsmpb.Header)) *fsmpb.Header {
		h := &fsmpb.Header{Magic: snapshotMagic, Version: 1, NextSeq: 10, NextFinishSeq: 10, NextChange: 1, Policy: DefaultPolicy()}
		if change != nil {
			change(h)
		}
		return h
	}
	drivers := func(n uint64) *fsmpb.Header { return header(func(h *fsmpb.Header) { h.Drivers = n }) }
	driver := func(change func(*fsmpb.Driver)) *fsmpb.Record {
		d := &fsmpb.Driver{Id: "d", Seq: 1, State: "QUEUED"}
		if change != nil {
			change(d)
		}
		return &fsmpb.Record{Kind: &fsmpb.Record_Driver{Driver: d}}
	}
	request := func(id string, seq uint64) *fsmpb.Record {
		return &fsmpb.Record{Kind: &fsmpb.Record_Request{Request: &fsmpb.Request{Id: []byte(id), Seq: seq}}}
	}
	other := func(d *fsmpb.Driver) { d.Id, d.Seq = "e", 2 }
	if err := New().Restore(bytes.NewReader(forge(t, drivers(2), driver(nil), driver(other)))); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for _, c := range []struct {
		name    string
		header  *fsmpb.Header
		records []*fsmpb.Record
		says    string
	}{
		{"foreign", header(func(h *fsmpb.Header) { h.Magic = "x" }), nil, "no snapshot of ours"},
		{"newer version", header(func(h *fsmpb.Header) { h.Version = 2 }), nil, "upgrade it first"},
		{"no version", header(func(h *fsmpb.Header) { h.Version = 0 }), nil, "counter"},
		{"no counter", header(func(h *fsmpb.Header) { h.NextSeq = 0 }), nil, "counter"},
		{"policy without a window", header(func(h *fsmpb.Header) { h.Policy = &Policy{DedupWindow: -1} }), nil, "window"},
		{"unknown framework state", header(func(h *fsmpb.Header) { h.Framework = &fsmpb.Framework{State: "X"} }), nil, "framework"},
		{"too few records", drivers(2), []*fsmpb.Record{driver(nil)}, "record 1"},
		{"too many records", drivers(1), []*fsmpb.Record{driver(nil), driver(other)}, "follows"},
		{"counts that overflow", header(func(h *fsmpb.Header) { h.Drivers, h.Nodes = math.MaxUint64, 1 }), nil, "add up"},
		{"endless count", drivers(math.MaxUint64), nil, "record 0"},
		{"empty record", drivers(1), []*fsmpb.Record{{}}, "kind"},
		{"same driver twice", drivers(2), []*fsmpb.Record{driver(nil), driver(nil)}, "add up"},
		{"same id twice", drivers(2), []*fsmpb.Record{driver(nil), driver(func(d *fsmpb.Driver) { d.Seq = 2 })}, "add up"},
		{"same place twice", drivers(2), []*fsmpb.Record{driver(nil), driver(func(d *fsmpb.Driver) { d.Id = "e" })}, "add up"},
		{"no id", drivers(1), []*fsmpb.Record{driver(func(d *fsmpb.Driver) { d.Id = "" })}, "id"},
		{"a place to come", drivers(1), []*fsmpb.Record{driver(func(d *fsmpb.Driver) { d.Seq = 10 })}, "order"},
		{"unknown state", drivers(1), []*fsmpb.Record{driver(func(d *fsmpb.Driver) { d.State = "X" })}, "unknown state"},
		{"active without attempt", drivers(1), []*fsmpb.Record{driver(func(d *fsmpb.Driver) { d.State = "RUNNING" })}, "attempt"},
		{"finished without place", drivers(1), []*fsmpb.Record{driver(func(d *fsmpb.Driver) { d.State = "LOST" })}, "finished"},
		{"NaN priority", drivers(1), []*fsmpb.Record{driver(func(d *fsmpb.Driver) { d.Priority = math.NaN() })}, "priority"},
		{"same request twice", header(func(h *fsmpb.Header) { h.Requests = 2 }), []*fsmpb.Record{request("a", 1), request("a", 2)}, "requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := New().Restore(bytes.NewReader(forge(t, c.header, c.records...)))
			if !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestTheLargestDriverFitsARecord(t *testing.T) {
	text := strings.Repeat("x", maxText)
	d := &fsmpb.Driver{Id: "d", Seq: 1, State: "QUEUED", Spec: make([]byte, maxCommand), Reason: text}
	for range maxAttempts {
		d.Attempts = append(d.Attempts, &fsmpb.Attempt{TaskId: text[:maxDriverID+20], AgentId: text, Last: &Status{TaskId: text, Message: text, Uuid: make([]byte, 16)}})
	}
	if n := proto.Size(&fsmpb.Record{Kind: &fsmpb.Record_Driver{Driver: d}}); n > maxRecord {
		t.Errorf("it takes %d bytes of %d", n, maxRecord)
	}
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		n := w.left
		w.left = 0
		return n, io.ErrShortWrite
	}
	w.left -= len(p)
	return len(p), nil
}

func TestAWriterThatFailsFailsTheSnapshot(t *testing.T) {
	n := small(t)
	size := len(snapshot(t, n.s))
	for left := range size {
		if got, err := n.s.View().WriteTo(&failingWriter{left}); err == nil || got != int64(left) {
			t.Fatalf("%d of %d bytes written: said %d, %v", left, size, got, err)
		}
	}
}
