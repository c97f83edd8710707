package fsm

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

const (
	snapshotMagic = "ha-dispatcher state"
	// SnapshotVersion is the newest snapshot format that this code writes. Every
	// older one can be restored.
	SnapshotVersion = 1
	// maxRecord bounds one record of a snapshot: a driver with maxAttempts long
	// messages stays far below it.
	maxRecord = 64 << 20
)

// ErrSnapshot says that a snapshot cannot be restored: it is no snapshot of
// ours, of a newer version, cut short or damaged. The state is left as it was.
var ErrSnapshot = errors.New("fsm: snapshot cannot be restored")

var delimited = protodelim.MarshalOptions{MarshalOptions: proto.MarshalOptions{Deterministic: true}}

// WriteTo writes the snapshot of a view. Equal states give equal bytes.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	count := &countingWriter{w: w}
	buf := bufio.NewWriterSize(count, 64<<10)
	err := v.write(buf)
	if err == nil {
		err = buf.Flush()
	}
	return count.n, err
}

func (v *View) write(w io.Writer) error {
	fw := v.s.framework
	_, err := delimited.MarshalTo(w, &fsmpb.Header{
		Magic: snapshotMagic, Version: SnapshotVersion, Index: v.s.index,
		NextSeq: v.s.nextSeq, NextFinishSeq: v.s.nextFinish, NextChange: v.s.nextChange, TimeMs: v.s.timeMs,
		Policy: v.s.policy,
		Framework: &fsmpb.Framework{
			State: string(fw.State), Id: fw.ID, Master: fw.Master, Message: fw.Message, SinceMs: fw.SinceMs,
		},
		Drivers:  uint64(v.t.drivers.Len()),
		Requests: uint64(v.t.reqOrder.Len()),
		Nodes:    uint64(v.t.nodes.Len()),
	})
	put := func(r *fsmpb.Record) bool {
		_, err = delimited.MarshalTo(w, r)
		return err == nil
	}
	if err == nil {
		v.t.bySeq.Scan(func(_ uint64, d *Driver) bool {
			return put(&fsmpb.Record{Kind: &fsmpb.Record_Driver{Driver: driverToPB(d)}})
		})
	}
	if err == nil {
		v.t.reqOrder.Scan(func(_ uint64, q *request) bool {
			return put(&fsmpb.Record{Kind: &fsmpb.Record_Request{Request: requestToPB(q)}})
		})
	}
	if err == nil {
		v.t.nodes.Scan(func(_ string, n *Node) bool {
			return put(&fsmpb.Record{Kind: &fsmpb.Record_Node{Node: n}})
		})
	}
	return err
}

// Release lets go of the view. A View needs no release; the method serves
// callers that treat all snapshots alike.
func (v *View) Release() {}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Restore replaces the state by a snapshot. On an error, which wraps
// ErrSnapshot, the state is left as it was.
func (s *State) Restore(r io.Reader) error {
	t, sc, err := readSnapshot(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.t, s.s = t, sc
	s.mu.Unlock()
	s.feed.restart(sc.nextChange)
	return nil
}

func readSnapshot(r *bufio.Reader) (trees, scalars, error) {
	fail := func(format string, args ...any) (trees, scalars, error) {
		return trees{}, scalars{}, fmt.Errorf("%w: %s", ErrSnapshot, fmt.Sprintf(format, args...))
	}
	limits := protodelim.UnmarshalOptions{MaxSize: maxRecord}
	var h fsmpb.Header
	if err := limits.UnmarshalFrom(r, &h); err != nil {
		return fail("header: %v", err)
	}
	if h.Magic != snapshotMagic {
		return fail("this is no snapshot of ours")
	}
	if h.Version > SnapshotVersion {
		return fail("version %d is newer than this program, which reads up to %d; upgrade it first", h.Version, SnapshotVersion)
	}
	tx := &txn{State: &State{t: newTrees(), s: scalarsFromPB(&h)}}
	for n := uint64(0); n < h.Drivers+h.Requests+h.Nodes; n++ {
		var rec fsmpb.Record
		if err := limits.UnmarshalFrom(r, &rec); err != nil {
			return fail("record %d: %v", n, err)
		}
		switch k := rec.Kind.(type) {
		case *fsmpb.Record_Driver:
			tx.enter(driverFromPB(k.Driver))
		case *fsmpb.Record_Request:
			q := requestFromPB(k.Request)
			tx.t.requests.Set(q.id, q)
			tx.t.reqOrder.Set(q.seq, q)
			tx.s.nextReq = q.seq + 1
		case *fsmpb.Record_Node:
			tx.t.nodes.Set(k.Node.Id, k.Node)
		default:
			return fail("record %d is of a kind that this program does not know", n)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return fail("more records than the header announces")
	}
	if uint64(tx.t.drivers.Len()) != h.Drivers || uint64(tx.t.reqOrder.Len()) != h.Requests || uint64(tx.t.nodes.Len()) != h.Nodes {
		return fail("records do not add up to what the header announces")
	}
	return tx.t, tx.s, nil
}

func scalarsFromPB(h *fsmpb.Header) scalars {
	s := freshScalars()
	s.index, s.timeMs = h.Index, h.TimeMs
	s.nextSeq, s.nextFinish, s.nextChange = h.NextSeq, h.NextFinishSeq, h.NextChange
	if h.Policy != nil {
		s.policy = h.Policy
	}
	if f := h.Framework; f != nil {
		s.framework = Framework{State: FrameworkState(f.State), ID: f.Id, Master: f.Master, Message: f.Message, SinceMs: f.SinceMs}
	}
	return s
}

func requestToPB(q *request) *fsmpb.Request {
	return &fsmpb.Request{
		Id: []byte(q.id), Seq: q.seq, Number: uint32(q.number), Fingerprint: q.fingerprint,
		Code: uint32(q.code), DriverId: q.driverID, Message: q.message,
	}
}

func requestFromPB(p *fsmpb.Request) *request {
	return &request{
		id: string(p.Id), seq: p.Seq, number: Number(p.Number), fingerprint: p.Fingerprint,
		code: Code(p.Code), driverID: p.DriverId, message: p.Message,
	}
}

func driverToPB(d *Driver) *fsmpb.Driver {
	p := &fsmpb.Driver{
		Id: d.ID, Seq: d.Seq, State: string(d.State), Name: d.Name, MainClass: d.MainClass,
		Queue: d.Queue, Priority: d.Priority, Cores: d.Cores, MemMib: d.MemMiB,
		Supervise: d.Supervise, MaxRetries: d.MaxRetries, Spec: d.Spec, User: d.User,
		SubmittedMs: d.SubmittedMs, ChangedMs: d.ChangedMs, FinishedMs: d.FinishedMs, FinishSeq: d.FinishSeq,
		AttemptsForgotten: d.AttemptsForgotten, NextAttempt: d.NextAttempt, Retries: d.Retries,
		WaitS: d.WaitSeconds, NotBeforeMs: d.NotBeforeMs, Drops: d.Drops, Reason: d.Reason,
	}
	for _, a := range d.Attempts {
		p.Attempts = append(p.Attempts, &fsmpb.Attempt{
			Number: a.Number, TaskId: a.TaskID, AgentId: a.AgentID, AgentHost: a.AgentHost,
			FrameworkId: a.FrameworkID, LaunchedMs: a.LaunchedMs, StartedMs: a.StartedMs,
			EndedMs: a.EndedMs, Last: a.Last, Dropped: a.Dropped,
		})
	}
	return p
}

func driverFromPB(p *fsmpb.Driver) *Driver {
	d := &Driver{
		ID: p.Id, Seq: p.Seq, State: DriverState(p.State), Name: p.Name, MainClass: p.MainClass,
		Queue: p.Queue, Priority: p.Priority, Cores: p.Cores, MemMiB: p.MemMib,
		Supervise: p.Supervise, MaxRetries: p.MaxRetries, Spec: p.Spec, User: p.User,
		SubmittedMs: p.SubmittedMs, ChangedMs: p.ChangedMs, FinishedMs: p.FinishedMs, FinishSeq: p.FinishSeq,
		AttemptsForgotten: p.AttemptsForgotten, NextAttempt: p.NextAttempt, Retries: p.Retries,
		WaitSeconds: p.WaitS, NotBeforeMs: p.NotBeforeMs, Drops: p.Drops, Reason: p.Reason,
	}
	for _, a := range p.Attempts {
		d.Attempts = append(d.Attempts, &Attempt{
			Number: a.Number, TaskID: a.TaskId, AgentID: a.AgentId, AgentHost: a.AgentHost,
			FrameworkID: a.FrameworkId, LaunchedMs: a.LaunchedMs, StartedMs: a.StartedMs,
			EndedMs: a.EndedMs, Last: a.Last, Dropped: a.Dropped,
		})
	}
	return d
}
