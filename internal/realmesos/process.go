package realmesos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// workEnv marks every process of one Mesos with its work directory: the agent
// hands variables that do not start with MESOS_ on to its executors.
const workEnv = "HA_DISPATCHER_REALMESOS_WORK"

// process is one program of Mesos, which can be killed and started again on the
// same port and work directory.
type process struct {
	role string // master, agent or local
	path string
	env  []string
	port int
	log  string // file, appended to

	wanted bool // started, and not killed by kill
	pid    int
	done   chan struct{} // closed when the process is reaped; nil before the first start
}

// start runs the process. A goroutine keeps the thread that started it for as
// long as it runs, because Linux sends Pdeathsig when that thread ends: so a
// test binary that is killed takes its Mesos with it.
func (p *process) start() error {
	if p.running() {
		return fmt.Errorf("realmesos: the %s is running already", p.role)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.path)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = log.Close() }()
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it only ever ends by a signal
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("realmesos: starting the %s: %w", p.role, err)
	}
	p.wanted, p.pid, p.done = true, cmd.Process.Pid, done
	return nil
}

func (p *process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill sends SIGKILL and waits until the process is gone.
func (p *process) kill() {
	p.wanted = false
	if p.running() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.done
	}
}

func (p *process) addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
}

// logTail returns the last lines of the log, for error messages.
func (p *process) logTail() string {
	const most = 2000
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(size-most, 0), io.SeekStart)
	}
	tail, _ := io.ReadAll(io.LimitReader(file, most))
	return string(tail)
}

// freePort returns a port that nobody listens on. It lies below the range that
// the kernel gives to outgoing connections (from 32768), so that it is still
// free when a killed process wants it back, and below the ports that agents
// offer to tasks.
func freePort() (int, error) {
	const first, count, tries = 20000, 10000, 100
	for range tries {
		port := first + rand.IntN(count)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("realmesos: no free port in %d tries between %d and %d",
		tries, first, first+count)
}

// killStragglers ends executors and tasks of the Mesos with this work
// directory, which run in sessions of their own and may just be forking: it
// goes on until none is found.
func killStragglers(ctx context.Context, work string) error {
	for {
		left, err := stragglers(work)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("realmesos: processes %v do not end", left)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func stragglers(work string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if errors.Is(err, os.ErrPermission) {
			continue // another user's, hence not ours
		}
		if belongs(environ, work) { // empty for a zombie
			found = append(found, pid)
		}
	}
	return found, nil
}

// belongs tells whether an environment, as in /proc, is that of a process of
// the Mesos with this work directory.
func belongs(environ []byte, work string) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		key, value, _ := strings.Cut(string(variable), "=")
		switch key {
		case workEnv:
			if value == work {
				return true
			}
		case "MESOS_DIRECTORY", "MESOS_SANDBOX", "MESOS_WORK_DIR":
			if value == work || strings.HasPrefix(value, work+"/") {
				return true
			}
		}
	}
	return false
}
