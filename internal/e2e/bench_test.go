package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

func TestBenchVerb(t *testing.T) {
	c := start(t, devcluster.Options{Resources: "cpus:0.1;mem:16"}) // no driver fits
	servers := strings.Join([]string{c.rest(0), c.rest(1), c.rest(2)}, ",")
	code, output := run(t, "bench", "--server", servers, "--clients", "6", "--count", "300", "--mode", "mixed", "--json")
	var r loadgen.Report
	if err := json.Unmarshal([]byte(output), &r); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v:\n%s", code, err, output)
	}
	if r.Submit.OK+r.Status.OK != 300 || r.Verified == nil || r.Verified.Known != r.Submit.OK || r.States["QUEUED"] != r.Status.OK {
		t.Errorf("%s", output)
	}
	code, output = run(t, "bench", "--server", c.rest(1), "--mode", "status", "--count", "50", "--close", "--stale")
	if code != 0 || !strings.Contains(output, "a connection for each request") || !strings.Contains(output, "states: QUEUED 50") {
		t.Errorf("exit code %d:\n%s", code, output)
	}
}
