package scale_test

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStateHasTheDriversAskedFor(t *testing.T) {
	s, err := scale.State(scale.Drivers{Finished: 30, Queued: 20, Properties: 12})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Counts(); c != (fsm.Counts{Waiting: 20, Finished: 30}) {
		t.Errorf("%+v", c)
	}
	n := 0
	s.View().After(0, func(d *fsm.Driver) bool {
		want := fsm.DriverFinished
		if n++; n > 30 {
			want = fsm.DriverQueued
		}
		if d.State != want || d.Cores != scale.Cores || d.MemMiB != scale.MemMiB {
			t.Errorf("driver %d: %+v", n, d)
		}
		return true
	})
}

// Whoever measures twice measures the same state.
func TestTheSameSizeIsTheSameState(t *testing.T) {
	var archives [2]bytes.Buffer
	for i := range archives {
		s, err := scale.State(scale.Drivers{Finished: 5, Queued: 5})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.View().WriteTo(&archives[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0].Bytes(), archives[1].Bytes()) {
		t.Error("two states of one size differ")
	}
}

// A cluster takes an archive for what its state was.
func TestArchiveHoldsTheState(t *testing.T) {
	s, err := scale.State(scale.Drivers{Finished: 3, Queued: 2})
	if err != nil {
		t.Fatal(err)
	}
	var archive, snapshot bytes.Buffer
	if err := scale.Archive(&archive, s); err != nil {
		t.Fatal(err)
	}
	if _, err := s.View().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(archive.Bytes(), snapshot.Bytes()) {
		t.Errorf("an archive of %d bytes does not hold the snapshot of %d", archive.Len(), snapshot.Len())
	}
}
