package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
	// maxRecord bounds one record of a snapshot. A driver of maxCommand bytes with
	// maxAttempts attempts of a few maxText each stays below it.
	maxRecord = 64 << 20
)

// ErrSnapshot says that a snapshot cannot be restored: it is no snapshot of
// ours, of a newer version, cut short or damaged. The state is left as it was.
var ErrSnapshot = errors.New("fsm: snapshot cannot be restored")

// recordWriter writes messages, each behind its length, through one buffer: a
// large state would otherwise make its own size in garbage.
type recordWriter struct {
	w   io.Writer
	buf []byte
}

func (r *recordWriter) put(m proto.Message) (err error) {
	if r.buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(r.buf[:0], m); err != nil {
		return err
	}
	var length [binary.MaxVarintLen64]byte
	if _, err := r.w.Write(length[:binary.PutUvarint(length[:], uint64(len(r.buf)))]); err != nil {
		return err
	}
	_, err = r.w.Write(r.buf)
	return err
}

// WriteTo writes the snapshot of a view. Equal states give equal bytes.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	sum := &summingWriter{w: w}
	buf := bufio.NewWriterSize(sum, 64<<10)
	err := v.write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		_, err = sum.Write(binary.BigEndian.AppendUint32(nil, sum.crc))
	}
	return sum.n, err
}

func (v *View) write(w io.Writer) error {
	fw := v.s.framework
	records := recordWriter{w: w}
	err := records.put(&fsmpb.Header{
		Magic: snapshotMagic, Version: SnapshotVersion, Index: v.s.index,
		NextSeq: v.s.nextSeq, NextFinishSeq: v.s.nextFinish, NextChange: v.s.nextChange, TimeMs: v.s.timeMs,
		Policy: v.s.policy,
		Framework: &fsmpb.Framework{
			State: string(fw.State), Id: fw.ID, Master: fw.Master, Message: fw.Message, SinceMs: fw.SinceMs,
		},
		Drivers:  uint64(v.t.drivers.Len()),
		Requests: uint64(v.t.reqOrder.Len()),
		Nodes:    uint64(v.t.nodes.Len()),
		Apps:     uint64(v.t.apps.Len()), Executors: uint64(v.t.executors.Len()), NextAppSeq: v.s.nextAppSeq,
	})
	put := func(r *fsmpb.Record) bool {
		err = records.put(r)
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
	if err == nil {
		v.t.apps.Scan(func(_ string, a *App) bool {
			return put(&fsmpb.Record{Kind: &fsmpb.Record_App{App: appToPB(a)}})
		})
	}
	if err == nil {
		v.t.executors.Scan(func(_ string, e *Executor) bool {
			return put(&fsmpb.Record{Kind: &fsmpb.Record_Executor{Executor: executorToPB(e)}})
		})
	}
	return err
}

// Release lets go of the view. A View needs no release; the method serves
// callers that treat all snapshots alike.
func (v *View) Release() {}

// A snapshot ends with the CRC-32C of all bytes before it, because protobuf
// alone does not notice a changed digit.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type summingWriter struct {
	w   io.Writer
	n   int64
	crc uint32
}

func (s *summingWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	s.crc = crc32.Update(s.crc, castagnoli, p[:n])
	return n, err
}

type summingReader struct {
	r   *bufio.Reader
	crc uint32
	one [1]byte
}

func (s *summingReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.crc = crc32.Update(s.crc, castagnoli, p[:n])
	return n, err
}

func (s *summingReader) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.one[0] = b
		s.crc = crc32.Update(s.crc, castagnoli, s.one[:])
	}
	return b, err
}

// ended tells whether only the right sum is left to read.
func (s *summingReader) ended() bool {
	want := s.crc
	var sum [4]byte
	if _, err := io.ReadFull(s.r, sum[:]); err != nil || binary.BigEndian.Uint32(sum[:]) != want {
		return false
	}
	_, err := s.r.ReadByte()
	return err == io.EOF
}

// Restore replaces the state by a snapshot. On an error, which wraps
// ErrSnapshot, the state is left as it was.
func (s *State) Restore(r io.Reader) error {
	t, sc, err := readSnapshot(&summingReader{r: bufio.NewReaderSize(r, 64<<10)})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.t, s.s = t, sc
	s.feed.restart(sc.nextChange)
	s.mu.Unlock()
	return nil
}

func readSnapshot(r *summingReader) (trees, scalars, error) {
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
	if why := invalidHeader(&h); why != "" {
		return fail("header: %s", why)
	}
	tx := &txn{State: &State{t: newTrees(), s: scalarsFromPB(&h)}}
	for n := uint64(0); n < h.Drivers+h.Requests+h.Nodes+h.Apps+h.Executors; n++ {
		var rec fsmpb.Record
		if err := limits.UnmarshalFrom(r, &rec); err != nil {
			return fail("record %d: %v", n, err)
		}
		switch k := rec.Kind.(type) {
		case *fsmpb.Record_Driver:
			d := driverFromPB(k.Driver)
			if why := invalidDriver(d, &tx.s); why != "" {
				return fail("driver %q: %s", d.ID, why)
			}
			tx.enter(d)
		case *fsmpb.Record_Request:
			q := requestFromPB(k.Request)
			tx.t.requests.Set(q.id, q)
			tx.t.reqOrder.Set(q.seq, q)
			tx.s.nextReq = max(tx.s.nextReq, q.seq+1)
		case *fsmpb.Record_Node:
			tx.t.nodes.Set(k.Node.Id, k.Node)
		case *fsmpb.Record_App:
			a := appFromPB(k.App)
			if why := invalidAppRecord(a, &tx.s); why != "" {
				return fail("application %q: %s", a.ID, why)
			}
			tx.t.apps.Set(a.ID, a)
		case *fsmpb.Record_Executor:
			e := executorFromPB(k.Executor)
			if why := tx.t.invalidExecutor(e); why != "" {
				return fail("executor %d of %q: %s", e.Number, e.AppID, why)
			}
			tx.enterExecutor(e)
		default:
			return fail("record %d is of a kind that this program does not know", n)
		}
	}
	if !r.ended() {
		return fail("its check sum is wrong or something follows it")
	}
	if why := tx.t.mismatch(&h); why != "" {
		return fail("%s", why)
	}
	return tx.t, tx.s, nil
}

func scalarsFromPB(h *fsmpb.Header) scalars {
	s := freshScalars()
	s.index, s.timeMs = h.Index, h.TimeMs
	s.nextSeq, s.nextFinish, s.nextChange = h.NextSeq, h.NextFinishSeq, h.NextChange
	s.nextAppSeq = max(h.NextAppSeq, 1)
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
		Code: uint32(q.code), DriverId: q.subject, Message: q.message,
	}
}

func requestFromPB(p *fsmpb.Request) *request {
	return &request{
		id: string(p.Id), seq: p.Seq, number: Number(p.Number), fingerprint: p.Fingerprint,
		code: Code(p.Code), subject: p.DriverId, message: p.Message,
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
