package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTablesAreReplacedInTheirPlaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	text := "before\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nbetween\n<!-- bench:b -->\n<!-- /bench:b -->\nafter\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &table{name: "a", title: "A", header: []string{"x", "y"}}
	a.row(1, "two")
	for range 2 { // the second time finds what the first wrote
		if err := writeTables(path, []*table{a}); err != nil {
			t.Fatal(err)
		}
	}
	raw, _ := os.ReadFile(path)
	want := "before\n<!-- bench:a -->\n\n**A**\n\n| x | y |\n| --- | --- |\n| 1 | two |\n\n<!-- /bench:a -->\nbetween\n<!-- bench:b -->\n<!-- /bench:b -->\nafter\n"
	if string(raw) != want {
		t.Errorf("%s", raw)
	}
	if err := writeTables(path, []*table{{name: "c"}}); err == nil || !strings.Contains(err.Error(), "no place for the table c") {
		t.Error(err)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]time.Duration{3, 1, 2}); got != 2 {
		t.Error(got)
	}
	if got := median([]float64(nil)); got != 0 {
		t.Error(got)
	}
}

func TestBenchmarkLinesAreRead(t *testing.T) {
	line := "BenchmarkPropose/clients=64-2 \t       1\t      5000 bare/s\t 4800 forwarded/s\t 0.98 ratio\t 4900 store/s\n"
	m := benchmarkLine.FindStringSubmatch(line)
	if m == nil || m[1] != "64" || !strings.HasPrefix(m[2], "5000 bare/s") {
		t.Errorf("%q", m)
	}
}

func TestResidentOfThisProcess(t *testing.T) {
	r := residentOf(os.Getpid())
	if r.all == 0 || r.anonymous == 0 || r.all < r.anonymous {
		t.Errorf("%+v", r)
	}
}

// Only snapshots that began and ended while somebody looked are counted.
func TestSnapshotsWithinALoadAreCounted(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, "snapshots", name) }
	seen := &snapshotsSeen{known: make(map[string]snapshotSeen)}
	now := time.Time{}
	look := func() {
		t.Helper()
		if err := seen.look(path(""), true, now); err != nil {
			t.Fatal(err)
		}
		now = time.Unix(now.Unix()+1, 0)
	}
	look() // there is no directory yet
	now = time.Time{}
	for _, name := range []string{"old", "begun.tmp"} {
		if err := os.MkdirAll(path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	look()
	now = time.Unix(100, 0)
	for _, name := range []string{"whole.tmp", "quick", "late.tmp"} {
		if err := os.Mkdir(path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	look()
	look()
	for _, name := range []string{"begun", "whole"} {
		if err := os.Rename(path(name+".tmp"), path(name)); err != nil {
			t.Fatal(err)
		}
	}
	look()
	look()
	if seen.all != 2 || seen.leader != 2 || seen.longest != 2*time.Second {
		t.Errorf("%d, %d of the leader, the longest took %v", seen.all, seen.leader, seen.longest)
	}
}
