package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Starts children for as long as this process lives.
		goleak.IgnoreAnyFunction("github.com/ha-dispatcher/ha-dispatcher/internal/devcluster.init.func1.1"),
		goleak.Cleanup(func(code int) {
			os.RemoveAll(binaryDir())
			os.Exit(code)
		}))
}

var binaryDir = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "ha-dispatcher-e2e-")
	if err != nil {
		panic(err)
	}
	return dir
})

var buildBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir(), "ha-dispatcher")
	args := []string{"build", "-tags=hashicorpmetrics", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/ha-dispatcher/ha-dispatcher/cmd/ha-dispatcher")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// binary is the program, built for this run.
func binary(t *testing.T) string {
	t.Helper()
	path, err := buildBinary()
	if err != nil {
		t.Fatal("build:", err)
	}
	return path
}

// patience bounds each wait for a condition; a JVM on a busy machine may well take
// a minute.
const patience = 3 * time.Minute

// eventually waits for a condition; problem says why it does not hold yet, and
// is empty when it does.
func eventually(t *testing.T, what string, problem func() string) {
	t.Helper()
	began, said := time.Now(), time.Now()
	for {
		p := problem()
		switch {
		case p == "":
			return
		case time.Since(began) > patience:
			t.Fatalf("waiting for %s: %s", what, p)
		case time.Since(said) > 5*time.Second:
			t.Logf("still waiting for %s: %s", what, p)
			said = time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// processesOf are the processes that have text in their command line, their
// environment or as their directory.
func processesOf(t *testing.T, text string) []string {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", d.Name())
		// A process that ends meanwhile has empty files.
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if bytes.Contains(line, []byte(text)) || bytes.Contains(env, []byte(text)) || strings.Contains(cwd, text) {
			found = append(found, fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// nothingLeft waits until no process belongs to a directory any more.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "all processes to end", func() string { return strings.Join(processesOf(t, dir), "\n") })
}
