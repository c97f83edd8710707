//go:build !linux

package executor

import (
	"os/exec"
	"syscall"
)

func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit returns when the command has ended. There is no portable way to do
// that without reaping it.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }
