package fsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The fixtures of a command set that is released are never written anew: a newer
// set gets a folder of its own, and all of them are read for ever.
var fixtures = []string{1: "testdata/v1", 2: "testdata/v2"}

// describe writes a state down in a form that does not depend on its encoding.
func describe(s *State) string {
	v := s.View()
	var out struct {
		Index, Next uint64
		Framework   Framework
		Policy      *Policy
		Counts      Counts
		Drivers     []*Driver
		Nodes       []*Node
		Requests    []map[string]any
		Apps        []*App
		Executors   []*Executor
	}
	out.Index, out.Next, out.Framework, out.Policy, out.Counts = v.Index(), v.NextChange(), v.Framework(), v.Policy(), v.Counts()
	v.After(0, func(d *Driver) bool { out.Drivers = append(out.Drivers, d); return true })
	v.Nodes(func(n *Node) bool { out.Nodes = append(out.Nodes, n); return true })
	v.Apps(func(a *App) bool {
		out.Apps = append(out.Apps, a)
		v.Executors(a.ID, func(e *Executor) bool { out.Executors = append(out.Executors, e); return true })
		return true
	})
	v.t.reqOrder.Scan(func(_ uint64, q *request) bool {
		out.Requests = append(out.Requests, map[string]any{
			"id": []byte(q.id), "seq": q.seq, "number": q.number, "code": q.code, "driver": q.subject, "message": q.message,
		})
		return true
	})
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		panic(err)
	}
	return string(text) + "\n"
}

func frame(parts [][]byte) (all []byte) {
	for _, p := range parts {
		all = append(binary.AppendUvarint(all, uint64(len(p))), p...)
	}
	return all
}

func unframe(t *testing.T, all []byte) (parts [][]byte) {
	t.Helper()
	for len(all) > 0 {
		n, k := binary.Uvarint(all)
		if k <= 0 || n > uint64(len(all)-k) {
			t.Fatal("fixture is cut short")
		}
		parts = append(parts, all[k:k+int(n)])
		all = all[k+int(n):]
	}
	return parts
}

func fixture(t *testing.T, set int, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures[set], name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFixtures(t *testing.T) {
	t.Helper()
	n := small(t)
	var results [][]byte
	s := New()
	for i, entry := range n.log {
		results = append(results, s.Apply(uint64(i+1), entry))
	}
	dir := fixtures[CommandVersion]
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"log.bin": frame(n.log), "results.bin": frame(results), "snapshot.bin": snapshot(t, s), "state.json": []byte(describe(s)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheLogOfEveryReleaseGivesItsState(t *testing.T) {
	if *update {
		writeFixtures(t)
	}
	for set := 1; set <= CommandVersion; set++ {
		t.Run(fixtures[set], func(t *testing.T) { replayFixture(t, set) })
	}
}

func replayFixture(t *testing.T, set int) {
	s := New()
	results := unframe(t, fixture(t, set, "results.bin"))
	numbers := make(map[Number]bool)
	for i, entry := range unframe(t, fixture(t, set, "log.bin")) {
		got := s.Apply(uint64(i+1), entry)
		if !bytes.Equal(got, results[i]) {
			t.Errorf("entry %d: result %x, was %x", i+1, got, results[i])
		}
		numbers[numberOf(t, entry)] = true
	}
	for n := range registry {
		if int(n.Since()) <= set && !numbers[n] {
			t.Errorf("the fixture has no %s", n.Name())
		}
	}
	if diff := cmp.Diff(string(fixture(t, set, "state.json")), describe(s)); diff != "" {
		t.Error(diff)
	}
	if SnapshotVersion == 1 && !bytes.Equal(snapshot(t, s), fixture(t, set, "snapshot.bin")) {
		t.Error("the log gives another snapshot than it did, under the same version of the format")
	}
}

func TestTheSnapshotOfEveryReleaseIsRestored(t *testing.T) {
	for set := 1; set <= CommandVersion; set++ {
		s := restored(t, fixture(t, set, "snapshot.bin"))
		if diff := cmp.Diff(string(fixture(t, set, "state.json")), describe(s)); diff != "" {
			t.Error(diff)
		}
		checkInvariants(t, s)
	}
}
