package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

const (
	maxCommand  = 1 << 20 // bytes of a task's data
	maxArgs     = 10_000  // words of argv, variables of env
	tokenEnv    = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
	maxTimeout  = 365 * 24 * time.Hour
	shellBinary = "/bin/sh"
)

// Command is what a task of Commands does: the data of the task, as JSON.
type Command struct {
	// Argv is program and arguments; the program is looked up in PATH. One of
	// Argv and Shell is required.
	Argv []string `json:"argv,omitempty"`
	// Shell is a command line for /bin/sh -c.
	Shell string `json:"shell,omitempty"`
	// Env adds to, or overrides, the executor's own environment.
	Env map[string]string `json:"env,omitempty"`
	// Timeout is how long the command may run, as Go writes it ("30s"). It is
	// killed then as by KILL, and fails. Default: no limit.
	Timeout string `json:"timeout,omitempty"`

	limit time.Duration
}

// ParseCommand reads the data of a task. At most 1 MiB; unknown fields are
// refused. Errors wrap ErrCommand.
func ParseCommand(data []byte) (Command, error) {
	var c Command
	if len(data) > maxCommand {
		return c, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrCommand, len(data), maxCommand)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return Command{}, fmt.Errorf(`%w: want JSON such as {"argv":["date"]}: %w`, ErrCommand, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Command{}, fmt.Errorf("%w: something follows the JSON object", ErrCommand)
	}
	if err := c.check(); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	return c, nil
}

func (c *Command) check() (err error) {
	switch {
	case (len(c.Argv) == 0) == (c.Shell == ""):
		return errors.New("one of argv and shell is required, and not both")
	case len(c.Argv) > 0 && c.Argv[0] == "":
		return errors.New("the first word of argv is empty")
	case len(c.Argv) > maxArgs || len(c.Env) > maxArgs:
		return fmt.Errorf("more than %d arguments or variables", maxArgs)
	case strings.ContainsRune(c.Shell+strings.Join(c.Argv, ""), 0):
		return errors.New("a NUL byte in the command")
	}
	for name, value := range c.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return fmt.Errorf("env: %q is no variable", name)
		}
	}
	if c.Timeout == "" {
		return nil
	}
	if c.limit, err = time.ParseDuration(c.Timeout); err != nil || c.limit <= 0 || c.limit > maxTimeout {
		return fmt.Errorf("timeout %q is no positive duration such as 30s, of at most a year", c.Timeout)
	}
	return nil
}

// Commands is a Runner whose tasks are commands; see Command.
type Commands struct {
	// Dir is the executor's sandbox.
	Dir string
	// Env is the environment that commands start from; nil is that of this
	// process without the executor's token.
	Env []string
}

// Run implements Runner.
func (r Commands) Run(ctx context.Context, t *Task) Result {
	c, err := ParseCommand(t.Info.Data)
	if err != nil {
		return failed(err)
	}
	p, err := r.prepare(c, t.ID())
	if err != nil {
		return failed(err)
	}
	defer p.close()
	// Linux ties the parent-death signal to the thread that started the child:
	// this one stays until the child has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		return failed(fmt.Errorf("starting the command: %w", err))
	}
	exited := make(chan struct{})
	guarded := make(chan bool, 1)
	go func() { guarded <- p.guard(ctx, t, c.limit, exited) }()
	t.Running()
	awaitExit(p.cmd)
	// Not reaped yet (on Linux), so the group cannot have become another's: what
	// the command left behind ends here.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	close(exited)
	timedOut := <-guarded
	_ = p.cmd.Wait() // what it says is in the state
	return p.result(timedOut, c)
}

func failed(err error) Result { return Result{State: mesos.TASK_FAILED, Message: err.Error()} }

type process struct {
	cmd *exec.Cmd
}

// prepare makes the task's directory and the command to run in it.
func (r Commands) prepare(c Command, id string) (*process, error) {
	if id == "." || id == ".." || strings.ContainsAny(id, "/\x00") || id == "" {
		return nil, fmt.Errorf("the task's id %q is no name of a directory", id)
	}
	dir := filepath.Join(r.Dir, "tasks", id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the task's directory: %w", err)
	}
	argv := c.Argv
	if c.Shell != "" {
		argv = []string{shellBinary, "-c", c.Shell}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = r.environment(c, id, dir)
	cmd.SysProcAttr = procAttr()
	p := &process{cmd: cmd}
	for _, out := range []struct {
		name string
		set  func(*os.File)
	}{{"stdout", func(f *os.File) { cmd.Stdout = f }}, {"stderr", func(f *os.File) { cmd.Stderr = f }}} {
		f, err := os.OpenFile(filepath.Join(dir, out.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("the task's %s: %w", out.name, err)
		}
		out.set(f)
	}
	return p, nil
}

func (r Commands) environment(c Command, id, dir string) []string {
	env := r.Env
	if env == nil {
		env = os.Environ()
	}
	kept := make([]string, 0, len(env)+len(c.Env)+2)
	for _, v := range env {
		if !strings.HasPrefix(v, tokenEnv+"=") {
			kept = append(kept, v)
		}
	}
	kept = append(kept, "MESOS_TASK_ID="+id, "PWD="+dir)
	for name, value := range c.Env {
		kept = append(kept, name+"="+value)
	}
	return kept
}

func (p *process) close() {
	for _, w := range []io.Writer{p.cmd.Stdout, p.cmd.Stderr} {
		if f, ok := w.(*os.File); ok {
			_ = f.Close()
		}
	}
}

// guard ends the process when the task is killed or its time is up: SIGTERM,
// and SIGKILL after the grace period. It says whether the time was up.
func (p *process) guard(ctx context.Context, t *Task, limit time.Duration, exited <-chan struct{}) (timedOut bool) {
	var up <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		up = timer.C
	}
	select {
	case <-exited:
		return false
	case <-ctx.Done():
	case <-up:
		timedOut = true
	}
	p.signal(syscall.SIGTERM)
	var late <-chan time.Time
	if timedOut {
		timer := time.NewTimer(t.grace(nil))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-exited:
		return timedOut
	case <-late:
	case <-t.Overdue():
	}
	p.signal(syscall.SIGKILL)
	<-exited
	return timedOut
}

// signal reaches the process group. It is called before the leader is reaped.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

func (p *process) result(timedOut bool, c Command) Result {
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	message := fmt.Sprintf("Command exited with status %d", status.ExitStatus())
	if status.Signaled() {
		name := status.Signal().String()
		message = "Command terminated with signal " + strings.ToUpper(name[:1]) + name[1:]
	}
	switch {
	case timedOut:
		return Result{State: mesos.TASK_FAILED, Message: fmt.Sprintf("timed out after %v: %s", c.limit, message)}
	case status.Exited() && status.ExitStatus() == 0:
		return Result{State: mesos.TASK_FINISHED, Message: message}
	}
	return Result{State: mesos.TASK_FAILED, Message: message}
}
