package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// benchmarkLine is a line of `go test -bench`; its metrics are pairs of a value
// and a unit.
var benchmarkLine = regexp.MustCompile(`(?m)^BenchmarkPropose/clients=(\d+)\S*\s+\d+\s+(.*)$`)

// propose compares raftstore with bare hashicorp/raft, by the benchmark of that
// package, which takes turns.
func propose(ctx context.Context, _ *settings) ([]*table, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-tags=hashicorpmetrics", "-run", "^$",
		"-bench", "^BenchmarkPropose$", "-benchtime", "1x", "github.com/ha-dispatcher/ha-dispatcher/raftstore")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	t := &table{
		name: "propose", title: "raftstore.Propose beside bare hashicorp/raft with raft-boltdb, commands of 512 bytes",
		header: []string{"clients", "bare a second", "Propose on the leader", "ratio", "Propose on a follower"},
	}
	for _, m := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
		metrics := make(map[string]string)
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			metrics[fields[i+1]] = fields[i]
		}
		t.row(m[1], metrics["bare/s"], metrics["store/s"], metrics["ratio"], metrics["forwarded/s"])
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("no result in\n%s", out)
	}
	t.note("Three nodes in one process over loopback TCP, in turns of 0.5 s.")
	return []*table{t}, nil
}
