package e2e_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
)

// migrateArgs takes over from an old world into a cluster.
func (c *cluster) migrateArgs(w *oldWorld, more ...string) []string {
	return append([]string{"migrate", "--from-zookeeper", "zk://" + w.zk.Addr() + "/chroot", "--zk-dir", "/old",
		"--mesos", w.mesos, "--server", c.rest(0)}, more...)
}

// Spark's own dispatcher, registered through libmesos, with drivers that run,
// wait and fail: its framework and its drivers go over to a cluster that speaks
// to Mesos by HTTP. Tasks run on, and obey the cluster.
func TestSparksDispatcherIsTakenOverWithItsRunningDrivers(t *testing.T) {
	opts := requireRealMesos(t)
	w := startOldWorld(t, opts.MesosURL)
	u := newUser(t)
	ending, killed := filepath.Join(w.home, "ending"), filepath.Join(w.home, "killed")
	plain := w.submit(t, "plain", ending, nil)
	supervised := w.submit(t, "supervised", killed, map[string]string{"spark.driver.supervise": "true"})
	failing := w.submit(t, "failing", "fail", map[string]string{"spark.driver.supervise": "true"})
	queued := w.submit(t, "queued", "fail", map[string]string{"spark.driver.cores": "1000"})
	w.await(t, u, plain, "RUNNING")
	w.await(t, u, supervised, "RUNNING")
	w.await(t, u, failing, "RETRYING")
	w.await(t, u, queued, "QUEUED")
	before := w.frameworks(t, u)
	if len(before) != 1 || before[0].PID == "" || !before[0].Connected {
		t.Fatalf("frameworks %+v", before)
	}

	c := start(t, devcluster.Options{MesosURL: w.mesos, Awaiting: true, Conf: []string{"spark.mesos.dispatcher.awaitMigration=true"}})
	eventually(t, "the migration to be refused because the old dispatcher lives", func() string {
		code, out := run(t, c.migrateArgs(w)...)
		if code == 1 && strings.Contains(out, "a scheduler is connected to Mesos with its framework "+before[0].ID) {
			return ""
		}
		return out // its nodes may have changed, or the cluster is not up yet
	})
	if code, out := run(t, c.migrateArgs(w, "--dry-run", "--force")...); code != 0 || !strings.Contains(out, "would be taken over: 4") {
		t.Errorf("exit code %d\n%s", code, out)
	}

	w.Stop()
	code, report, said := migrate(t, c.migrateArgs(w))
	if code != 0 || !report.Complete || report.FrameworkID != before[0].ID || len(report.Imported) != 4 {
		t.Fatalf("exit code %d, %+v\n%s", code, report, said)
	}
	c.ready(t)
	after := w.frameworks(t, u)
	t.Logf("Mesos knew the framework as %+v, and now as %+v", before, after)
	if len(after) != 1 || after[0].ID != before[0].ID || after[0].PID != "" || !after[0].Connected ||
		!slices.Contains(after[0].Capabilities, "MULTI_ROLE") || after[0].Checkpoint != before[0].Checkpoint {
		t.Errorf("frameworks %+v", after)
	}
	for file, id := range map[string]string{ending: plain, killed: supervised} {
		eventually(t, id+" to be adopted", func() string {
			d, err := u.driver(t.Context(), c.rest(1), id)
			if err != nil {
				return err.Error()
			}
			if last := d.Attempts[len(d.Attempts)-1]; d.State != "RUNNING" || last.Status == nil {
				return d.State + " without a status"
			}
			return startedOnce(file)
		})
	}
	if d := c.waitState(t, u, queued, "QUEUED"); len(d.Attempts) != 0 {
		t.Errorf("%+v", d)
	}

	// They obey: one ends by itself, one is killed, and what failed is tried again.
	touch(t, ending)
	c.waitState(t, u, plain, "FINISHED")
	for _, id := range []string{supervised, queued} {
		if code, out := run(t, "kill", "--server", c.rest(2), id); code != 0 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		c.waitState(t, u, id, "KILLED")
	}
	eventually(t, "the process of the killed driver to end", func() string {
		if problem := startedOnce(killed); !strings.Contains(problem, "has ended") {
			return "it runs " + problem
		}
		return ""
	})
	eventually(t, "the failed driver to be launched by the cluster", func() string {
		d, err := u.driver(t.Context(), c.rest(0), failing)
		if err != nil {
			return err.Error()
		}
		if last := d.Attempts[len(d.Attempts)-1]; last.AgentHost == "" {
			return d.State + ", its last attempt is the imported one"
		}
		return ""
	})

	code, out := run(t, c.migrateArgs(w)...)
	if code != 0 || !strings.Contains(out, "Nothing was changed") || !strings.Contains(out, "already there: 4") {
		t.Errorf("again: exit code %d\n%s", code, out)
	}
}
