package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmigrate"
)

// storeTree writes into ZooKeeper what the dispatcher of Spark 3.5.1 wrote into
// one, beside a node that it never wrote.
func storeTree(t *testing.T, zk *zkfixture.Server, dir string) {
	t.Helper()
	file, err := os.Open("../zkmigrate/testdata/tree-3.5.1.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := zkconn.Dial(t.Context(), zkconn.Config{Servers: []string{zk.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put := func(at string, data []byte) {
		for i := 1; i <= len(at); i++ {
			if i < len(at) && at[i] != '/' {
				continue
			}
			content := []byte(nil)
			if i == len(at) {
				content = data
			}
			if err := c.Create(at[:i], content); err != nil && !errors.Is(err, zkconn.ErrNodeExists) {
				t.Fatal(err)
			}
		}
	}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		put(path.Join(dir, strings.TrimSuffix(h.Name, ".bin")), data)
	}
	put(path.Join(dir, "driverQueue", "driver-broken"), []byte("garbage"))
}

// The program as its users run it, against a real ZooKeeper with a tree of
// Spark's dispatcher: what it prints and where, how it exits, that it may be run
// again, and that a password is never seen.
func TestMigrateIsRunAsItsUsersRunIt(t *testing.T) {
	zk := zkfixture.Require(t)
	storeTree(t, zk, "/spark/old")
	const password = "s3cretpass"
	from := "zk://keeper:" + password + "@" + zk.Addr() + "/spark"
	dir := shortDir(t)
	kept := filepath.Join(dir, "left-behind.json")

	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no source":         {nil, 2, "from-zookeeper"},
		"no URL":            {[]string{"--from-zookeeper", "h:2181"}, 2, "zk://"},
		"relative path":     {[]string{"--from-zookeeper", from, "--zk-dir", "old"}, 2, "absolute path"},
		"bad master":        {[]string{"--from-zookeeper", from, "--mesos", "ftp://h"}, 2, "--mesos"},
		"nothing there":     {[]string{"--from-zookeeper", from, "--zk-dir", "/new"}, 1, "no dispatcher has kept anything there"},
		"ZooKeeper is down": {[]string{"--from-zookeeper", "zk://keeper:" + password + "@127.0.0.1:1"}, 1, "127.0.0.1:1"},
		"cluster is down":   {[]string{"--from-zookeeper", from, "--zk-dir", "/old", "--server", "http://127.0.0.1:1", "--timeout", "1s"}, 3, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := run(t, append([]string{"migrate"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.want) || strings.Contains(out, password) || strings.Contains(out, "panic") {
				t.Errorf("exit code %d, want %d and %q\n%s", code, c.code, c.want, out)
			}
		})
	}

	cl := start(t, devcluster.Options{MesosURL: "http://127.0.0.1:1", Awaiting: true, Conf: []string{
		"spark.mesos.dispatcher.awaitMigration=true", "spark.mesos.executor.home=/opt/spark", "spark.mesos.dispatcher.queue.urgent=2.5",
	}})
	u := newUser(t)
	args := []string{"migrate", "--from-zookeeper", from, "--zk-dir", "/old", "--server", cl.rest(0) + "," + cl.rest(1)}
	eventually(t, "the cluster to answer a trial", func() string {
		code, out := run(t, append(args, "--dry-run")...)
		if strings.Contains(out, password) || strings.Contains(out, "hunter2") {
			t.Fatalf("a secret is shown:\n%s", out)
		}
		if code == 0 && strings.Contains(out, "would be taken over: 11") && strings.Contains(out, "cannot be taken over: 1\n  driver-broken  the node cannot be read") &&
			strings.Contains(out, "Nothing was changed") {
			return ""
		}
		return out
	})
	nothing := func(when string) {
		t.Helper()
		if all, err := u.drivers(t.Context(), cl.rest(0), ""); err != nil || len(all) != 0 {
			t.Errorf("%s: %d drivers, %v", when, len(all), err)
		}
	}
	nothing("after the trial")

	code, r, said := migrate(t, args)
	if code != 1 || len(r.Quarantine) != 1 || string(r.Quarantine[0].Data) != "garbage" || r.Complete || len(r.Imported) != 0 ||
		!strings.Contains(said, "--quarantine") || !strings.Contains(said, "drivers read again") {
		t.Errorf("with a broken node: exit code %d, %+v\n%s", code, r, said)
	}
	nothing("after the refusal")

	code, r, said = migrate(t, append(args, "--quarantine", kept))
	if code != 0 || !r.Complete || r.Already || len(r.Imported) != 11 || len(r.Quarantine) != 1 {
		t.Errorf("without it: exit code %d, %+v\n%s", code, r, said)
	}
	checkKept(t, kept)
	all, err := u.drivers(t.Context(), cl.rest(2), "")
	if err != nil || len(all) != 11 {
		t.Fatalf("%d drivers, %v", len(all), err)
	}

	code, r, said = migrate(t, args)
	if code != 0 || !r.Already || !r.Complete || len(r.Known) != 11 || len(r.Imported) != 0 || strings.Contains(said, password) {
		t.Errorf("again: exit code %d, %+v\n%s", code, r, said)
	}
	if again, err := u.drivers(t.Context(), cl.rest(0), ""); err != nil || len(again) != 11 {
		t.Errorf("again: %d drivers, %v", len(again), err)
	}
	for i := range cl.nodes() {
		if strings.Contains(cl.log(t, i), password) {
			t.Errorf("the password is in the log of node %d", i)
		}
	}
}

// checkKept looks at the file of drivers that were left behind.
func checkKept(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var kept []zkmigrate.Quarantined
	if err := json.Unmarshal(raw, &kept); err != nil || len(kept) != 1 || kept[0].ID != "driver-broken" || !bytes.Equal(kept[0].Data, []byte("garbage")) {
		t.Errorf("%+v, %v", kept, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it may hold secrets", info.Mode(), err)
	}
}
