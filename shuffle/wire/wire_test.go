package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// messageVectors were written by Spark 3.5.1's own classes.
var messageVectors = []struct {
	m   Message
	hex string
}{
	{OpenBlocks{"app", "1", NewStringList("shuffle_0_1_2")}, "00000000036170700000000131000000010000000d73687566666c655f305f315f32"},
	{RegisterExecutor{"app", "1", []string{"/a", "/b"}, 64, "sort"}, "0200000003617070000000013100000002000000022f61000000022f620000004000000004736f7274"},
	{StreamHandle{1000, 2}, "0300000000000003e800000002"},
	{RegisterDriver{"app", 120000}, "0400000003617070000000000001d4c0"},
	{Heartbeat{"app"}, "0500000003617070"},
	{RemoveBlocks{"app", "1", []string{"rdd_0_0"}}, "0700000003617070000000013100000001000000077264645f305f30"},
	{BlocksRemoved{1}, "0800000001"},
	{NewFetchShuffleBlocks("app", "1", 0, []int64{5}, [][]int32{{0, 1}}, false), "09000000036170700000000131000000000000000100000000000000050000000100000002000000000000000100"},
	{NewFetchShuffleBlocks("app", "1", 0, []int64{5}, [][]int32{{0, 3}}, true), "09000000036170700000000131000000000000000100000000000000050000000100000002000000000000000301"},
	{GetLocalDirs{"app", []string{"1", "2"}}, "0a000000036170700000000200000001310000000132"},
	{LocalDirs{[]string{"1"}, [][]string{{"/a", "/b"}}}, "0b000000010000000131000000010000000200000002000000022f61000000022f62"},
	{Unsupported{TagFetchShuffleBlockChunks, nil}, "0f0000000361707000000001310000000000000007000000010000000300000001000000020000000000000001"},
	{DiagnoseCorruption{"app", "1", 0, 5, 2, 0x1122, "ADLER32"}, "100000000361707000000001310000000000000000000000050000000200000000000011220000000741444c45523332"},
	{CorruptionCause{CauseUnknown}, "1102"},
}

func TestMessagesMatchSparksBytes(t *testing.T) {
	for _, v := range messageVectors {
		raw := unhex(t, v.hex)
		got, err := DecodeMessage(raw)
		if err != nil {
			t.Errorf("%s: %v", v.m.Tag(), err)
			continue
		}
		if u, ok := v.m.(Unsupported); ok {
			u.Fields = raw[1:]
			v.m = u
		}
		if d := cmp.Diff(v.m, got, cmp.AllowUnexported(StringList{})); d != "" {
			t.Errorf("%s decoded differently (-want +got):\n%s", v.m.Tag(), d)
		}
		if enc := AppendMessage(nil, v.m); !bytes.Equal(enc, raw) {
			t.Errorf("%s encodes to %x, Spark writes %s", v.m.Tag(), enc, v.hex)
		}
	}
}

var frameVectors = []struct {
	f   Frame
	hex string
}{
	{Frame{Type: RPCRequest, RequestID: 1, Body: AppendMessage(nil, Heartbeat{"app"})}, "000000000000001d030000000000000001000000080500000003617070"},
	{Frame{Type: OneWayMessage, Body: AppendMessage(nil, Heartbeat{"app"})}, "000000000000001509000000080500000003617070"},
	{Frame{Type: RPCResponse, RequestID: 1, Body: []byte{}}, "000000000000001504000000000000000100000000"},
	{Frame{Type: RPCFailure, RequestID: 1, Error: "err"}, "000000000000001805000000000000000100000003657272"},
	{Frame{Type: ChunkFetchRequest, StreamID: 1000}, "00000000000000150000000000000003e800000000"},
	{Frame{Type: ChunkFetchSuccess, StreamID: 1000, Body: []byte{0xde, 0xad, 0xbe, 0xef}}, "00000000000000190100000000000003e800000000deadbeef"},
	{Frame{Type: ChunkFetchFailure, StreamID: 1000, Error: "err"}, "000000000000001c0200000000000003e80000000000000003657272"},
	{Frame{Type: StreamRequest, Stream: "1000_0"}, "00000000000000130600000006313030305f30"},
	{Frame{Type: StreamResponse, Stream: "1000_0", ByteCount: 4}, "000000000000001b0700000006313030305f300000000000000004"},
	{Frame{Type: StreamFailure, Stream: "1000_0", Error: "err"}, "000000000000001a0800000006313030305f3000000003657272"},
	{Frame{Type: MergedBlockMetaRequest, RequestID: 1, Merged: MergedBlock{AppID: "app", ReduceID: 3}}, "00000000000000240b000000000000000100000003617070000000000000000000000003"},
}

func TestFramesMatchSparksBytes(t *testing.T) {
	for _, v := range frameVectors {
		raw := unhex(t, v.hex)
		if enc := AppendFrame(nil, v.f); !bytes.Equal(enc, raw) {
			t.Errorf("%s encodes to %x, Spark writes %s", v.f.Type, enc, v.hex)
		}
		for _, bufSize := range []int{16, 4096} { // below and above the frame: both paths of the reader
			r := NewReader(bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(raw)), bufSize), 1<<20, nil)
			got, err := r.Next()
			if err != nil {
				t.Errorf("%s: %v", v.f.Type, err)
				continue
			}
			if d := cmp.Diff(v.f, got); d != "" {
				t.Errorf("%s decoded differently (-want +got):\n%s", v.f.Type, d)
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("%s: after the last frame: %v, want io.EOF", v.f.Type, err)
			}
		}
	}
	head := AppendChunkHeader(nil, 1000, 0, 4)
	if want := unhex(t, "00000000000000190100000000000003e800000000"); !bytes.Equal(head, want) {
		t.Errorf("chunk header %x, want %x", head, want)
	}
}

// testBudget is the plainest Budget.
type testBudget struct{ limit, used, peak int64 }

func (b *testBudget) Acquire(n int64) bool {
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	b.peak = max(b.peak, b.used)
	return true
}
func (b *testBudget) Release(n int64) { b.used -= n }

func TestReaderRefuses(t *testing.T) {
	rpc := func(declared int64, sent int) []byte {
		p := AppendFrame(nil, Frame{Type: RPCRequest, RequestID: 42, Body: make([]byte, sent)})
		copy(p, appendI64(nil, declared))
		return p
	}
	tests := []struct {
		name   string
		in     []byte
		want   error
		text   string
		answer bool // the refusal says which request to answer
	}{
		{"empty frame", appendI64(nil, 8), ErrMalformed, "positive", false},
		{"negative length", appendI64(nil, -1), ErrMalformed, "positive", false},
		{"longer than the limit", rpc(1<<20+1, 0), ErrFrameTooLarge, "Too large frame: 1048569", true},
		{"longer than any Spark reads", rpc(1<<40, 0), ErrFrameTooLarge, "Too large frame", true},
		{"no memory left for the rest", rpc(900<<10, 800<<10), ErrNoMemory, "try again", true},
		{"unknown type", append(appendI64(nil, 9), 99), ErrMalformed, "unknown frame type 99", false},
		{"header cut short", append(appendI64(nil, 12), 0, 1, 2, 3), ErrMalformed, "stream id needs 8 bytes", false},
		{"string longer than the frame", append(appendI64(nil, 17), 6, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4), ErrMalformed, "stream id needs", false},
		{"bytes after the header", append(appendI64(nil, 22), make([]byte, 14)...), ErrMalformed, "1 bytes after the end", false},
		{"ends inside a frame", rpc(100, 10), io.ErrUnexpectedEOF, "", false},
		{"ends inside a length", []byte{0, 0, 0}, io.ErrUnexpectedEOF, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &testBudget{limit: 600 << 10}
			r := NewReader(bufio.NewReaderSize(bytes.NewReader(tt.in), 64), 1<<20, b)
			_, err := r.Next()
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			var fe *FrameError
			if errors.As(err, &fe); tt.answer && (fe == nil || !fe.Known || fe.RequestID != 42) {
				t.Fatalf("refusal %+v does not name request 42", fe)
			}
			if r.Close(); b.used != 0 {
				t.Fatalf("%d bytes of the budget not given back", b.used)
			}
		})
	}
}

func TestUnfinishedFrameHoldsOnlyWhatArrived(t *testing.T) {
	pr, pw := io.Pipe()
	b := &testBudget{limit: 1 << 30}
	r := NewReader(bufio.NewReaderSize(pr, 64), 1<<30, b)
	go func() {
		pw.Write(appendI64(nil, 192<<20))
		pw.Write(make([]byte, 1000))
		pw.CloseWithError(io.ErrClosedPipe)
	}()
	if _, err := r.Next(); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	if b.peak > 2*growStep {
		t.Fatalf("1,000 bytes of a frame of 192 MiB reserved %d bytes", b.peak)
	}
}

func TestMessageRefusals(t *testing.T) {
	tests := []struct{ name, hex, text string }{
		{"empty", "", "message tag"},
		{"unknown tag", "63", "Unknown message type: 99"},
		{"negative tag", "ff", "Unknown message type: -1"},
		{"array longer than the message", "0700000003617070000000013100100000", "declares 1048576 elements"},
		{"negative array", "07000000036170700000000131ffffffff", "declares -1 elements"},
		{"negative string", "05ffffffff", "app id needs -1 bytes"},
		{"string not UTF-8", "0500000001ff", "not valid UTF-8"},
		{"trailing bytes", "050000000361707000", "1 bytes after the end"},
		{"block ids cut short", "0000000003617070000000013100000002000000016100000009", "block ids needs 9"},
		{"lists that do not match", "09000000036170700000000131000000000000000100000000000000050000000000", "1 map ids but 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := DecodeMessage(unhex(t, tt.hex))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, %v, want ErrMalformed with %q", m, err, tt.text)
			}
		})
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, v := range messageVectors {
		f.Add(unhex(f, v.hex))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := DecodeMessage(p)
		if err != nil {
			return
		}
		if o, ok := m.(OpenBlocks); ok {
			for range o.BlockIDs.All() {
			}
		}
		enc := AppendMessage(nil, m)
		again, err := DecodeMessage(enc)
		if err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
		if !bytes.Equal(enc, AppendMessage(nil, again)) {
			t.Fatalf("%#v does not survive a round trip", m)
		}
	})
}

func FuzzReader(f *testing.F) {
	for _, v := range frameVectors {
		f.Add(unhex(f, v.hex))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b := &testBudget{limit: 1 << 20}
		r := NewReader(bufio.NewReaderSize(bytes.NewReader(p), 64), 64<<10, b)
		for range 1000 {
			fr, err := r.Next()
			if err != nil {
				break
			}
			if _, err := DecodeFrame(AppendFrame(nil, fr)[lengthSize:]); err != nil {
				t.Fatalf("own encoding of %+v refused: %v", fr, err)
			}
		}
		if r.Close(); b.used != 0 {
			t.Fatalf("%d bytes leaked", b.used)
		}
	})
}
