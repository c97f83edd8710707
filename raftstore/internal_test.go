package raftstore

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// TestFailedWriteLeavesNoTail: entries of an append that raft was told has
// failed must be gone before a later, shorter one is stored. With them a
// restart would find a log whose terms go back.
func TestFailedWriteLeavesNoTail(t *testing.T) {
	for name, broken := range map[string]func(write func() error) error{
		"failed before": func(func() error) error { return errors.New("broken") },
		"failed after":  func(write func() error) error { write(); return errors.New("broken") },
		"too late":      func(write func() error) error { time.Sleep(60 * time.Millisecond); return write() },
	} {
		t.Run(name, func(t *testing.T) {
			hook := func(_ DiskOp, write func() error) error { return write() }
			cfg := Config{DiskDeadline: 20 * time.Millisecond}
			current := make(chan func(DiskOp, func() error) error, 1)
			cfg.Hooks.Disk = func(op DiskOp, write func() error) error {
				select {
				case h := <-current:
					return h(op, write)
				default:
					return hook(op, write)
				}
			}
			m, err := newMetrics(Config{NodeID: "x"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			store := raft.NewInmemStore()
			failures := 0
			w := newWatchedLog(store, cfg, m, func(error) { failures++ })
			defer w.close(time.Second)
			entries := func(term uint64, indexes ...uint64) (out []*raft.Log) {
				for _, i := range indexes {
					out = append(out, &raft.Log{Index: i, Term: term})
				}
				return out
			}
			if err := w.StoreLogs(entries(1, 1, 2)); err != nil {
				t.Fatal(err)
			}
			current <- func(_ DiskOp, write func() error) error { return broken(write) }
			if err := w.StoreLogs(entries(2, 3, 4, 5)); err == nil {
				t.Fatal("the broken write was reported as done")
			}
			// However long the write takes, raft must not see its entries.
			for range 40 {
				if err := w.GetLog(3, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
					t.Fatalf("an entry of a failed write shows: %v", err)
				}
				time.Sleep(2 * time.Millisecond)
			}
			for deadline := time.Now().Add(10 * time.Second); ; {
				err := w.StoreLogs(entries(3, 3))
				if err == nil {
					break
				}
				if !errors.Is(err, ErrDiskStalled) || time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			last, _ := store.LastIndex()
			var l raft.Log
			if err := w.GetLog(3, &l); err != nil || last != 3 || l.Term != 3 {
				t.Errorf("last index %d, entry 3 of term %d (%v); want 3 and 3", last, l.Term, err)
			}
			if failures == 0 {
				t.Error("the failure was not reported")
			}
		})
	}
}

func TestHclogAdapterKeepsLevelsAndFields(t *testing.T) {
	var out bytes.Buffer
	l := newHclog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	l.Named("a").With("k", 1).Warn("hello", "v", hclog.Fmt("%03d", 7))
	l.Debug("not this")
	l.StandardLogger(nil).Print("std")
	got := out.String()
	for _, want := range []string{"level=WARN", `msg="raft: hello"`, "k=1", "v=007", "raft: std"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if strings.Contains(got, "not this") || l.IsDebug() || !l.IsInfo() || l.GetLevel() != hclog.Info {
		t.Error("the level is not the handler's")
	}
}

// FuzzPreamble: whatever comes in at the port is refused or understood, never
// a panic, and a preamble for another node never gets through.
func FuzzPreamble(f *testing.F) {
	f.Add([]byte{'C', 1, 2, 'n', '2', 2, 'n', '1'})
	f.Add([]byte{'R', 1, 2, 'n', '2', 0})
	f.Add([]byte{'L', 9, 0, 0})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := &mux{id: "n1", serve: map[byte]func(net.Conn, string){'R': nil, 'C': func(net.Conn, string) {}}}
		a, b := net.Pipe()
		go func() { a.Write(in); a.Close() }()
		_, kind, from, err := m.greet(b)
		b.Close()
		if err == nil && (kind != 'C' || in[1] != protocolVersion || from != "" && !validID(from)) {
			t.Errorf("accepted % x as kind %c from %q", in, kind, from)
		}
	})
}

// FuzzArchive: damaged archives are refused with a typed error.
func FuzzArchive(f *testing.F) {
	var good bytes.Buffer
	h := snapshotHeader(0, 0)
	meta := &raft.SnapshotMeta{Index: 7, Term: 2, Size: snapshotHeaderLen + 5}
	if err := writeSnapshot(&good, "m", meta, io.MultiReader(bytes.NewReader(h[:]), strings.NewReader("state"))); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		var state bytes.Buffer
		meta, err := ReadArchive(bytes.NewReader(in), &state, "m")
		if err == nil && (int64(state.Len()) != meta.Size) {
			t.Errorf("size %d, %d bytes read", meta.Size, state.Len())
		}
		if err != nil && !errors.Is(err, ErrBadSnapshot) && !errors.Is(err, ErrWrongVersion) {
			t.Errorf("untyped error %v", err)
		}
	})
}

// TestVotesSurviveTornWrites: a power cut in the middle of a write leaves the
// record before it.
func TestVotesSurviveTornWrites(t *testing.T) {
	dir, err := openDataDir(t.TempDir(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	open := func() *voteFile {
		t.Helper()
		v, err := dir.openVotes()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	if _, err := v.GetUint64([]byte(keyTerm)); err == nil || err.Error() != "not found" {
		t.Errorf("empty: %v", err)
	}
	for term := uint64(1); term <= 5; term++ {
		v.SetUint64([]byte(keyTerm), term)
		v.SetUint64([]byte(keyVoteTerm), term)
		if _, err := v.GetUint64([]byte(keyVoteTerm)); term == 1 && err == nil {
			t.Error("half a vote shows")
		}
		v.Set([]byte(keyCandidate), []byte{byte('a' + term)})
		v.close()
		v = open()
		got, _ := v.GetUint64([]byte(keyVoteTerm))
		cand, _ := v.Get([]byte(keyCandidate))
		if got != term || v.rec.term != term || string(cand) != string(rune('a'+term)) {
			t.Fatalf("read back term %d, vote %d for %s; want %d", v.rec.term, got, cand, term)
		}
		// Tear the next write: garbage in the slot it goes to.
		if _, err := v.f.WriteAt(bytes.Repeat([]byte{0xff}, 100), slotOf(v.seq+1)); err != nil {
			t.Fatal(err)
		}
		v.close()
		if v = open(); v.rec.term != term {
			t.Fatalf("a torn write lost term %d, found %d", term, v.rec.term)
		}
	}
	v.f.WriteAt(bytes.Repeat([]byte{0xff}, 2*slotSize), 0)
	v.close()
	if _, err := dir.openVotes(); !errors.Is(err, ErrWrongVersion) {
		t.Errorf("both slots damaged: %v", err)
	}
}

// A leader that is closing answers ErrClosed. Whoever asked it goes on, and must
// not be told that its own store has closed.
func TestALeaderThatStopsIsNoLeader(t *testing.T) {
	s := &Store{closing: make(chan struct{})}
	if err := s.leaderStops(ErrClosed); !errors.Is(err, ErrNoLeader) || errors.Is(err, ErrClosed) {
		t.Errorf("the leader stops: %v", err)
	}
	if err := s.leaderStops(unknown(ErrClosed)); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("it stops with the command in its hands: %v", err)
	}
	if err := s.leaderStops(nil); err != nil {
		t.Error(err)
	}
	close(s.closing)
	if err := s.leaderStops(ErrClosed); !errors.Is(err, ErrClosed) {
		t.Errorf("this node stops: %v", err)
	}
}
