package examples

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

// node is one process of an example.
type node struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string
}

func build(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-tags=hashicorpmetrics", "-o", program, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// addresses are three free ones on loopback.
func addresses(t *testing.T) []string {
	t.Helper()
	var out []string
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		out = append(out, ln.Addr().String())
	}
	return out
}

// start starts three nodes of a program and waits until each says that it runs.
func start(t *testing.T, program string, args ...string) []*node {
	t.Helper()
	var peers []string
	for i, addr := range addresses(t) {
		peers = append(peers, fmt.Sprintf("n%d=%s", i+1, addr))
	}
	dir := t.TempDir()
	var nodes []*node
	for i := range 3 {
		id := fmt.Sprintf("n%d", i+1)
		own := []string{"-id", id, "-data", filepath.Join(dir, id), "-peers", strings.Join(peers, ",")}
		nodes = append(nodes, launch(t, program, append(own, args...)...))
	}
	for _, n := range nodes {
		if said := n.next(); !strings.HasPrefix(said, "started") {
			t.Fatalf("it says %q", said)
		}
	}
	return nodes
}

func launch(t *testing.T, program string, args ...string) *node {
	t.Helper()
	n := &node{t: t, cmd: exec.Command(program, args...), answers: make(chan string, 16)}
	n.cmd.Stderr = os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n.answers <- lines.Text()
		}
		close(n.answers)
	}()
	t.Cleanup(func() {
		_ = n.cmd.Process.Kill()
		for range n.answers { // lets the reader end
		}
		<-read
		_ = n.cmd.Wait()
	})
	return n
}

func (n *node) next() string {
	n.t.Helper()
	select {
	case line, open := <-n.answers:
		if !open {
			n.t.Fatal("the process has ended")
		}
		return line
	case <-time.After(patience):
		n.t.Fatal("the process says nothing")
		return ""
	}
}

func (n *node) ask(line string) string {
	n.t.Helper()
	if _, err := fmt.Fprintln(n.in, line); err != nil {
		n.t.Fatal(err)
	}
	return n.next()
}

func (n *node) want(line, answer string) {
	n.t.Helper()
	if got := n.ask(line); got != answer {
		n.t.Fatalf("%s: %q, want %q", line, got, answer)
	}
}

func (n *node) kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestCoarse(t *testing.T) {
	m, err := localmesos.Start(t.Context(), localmesos.Options{Agents: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	nodes := start(t, build(t, "coarse"), "-master", m.Addr(), "-command", "exec sleep 100000")
	executors := func() map[string]int {
		pids := make(map[string]int)
		for _, task := range m.Tasks() {
			if task.State == "TASK_RUNNING" {
				pids[task.ID] = task.PID
			}
		}
		return pids
	}
	nodes[0].want("scale 2", "ok")
	eventually(t, "two executors", func() bool { return len(executors()) == 2 })
	before := executors()

	// The leader dies.
	dead := -1
	eventually(t, "a leader", func() bool {
		for i, n := range nodes {
			if strings.HasPrefix(n.ask("status"), "leads=true") {
				dead = i
			}
		}
		return dead >= 0
	})
	nodes[dead].kill()
	next := nodes[(dead+1)%3]
	next.want("scale 3", "ok")
	eventually(t, "three executors", func() bool { return len(executors()) == 3 })
	after := executors()
	for id, pid := range before {
		if after[id] != pid {
			t.Errorf("executor %s is process %d, was %d", id, after[id], pid)
		}
	}
	next.want("scale 2", "ok")
	next.want("kill 0", "ok")
	eventually(t, "two executors again", func() bool { return len(executors()) == 2 })
	if got := next.ask("kill 99"); !strings.HasPrefix(got, "error: unknown executor") {
		t.Errorf("%q", got)
	}
	if got := next.ask("scale -1"); !strings.HasPrefix(got, "error: ") {
		t.Errorf("%q", got)
	}
	next.want("stop", "ok")
	if f := m.Frameworks(); len(f) != 1 || !f[0].Completed || len(executors()) != 0 {
		t.Errorf("%+v, executors %v", f, executors())
	}
}

func TestMachine(t *testing.T) {
	nodes := start(t, build(t, "machine"))
	nodes[0].want("add visits 3", "3")
	nodes[1].want("add visits 4", "7")
	nodes[2].want("get visits", "7")
	nodes[0].kill()
	nodes[1].want("add visits 1", "8")
	nodes[2].want("get visits", "8")
	if got := nodes[2].ask("nonsense"); !strings.HasPrefix(got, "error: ") {
		t.Errorf("%q", got)
	}
}
