package backend

import (
	"context"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// duty is the part of a session that belongs to the mode of the application. Its
// methods are called by the goroutine of the session.
type duty interface {
	// ready is called when the framework id is committed, and with it everything
	// that an earlier leader may have sent to Mesos.
	ready(ctx context.Context) error
	// app tells of a change of the application itself.
	appChanged(ctx context.Context, ch *fsm.Change) error
	// executor tells of an executor, or a task, that is there (event is empty) or
	// has changed.
	executorChanged(e *fsm.Executor, event string)
	// rescanned is called when changes were missed, after executorChanged for each that lives.
	rescanned()
	// recorded tells of a status that is committed and not yet acknowledged.
	recorded(st *mesos.TaskStatus, res *fsmpb.StatusResult)
	// failed tells that an executor of an agent, or without one the agent, is gone.
	failed(e mesosutil.EventFailure)
	// place uses the offers at hand, and asks for more or for none.
	place(ctx context.Context) error
	close()
}

// coarseDuty is the part of a session that gets executors.
type coarseDuty struct {
	*session
	launching     bool
	localitySince time.Time
	largest       room
	shuffles      *shuffles
}

func (*coarseDuty) ready(context.Context) error                     { return nil }
func (*coarseDuty) rescanned()                                      {}
func (*coarseDuty) recorded(*mesos.TaskStatus, *fsmpb.StatusResult) {}
func (*coarseDuty) failed(mesosutil.EventFailure)                   {}
func (s *coarseDuty) close()                                        { s.shuffles.close() }

func (s *coarseDuty) appChanged(ctx context.Context, ch *fsm.Change) error {
	switch ch.Event {
	case "totals":
		s.localitySince = s.cfg.Clock()
		s.reviving.wanted = true
		return s.cfg.failpoint(ctx, FailTotalsCommitted)
	case "admit":
		s.reviving.wanted = true
	}
	return nil
}

func (s *coarseDuty) executorChanged(e *fsm.Executor, _ string) {
	switch {
	case e.State.Terminal():
		s.reviving.wanted = true // what it held is free, and it may have to be replaced
		if a, found := s.app(); found && a.Excluded(e.AgentID, "", e.EndedMs) != nil && e.State != fsm.ExecutorKilled && e.State != fsm.ExecutorFinished {
			s.cfg.Logger.Warn("Excluding Mesos agent " + e.AgentID + " due to too many failures; is Spark installed on it?")
		}
	case e.State == fsm.ExecutorRunning:
		s.shuffles.running(e)
	}
}
