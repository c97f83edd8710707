package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// journal is the file in which the drivers of a story note what they do: "start",
// "end" or "fail", the name of the driver, its process, the nanoseconds since
// 1970, and the sandbox. Short lines in append mode do not mix.
type journal struct{ path string }

func newJournal(dir string) journal { return journal{filepath.Join(dir, "journal")} }

func (j journal) note(what, name string) string {
	return fmt.Sprintf(`echo %s %s $$ $(date +%%s%%N) "$(pwd)" >> %s; `, what, name, j.path)
}

// runs is a driver that works for a while.
func (j journal) runs(name, seconds string) command {
	return command{name: name, shell: j.note("start", name) + "sleep " + seconds + "; " + j.note("end", name)}
}

// failsFirst is a supervised driver whose first attempt fails.
func (j journal) failsFirst(name string) command {
	marker := j.path + "-" + name
	return command{
		name: name,
		shell: j.note("start", name) + fmt.Sprintf("if [ ! -e %s ]; then : > %s; ", marker, marker) +
			j.note("fail", name) + "exit 1; fi; " + j.note("end", name),
		props: map[string]string{"spark.driver.supervise": "true"},
	}
}

// attempt is what the journal tells of one process.
type attempt struct {
	taskID     string
	pid        int
	start, end int64 // ns; end 0: it noted none
	failed     bool
}

// taskOf finds the task id in the path of a sandbox, where Mesos puts it as the
// id of the executor that it makes for the command.
var taskOf = regexp.MustCompile(`/executors/([^/]+)/runs/`)

// read returns the attempts by driver name, in the order of their starts.
func (j journal) read(t *testing.T) map[string][]attempt {
	t.Helper()
	raw, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]attempt)
	for line := range strings.Lines(string(raw)) {
		var what, name, sandbox string
		var pid int
		var at int64
		if n, err := fmt.Sscan(line, &what, &name, &pid, &at, &sandbox); n != 5 {
			t.Fatalf("journal: %q: %v", line, err)
		}
		if what == "start" {
			found := taskOf.FindStringSubmatch(sandbox)
			if found == nil {
				t.Fatalf("no task id in %s", sandbox)
			}
			all[name] = append(all[name], attempt{taskID: found[1], pid: pid, start: at})
			continue
		}
		ended := false
		for i := range all[name] {
			if a := &all[name][i]; a.pid == pid && a.end == 0 {
				a.end, a.failed, ended = at, what == "fail", true
			}
		}
		if !ended {
			t.Errorf("journal: %q of a process that did not start", line)
		}
	}
	return all
}
