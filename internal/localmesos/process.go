package localmesos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// processSpec is what is needed to start a task's process.
type processSpec struct {
	path string // absolute
	args []string
	env  []string
	dir  string // the sandbox; stdout and stderr go to the files there
}

// process is a running task: the leader of a session and process group of its
// own.
type process struct {
	cmd     *exec.Cmd
	pid     int
	spawner *spawner

	mu     sync.Mutex
	reaped bool
}

// spawner starts processes such that none outlives this one, however it ends:
//   - each has a parent-death signal, which Linux ties to the thread that
//     started it, not to the process; so one goroutine, locked to its thread,
//     starts them all and lives longer than any;
//   - that signal does not reach what a task or executor started itself, so a
//     guard, a small shell, is told of every session and kills what is left of
//     them when its standard input ends.
type spawner struct {
	requests chan startRequest
	done     chan struct{}

	mu      sync.Mutex // guards writes to the guard
	guard   *exec.Cmd
	guardIn io.WriteCloser
}

type startRequest struct {
	spec  processSpec
	reply chan startReply // capacity 1
}

type startReply struct {
	p   *process
	err error
}

const guardScript = `trap '' HUP INT TERM QUIT
p=" "
while read -r op id; do
  case $op in
    +) p="$p$id " ;;
    -) case $p in *" $id "*) p="${p%% $id *} ${p#* $id }" ;; esac ;;
  esac
done
for id in $p; do kill -9 "-$id" 2>/dev/null; done
found=y
while [ "$found" ]; do
  found=
  for f in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$f" || continue
    set -- ${line##*) }
    case "$1$p" in Z*|X*) ;; *" $4 "*) kill -9 "${line%% *}" 2>/dev/null && found=y ;; esac
  done
done
exit 0
`

func startSpawner() (*spawner, error) {
	s := &spawner{requests: make(chan startRequest), done: make(chan struct{})}
	s.guard = exec.Command("/bin/sh", "-c", guardScript)
	s.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of ^C
	s.guard.Env = []string{"PATH=/usr/bin:/bin"}
	s.guard.Dir = "/"
	var err error
	if s.guardIn, err = s.guard.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.guard.Start(); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

func (s *spawner) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	for req := range s.requests {
		p, err := s.startHere(req.spec)
		req.reply <- startReply{p, err}
	}
}

// close may only be called when every process has ended.
func (s *spawner) close() error {
	close(s.requests)
	<-s.done
	s.guardIn.Close()
	if err := s.guard.Wait(); err != nil {
		return fmt.Errorf("localmesos: guard of task processes: %w", err)
	}
	return nil
}

func (s *spawner) start(spec processSpec) (*process, error) {
	reply := make(chan startReply, 1)
	s.requests <- startRequest{spec, reply}
	r := <-reply
	return r.p, r.err
}

func (s *spawner) startHere(spec processSpec) (*process, error) {
	var files [2]*os.File
	for i, name := range []string{"stdout", "stderr"} {
		f, err := os.OpenFile(filepath.Join(spec.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files[i] = f
	}
	cmd := &exec.Cmd{Path: spec.path, Args: spec.args, Env: spec.env, Dir: spec.dir,
		Stdout: files[0], Stderr: files[1], SysProcAttr: taskProcAttr()}
	if err := startRetryingBusy(cmd); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, pid: cmd.Process.Pid, spawner: s}
	s.tellGuard('+', p.pid)
	return p, nil
}

// startRetryingBusy starts cmd. A program that was just written may still be
// open for writing in a child that another goroutine is forking; that passes
// (golang.org/issue/22315).
func startRetryingBusy(cmd *exec.Cmd) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := cmd.Start()
		if !errors.Is(err, syscall.ETXTBSY) || wait > 100*time.Millisecond {
			return err
		}
		time.Sleep(wait)
	}
}

func (s *spawner) tellGuard(op byte, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.guardIn, "%c %d\n", op, pid) // without a guard, the death signal has to do
}

// signal reaches the whole process group, and what else is in the session.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return // the pid may be another's by now
	}
	_ = syscall.Kill(-p.pid, sig) // what has ended needs no signal
	for _, pid := range sessionMembers(p.pid) {
		_ = syscall.Kill(pid, sig)
	}
}

// wait returns when the process has ended and all it left behind is killed.
func (p *process) wait() syscall.WaitStatus {
	if awaitExit(p.pid) {
		// Not reaped yet: the group and session cannot have become another's.
		p.signal(syscall.SIGKILL)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Wait() // the error is in the status
	p.reaped = true
	p.spawner.tellGuard('-', p.pid)
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status
}
