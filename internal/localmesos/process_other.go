//go:build !linux

package localmesos

import "syscall"

// Without parent-death signals the guard alone cares for what is left when
// this process is killed.
func taskProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// awaitExit leaves the waiting to Cmd.Wait: there is no portable way to wait
// without reaping.
func awaitExit(int) (unreaped bool) { return false }

func sessionMembers(int) []int { return nil }
