package localmesos_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

const pymesosVersion = "0.3.15"

// PyMesos is a client that nobody here wrote; what it does not mind, others
// will not.
func TestPyMesosRunsATask(t *testing.T) {
	python := pymesosEnvironment(t)
	m := start(t, localmesos.Options{Resources: "cpus:2;mem:256", Attributes: "rack:a"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "testdata/pymesos_scheduler.py", m.Addr()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"registered", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED", "TASK_KILLED", "done"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if got := readSandbox(t, m, "hello", "stdout"); got != "hello from pymesos\n" {
		t.Errorf("stdout %q", got)
	}
}

// pymesosEnvironment is a Python that has PyMesos, made once for each version.
func pymesosEnvironment(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if slices.Contains(strings.Split(os.Getenv("HA_DISPATCHER_REQUIRE"), ","), "pymesos") {
		missing = t.Fatalf
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		missing("PyMesos is not tested: no python3 (set HA_DISPATCHER_REQUIRE=pymesos to fail instead)")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "ha-dispatcher", "pymesos-"+pymesosVersion)
	installed := filepath.Join(dir, "bin", "python")
	if exec.Command(installed, "-c", "import pymesos").Run() == nil {
		return installed
	}
	// Made aside and renamed, so that a broken attempt, or another test
	// process, cannot leave half of one. Scripts in it would hold the old
	// path; its python does not.
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "pymesos-new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	shim, err := filepath.Abs("testdata/pymesos-build") // see imp.py there
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(fresh, "bin", "python")
	install := []string{own, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-build-isolation"}
	for _, args := range [][]string{
		{python, "-m", "venv", fresh},
		append(slices.Clone(install), "setuptools<81", "wheel"),
		append(slices.Clone(install), "http-parser==0.9.0"),
		append(slices.Clone(install), "pymesos=="+pymesosVersion),
		{own, "-c", "import pymesos"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = os.Environ()
		if args[len(args)-1] == "http-parser==0.9.0" {
			cmd.Env = append(cmd.Env, "PYTHONPATH="+shim)
		}
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			missing("PyMesos is not tested: %s: %v: %s (set HA_DISPATCHER_REQUIRE=pymesos to fail instead)", strings.Join(args, " "), err, out)
		}
	}
	os.RemoveAll(dir)
	if err := os.Rename(fresh, dir); err != nil && exec.Command(installed, "-c", "import pymesos").Run() != nil {
		t.Fatal(err)
	}
	return installed
}
