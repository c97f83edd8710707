package testcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Journal is what the drivers of a cluster write about themselves: a line when
// an attempt starts and one when it ends.
type Journal struct{ dir string }

// script is a driver. It ends when it is told to, or after a while, and notes
// whether a process of the same driver was still alive when it started.
const script = `#!/bin/sh
# driver.sh KEY [SECONDS CODE]: without SECONDS it runs until a file says how to end.
dir=%s key=$1 task=$MESOS_TASK_ID
note() { echo "$1 $key $task $$ $(date +%%s%%N)" >> "$dir/journal"; }
trap 'note killed; exit 143' TERM
for f in "$dir/pids/$key".*; do
	[ -e "$f" ] && old=$(cat "$f") && [ -n "$old" ] && kill -0 "$old" 2>/dev/null && note overlap
done
echo $$ > "$dir/pids/$key.$$"
note start
if [ -n "$2" ]; then
	sleep "$2"; code=$3
else
	while :; do
		for f in "$dir/end/$task" "$dir/end/$key"; do [ -e "$f" ] && break 2; done
		sleep 0.1
	done
	code=$(cat "$f")
fi
rm "$dir/pids/$key.$$"
note end
exit "$code"
`

func newJournal(dir string) (*Journal, error) {
	j := &Journal{dir: dir}
	for _, sub := range []string{"pids", "end"} {
		if err := mkdir(filepath.Join(dir, sub)); err != nil {
			return nil, err
		}
	}
	return j, os.WriteFile(j.script(), fmt.Appendf(nil, script, dir), 0o755)
}

func (j *Journal) script() string { return filepath.Join(j.dir, "driver.sh") }

// Until is the command of a driver that runs until End.
func (j *Journal) Until(key string) string { return "exec " + j.script() + " " + key }

// For is the command of a driver that runs for a time and then exits with code.
func (j *Journal) For(key string, d time.Duration, code int) string {
	return fmt.Sprintf("exec %s %s %.3f %d", j.script(), key, d.Seconds(), code)
}

// End makes the driver with this key, or the attempt with this task id, exit
// with code.
func (j *Journal) End(keyOrTask string, code int) error {
	path := filepath.Join(j.dir, "end", keyOrTask)
	if err := os.WriteFile(path+".tmp", []byte(strconv.Itoa(code)), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Run is one process of a driver.
type Run struct {
	Key    string
	TaskID string
	PID    int
	Start  time.Time
	End    time.Time // zero: it lives, or was killed without notice
	Killed bool      // it got SIGTERM
	// Overlap: an earlier process of the same driver was alive when it started.
	Overlap bool
}

// Runs are all processes so far, in the order in which they started.
func (j *Journal) Runs() ([]Run, error) {
	raw, err := os.ReadFile(filepath.Join(j.dir, "journal"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var runs []Run
	open := make(map[string]int) // task and pid → place in runs
	overlaps := make(map[string]bool)
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 5 {
			return nil, fmt.Errorf("journal: %q is no line of a driver", line)
		}
		pid, err1 := strconv.Atoi(f[3])
		ns, err2 := strconv.ParseInt(f[4], 10, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("journal: %q is no line of a driver", line)
		}
		id := f[2] + "/" + f[3]
		switch f[0] {
		case "overlap":
			overlaps[id] = true
		case "start":
			open[id] = len(runs)
			runs = append(runs, Run{Key: f[1], TaskID: f[2], PID: pid, Start: time.Unix(0, ns), Overlap: overlaps[id]})
		default:
			if i, ok := open[id]; ok {
				runs[i].End, runs[i].Killed = time.Unix(0, ns), f[0] == "killed"
			}
		}
	}
	return runs, nil
}

// RunsOf are the processes of one driver.
func (j *Journal) RunsOf(key string) ([]Run, error) {
	all, err := j.Runs()
	var runs []Run
	for _, r := range all {
		if r.Key == key {
			runs = append(runs, r)
		}
	}
	return runs, err
}
