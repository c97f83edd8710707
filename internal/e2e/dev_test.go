package e2e_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
)

// dev is a running `ha-dispatcher dev`.
func startDev(t *testing.T) (cmd *exec.Cmd, info devcluster.Info, dir string) {
	t.Helper()
	dir = shortDir(t)
	cmd = exec.Command(binary(t), "dev", "--port", "0", "--webui-port", "0", "--data-dir", dir, "--resources", agentResources)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() != "ready" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, "dev.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &info); err != nil {
			t.Fatal(err)
		}
		return cmd, info, dir
	}
	t.Fatal("dev ended before it was ready")
	return nil, info, ""
}

// However dev ends, it leaves no node, no Mesos and no driver behind.
func TestDevLeavesNothingRunning(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "interrupted": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			cmd, info, dir := startDev(t)
			if info.Mesos.PID == 0 || len(info.Nodes) != 3 {
				t.Fatalf("dev.json: %+v", info)
			}
			u := newUser(t)
			j := newJournal(dir)
			if _, _, err := u.submit(t.Context(), info.Nodes[1].REST, j.runs("long", "300"), ""); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the driver to run", func() string {
				raw, err := os.ReadFile(j.path)
				if err != nil || !strings.Contains(string(raw), "start long") {
					return "it has not started"
				}
				return ""
			})
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); (err == nil) != (sig != syscall.SIGKILL) {
				t.Errorf("dev ended with %v", err)
			}
			nothingLeft(t, dir)
			checkLogs(t, filepath.Join(dir, "log"))
		})
	}
}

// A port that another program has ends the start, even where that program is a
// cluster and answers.
func TestDevTellsOfAPortInUse(t *testing.T) {
	c := start(t, devcluster.Options{Nodes: 1})
	_, port, err := net.SplitHostPort(address(c.rest(0)))
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	code, output := run(t, "dev", "--nodes", "1", "--port", port, "--webui-port", "0", "--data-dir", dir)
	if code != 1 || !strings.Contains(output, "port in use") || strings.Contains(output, "ready\n") {
		t.Errorf("exit code %d:\n%s", code, output)
	}
	nothingLeft(t, dir)
}
