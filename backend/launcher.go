package backend

import (
	"context"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// LauncherState is what a launcher of applications is told; the words are those
// of SparkAppHandle.State of Spark's launcher library.
type LauncherState string

// The states that a launcher is told of.
const (
	LauncherSubmitted LauncherState = "SUBMITTED" // not registered with Mesos yet, or disconnected
	LauncherRunning   LauncherState = "RUNNING"
	LauncherFinished  LauncherState = "FINISHED"
	LauncherKilled    LauncherState = "KILLED" // stopped by StopForLauncher
	LauncherFailed    LauncherState = "FAILED" // Mesos removed the framework
)

// Launcher is whoever started the application and wants to know how it is. Its
// methods are called from one goroutine, on each node, and must not wait.
type Launcher interface {
	// SetAppID tells Spark's application id, once, before LauncherRunning.
	SetAppID(id string)
	SetState(LauncherState)
}

// stoppedByLauncher is the reason that tells KILLED from FINISHED, on every node.
const stoppedByLauncher = "the launcher asked for it"

// StopForLauncher is Stop on behalf of the launcher, which is then told
// LauncherKilled instead of LauncherFinished.
func (c *application) StopForLauncher(ctx context.Context) error {
	return c.stop(ctx, stoppedByLauncher)
}

// launcherState is what is told of an application.
func launcherState(a *fsm.App) LauncherState {
	switch {
	case a == nil:
		return LauncherSubmitted
	case a.Stopped && a.StopReason == stoppedByLauncher:
		return LauncherKilled
	case a.Stopped:
		return LauncherFinished
	case a.Framework.State == fsm.FrameworkRemoved, a.Framework.State == fsm.FrameworkTornDown:
		return LauncherFailed
	case a.Framework.State == fsm.FrameworkSubscribed:
		return LauncherRunning
	}
	return LauncherSubmitted
}

// handle is what a launcher was told last. It belongs to follow.
type handle struct {
	state LauncherState
	named bool
}

func (c *application) tellLauncher(h *handle, a *fsm.App) {
	if c.cfg.Launcher == nil {
		return
	}
	if a != nil && a.Framework.ID != "" && !h.named {
		h.named = true
		c.cfg.Launcher.SetAppID(a.Framework.ID)
	}
	if s := launcherState(a); s != h.state {
		h.state = s
		c.cfg.Launcher.SetState(s)
	}
}
