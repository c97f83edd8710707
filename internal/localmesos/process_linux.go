package localmesos

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func taskProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when a child has ended, without reaping it. A pidfd waits
// in the runtime's poller, where waitpid would hold a thread for each task.
func awaitExit(pid int) (unreaped bool) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return waitid(unix.P_PID, pid, 0)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if raw, err := f.SyscallConn(); err == nil {
		err = raw.Read(func(fd uintptr) bool { return waitid(unix.P_PIDFD, int(fd), unix.WNOHANG) })
		if err == nil {
			return true
		}
	}
	return waitid(unix.P_PID, pid, 0)
}

// waitid says whether the child has ended, or cannot be waited for.
func waitid(idType, id, options int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(idType, id, &info, unix.WEXITED|unix.WNOWAIT|options, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) { // a pidfd that does not block
			return false
		}
		return err != nil || info.Signo != 0
	}
}

// sessionMembers are the processes of a session other than its leader: jobs of
// an interactive shell, for example, have groups of their own.
func sessionMembers(sid int) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == sid {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp session …; the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 3 && string(fields[3]) == strconv.Itoa(sid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
