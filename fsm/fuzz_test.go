package fsm

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func numberOf(t testing.TB, entry []byte) Number {
	t.Helper()
	var c fsmpb.Command
	if err := proto.Unmarshal(entry, &c); err != nil {
		t.Fatal(err)
	}
	return Number(c.Number)
}

func FuzzApply(f *testing.F) {
	n := small(f)
	base := snapshotBytes(n.s)
	for _, entry := range n.log {
		f.Add(entry)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, entry []byte) {
		s := restored(t, base)
		first := s.Apply(s.Index()+1, entry)
		r, err := DecodeResult(first)
		if err != nil || r.Index != s.Index() {
			t.Fatalf("result %x: %v", first, err)
		}
		checkInvariants(t, s)
		again := restored(t, base)
		if !bytes.Equal(first, again.Apply(again.Index()+1, entry)) || !bytes.Equal(snapshotBytes(s), snapshotBytes(again)) {
			t.Fatal("the same entry gives two states")
		}
		restored(t, snapshotBytes(s))
	})
}

// The check sum stops nearly every mutation, so it is set right here: what lies
// behind it has to hold too.
func FuzzRestore(f *testing.F) {
	data := snapshotBytes(small(f).s)
	f.Add(data[:len(data)-4])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		var b bytes.Buffer
		sum := &summingWriter{w: &b}
		_, _ = sum.Write(body)
		b.Write([]byte{byte(sum.crc >> 24), byte(sum.crc >> 16), byte(sum.crc >> 8), byte(sum.crc)})
		s := New()
		if err := s.Restore(&b); err != nil {
			if !errors.Is(err, ErrSnapshot) || s.View().Len() != 0 {
				t.Fatalf("%v, %d drivers", err, s.View().Len())
			}
			return
		}
		v := s.View()
		if c := v.Counts(); c.Waiting+c.Active+c.Retrying+c.Finished != v.Len() {
			t.Fatalf("%d drivers, %+v", v.Len(), c)
		}
		for _, event := range []string{FrameworkRemove, FrameworkReset} { // walks all active drivers
			entry, _ := Encode(NumberFrameworkEvent, Stamp{RequestID: RequestID{1}, TimeMs: 1}, &fsmpb.FrameworkEvent{Event: event})
			s.Apply(s.Index()+1, entry)
		}
		restored(t, snapshotBytes(s))
	})
}
