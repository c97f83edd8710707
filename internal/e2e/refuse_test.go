package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
)

// run runs the program until it ends by itself.
func run(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// What cannot work is said at once, with what to do, and an exit code that a
// script can act on: 2 for wrong words, 1 for a world that does not fit.
func TestServeRefuses(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { used.Close() }) // the subtests run after this function
	_, port, _ := net.SplitHostPort(used.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(args ...string) []string {
		return append([]string{"serve", "--master", "mesos://127.0.0.1:1", "--port", "0", "--webui-port", "0"}, args...)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no master":             {[]string{"serve"}, 2, "--master is required"},
		"another master":        {[]string{"serve", "--master", "spark://h:1"}, 2, "uri begins with mesos://"},
		"ZooKeeper":             {serve("--zk", "h:2181"), 2, "--peers"},
		"unknown flag":          {serve("--nodes", "3"), 2, "Unrecognized option: '--nodes'"},
		"peers without itself":  {serve("--node-id", "n9", "--peers", "n1=127.0.0.1:1"), 2, "does not list this node"},
		"malformed peers":       {serve("--peers", "n1"), 2, "id=raftaddr"},
		"malformed conf":        {serve("--conf", "spark.x"), 2, "KEY=VALUE"},
		"a bad number":          {serve("--conf", "spark.mesos.maxDrivers=many"), 1, "spark.mesos.maxDrivers"},
		"profile":               {serve("--profile", "moon"), 2, "moon"},
		"open to the world":     {serve("--raft-addr", "0.0.0.0:0"), 2, "--raft-cert"},
		"a REST port in use":    {append(serve(), "--port", port), 1, "port in use"},
		"a web port in use":     {append(serve(), "--webui-port", port), 1, "port in use"},
		"a raft port in use":    {serve("--raft-addr", "127.0.0.1:"+port), 1, "127.0.0.1:" + port},
		"data dir is a file":    {serve("--data-dir", file), 1, file},
		"no such properties":    {serve("--properties-file", "/no/such/file"), 1, "/no/such/file"},
		"unknown verb":          {[]string{"server"}, 2, "unknown command"},
		"mesos open to all":     {[]string{"mesos", "--host", "0.0.0.0"}, 2, "loopback"},
		"bench elsewhere":       {[]string{"bench", "--server", "http://192.0.2.1:7077"}, 2, "not on this machine"},
		"bench of what is dead": {[]string{"bench", "--server", "http://127.0.0.1:1", "--count", "1"}, 1, "no request succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, output := run(t, c.args...)
			if code != c.code || !strings.Contains(output, c.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, c.code, c.want, output)
			}
		})
	}
}

// A directory belongs to one node, and to one process at a time.
func TestADataDirIsOfOneNode(t *testing.T) {
	c := start(t, devcluster.Options{})
	serve := func(node, dir string) (int, string) {
		return run(t, "serve", "--master", "mesos://127.0.0.1:1", "--port", "0", "--webui-port", "0",
			"--node-id", node, "--data-dir", filepath.Join(c.dir, dir), "--raft-addr", "127.0.0.1:0")
	}
	if code, output := serve("n1", "n1"); code != 1 || !strings.Contains(output, "use") {
		t.Errorf("a directory in use: %d %s", code, output)
	}
	if err := c.Kill(0); err != nil {
		t.Fatal(err)
	}
	if code, output := serve("n2", "n1"); code != 1 || !strings.Contains(output, "n1") {
		t.Errorf("the directory of another node: %d %s", code, output)
	}
	c.restart(t, 0)
	c.ready(t)
}

// A node whose Mesos is not there takes no submission, says why, and takes them
// as soon as Mesos comes.
func TestMesosThatIsNotThere(t *testing.T) {
	dir := shortDir(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mesos := free.Addr().String()
	free.Close()
	background(t, dir, "serve", "--master", "mesos://"+mesos, "--port", "0", "--webui-port", "0",
		"--data-dir", filepath.Join(dir, "n1"), "--ready-file", filepath.Join(dir, "ready"))
	var node struct{ REST, WebUI string }
	eventually(t, "the node to serve", func() string {
		raw, err := os.ReadFile(filepath.Join(dir, "ready"))
		if err != nil {
			return err.Error()
		}
		if err := json.Unmarshal(raw, &node); err != nil {
			t.Fatal(err)
		}
		return ""
	})
	u := newUser(t)
	eventually(t, "/readyz to tell what is missing", func() string {
		err := u.get(t.Context(), node.WebUI+"/readyz", &struct{}{})
		if err == nil || !strings.Contains(err.Error(), mesos) || !strings.Contains(err.Error(), "HTTP 503") {
			return fmt.Sprint(err)
		}
		return ""
	})
	_, o, err := u.submit(t.Context(), node.REST, command{name: "early", shell: "true"}, "")
	if o != refused || !strings.Contains(fmt.Sprint(err), "Scheduler is not ready to take requests") {
		t.Errorf("a submission without Mesos: %s %v", o, err)
	}
	_, port, _ := net.SplitHostPort(mesos)
	background(t, dir, "mesos", "--port", port, "--work-dir", filepath.Join(dir, "mesos"))
	eventually(t, "the node to be ready", func() string {
		if err := u.get(t.Context(), node.WebUI+"/readyz", &struct{}{}); err != nil {
			return err.Error()
		}
		return ""
	})
	id, o, err := u.submit(t.Context(), node.REST, command{name: "late", shell: "true"}, "")
	if o != acknowledged {
		t.Fatalf("%s %v", o, err)
	}
	eventually(t, "the driver to finish", func() string {
		d, err := u.driver(t.Context(), node.REST, id)
		if err != nil || d.State != "FINISHED" {
			return fmt.Sprint(err, d.State)
		}
		return ""
	})
}

// background runs the program until the test ends, and stops it in good order.
func background(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	log, err := os.Create(filepath.Join(dir, args[0]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", args[0], err)
		}
		checkLogs(t, dir)
	})
}
