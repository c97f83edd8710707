package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine describes where the figures come from.
func machine() *table {
	t := &table{name: "machine", header: []string{"", ""}}
	t.row("date", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	t.row("processor", fmt.Sprintf("%d × %s", runtime.NumCPU(), firstField("/proc/cpuinfo", "model name")))
	t.row("memory", firstField("/proc/meminfo", "MemTotal"))
	t.row("kernel", strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")))
	t.row("Go", runtime.Version())
	t.row("load average at the start", strings.TrimSpace(readFile("/proc/loadavg")))
	if took, err := flushTime(); err == nil {
		t.row("append 1 KiB and flush (median of 200)", fmt.Sprintf("%.3f ms", float64(took.Microseconds())/1000))
	}
	return t
}

func readFile(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func firstField(path, key string) string {
	for line := range strings.Lines(readFile(path)) {
		if k, v, found := strings.Cut(line, ":"); found && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// flushTime is what the log cannot be faster than.
func flushTime() (time.Duration, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	for range 200 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 1024)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return median(took), nil
}
