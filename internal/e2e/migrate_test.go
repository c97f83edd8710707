package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/upstream"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmigrate"
)

// standIn is what drivers run in the place of spark-submit: its last argument is
// the file whose appearance ends it, or "fail".
const standIn = `#!/bin/sh
for last; do :; done
[ "$last" = fail ] && exit 1
echo $$ >>"$last.started"
while [ ! -e "$last" ]; do sleep 0.1; done
`

// oldWorld is Spark's own dispatcher at work: a real Mesos, with which it
// registered through libmesos, and a real ZooKeeper, which holds its drivers.
type oldWorld struct {
	mesos string // URL
	zk    *zkfixture.Server
	home  string // of the stand-in for Spark, on the agents
	*upstream.Dispatcher
}

func startOldWorld(t *testing.T, mesos string) *oldWorld {
	t.Helper()
	w := &oldWorld{mesos: mesos, zk: zkfixture.Require(t), home: shortDir(t)}
	submit := filepath.Join(w.home, "bin", "spark-submit")
	if err := os.MkdirAll(filepath.Dir(submit), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(submit, []byte(standIn), 0o755); err != nil {
		t.Fatal(err)
	}
	w.Dispatcher = upstream.Require(t, upstream.Options{
		Master: strings.TrimPrefix(mesos, "http://"), ZooKeeper: w.zk.Addr(), Dir: "/chroot/old", WorkDir: w.home,
	})
	return w
}

// submit gives it a driver that runs until its file appears.
func (w *oldWorld) submit(t *testing.T, name, last string, props map[string]string) (id string) {
	t.Helper()
	all := map[string]string{"spark.app.name": name, "spark.driver.memory": "32m", "spark.driver.cores": "1", "spark.mesos.executor.home": w.home}
	for k, v := range props {
		all[k] = v
	}
	body, err := json.Marshal(map[string]any{
		"action": "CreateSubmissionRequest", "clientSparkVersion": "3.5.1", "mainClass": "Main", "appResource": "file:" + filepath.Join(w.home, "bin", "spark-submit"),
		"appArgs": []string{last}, "sparkProperties": all, "environmentVariables": map[string]string{"A": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := http.Post(w.URL()+"/v1/submissions/create", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var created struct{ SubmissionID string }
	if err := json.NewDecoder(reply.Body).Decode(&created); err != nil || created.SubmissionID == "" {
		t.Fatalf("%s, %v", reply.Status, err)
	}
	return created.SubmissionID
}

// await waits until it says that a driver is in a state.
func (w *oldWorld) await(t *testing.T, u *user, id, state string) {
	t.Helper()
	eventually(t, id+" to be "+state+" there", func() string {
		var got struct{ DriverState string }
		if err := u.get(t.Context(), w.URL()+"/v1/submissions/status/"+id, &got); err != nil {
			return err.Error()
		}
		if got.DriverState == state {
			return ""
		}
		return got.DriverState
	})
}

// framework is what Mesos knows of a framework.
type framework struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	PID          string   `json:"pid"` // only of one of libprocess
	Role         string   `json:"role"`
	Roles        []string `json:"roles"`
	Principal    string   `json:"principal"`
	Checkpoint   bool     `json:"checkpoint"`
	Capabilities []string `json:"capabilities"`
	Connected    bool     `json:"connected"`
}

func (w *oldWorld) frameworks(t *testing.T, u *user) []framework {
	t.Helper()
	var got struct{ Frameworks []framework }
	if err := u.get(t.Context(), w.mesos+"/master/frameworks", &got); err != nil {
		t.Fatal(err)
	}
	return got.Frameworks
}

// startedOnce tells whether the task of a driver was started once and runs.
func startedOnce(file string) string {
	raw, err := os.ReadFile(file + ".started")
	if err != nil {
		return err.Error()
	}
	pids := strings.Fields(string(raw))
	if len(pids) != 1 {
		return fmt.Sprintf("started as %v", pids)
	}
	if _, err := os.Stat("/proc/" + pids[0]); err != nil {
		return "process " + pids[0] + " has ended"
	}
	return ""
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// migrate runs the program, and decodes what it prints with --json; said is what
// it says beside that.
func migrate(t *testing.T, args []string) (code int, r zkmigrate.Report, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), append(args, "--json")...)
	cmd.Dir = t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v in\n%s", err, out.Bytes())
		}
	}
	return cmd.ProcessState.ExitCode(), r, errs.String()
}
