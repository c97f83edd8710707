package backend

import (
	"context"
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// loss is an executor that is gone. Until that is committed its agent gets no
// tasks. Mesos tells of the end of each task by a status of its own, and one that
// finished before has a result to deliver, so they are waited for.
type loss struct {
	first  uint64 // of the executor meant
	reason string
	due    time.Time // then the tasks that are left count as lost
}

// lose notes that the executor on an agent is gone.
func (d *fineDuty) lose(agentID, reason string, wait time.Duration) {
	a, found := d.app()
	if !found {
		return
	}
	if x := a.OnAgent(agentID); x != nil && d.losses[agentID] == nil {
		due := d.cfg.Clock().Add(wait)
		d.losses[agentID] = &loss{x.First, reason, due}
		d.wakeBy(due)
	}
}

// failed tells that an executor, or an agent and with it what runs there, is gone.
func (d *fineDuty) failed(e mesosutil.EventFailure) {
	reason := "agent lost"
	if e.ExecutorID != "" {
		if e.ExecutorID != e.AgentID {
			return // none of ours
		}
		d.cfg.Logger.Info("Mesos executor lost: " + e.ExecutorID)
		if reason = "executor lost"; e.Status != nil {
			reason = fmt.Sprintf("executor exited with status %d", *e.Status)
		}
	}
	d.lose(e.AgentID, reason, d.cfg.LossWait)
}

// noteLoss notes what a status of a task says of its executor. Spark forgets the
// executor at any task that fails, though it lives.
func (d *fineDuty) noteLoss(st *mesos.TaskStatus, code fsm.Code) {
	if st.Reason == nil || code != fsm.CodeOK {
		return
	}
	switch *st.Reason {
	case mesos.REASON_EXECUTOR_TERMINATED, mesos.REASON_EXECUTOR_REGISTRATION_TIMEOUT, mesos.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
		mesos.REASON_CONTAINER_LAUNCH_FAILED, mesos.REASON_CONTAINER_LIMITATION, mesos.REASON_CONTAINER_LIMITATION_DISK,
		mesos.REASON_CONTAINER_LIMITATION_MEMORY, mesos.REASON_CONTAINER_PREEMPTED, mesos.REASON_CONTAINER_UPDATE_FAILED,
		mesos.REASON_AGENT_REMOVED, mesos.REASON_AGENT_REMOVED_BY_OPERATOR, mesos.REASON_AGENT_UNKNOWN:
	case mesos.REASON_TASK_INVALID:
		// The executor is another one than the log says, or none, unless it has tasks.
		if d.liveOn(st.GetAgentID().GetValue(), func(e *fsm.Executor) bool { return e.StartedMs != 0 }) > 0 {
			return
		}
	default:
		return
	}
	// An executor that was started since is not meant, if a status comes late.
	e, found := d.cfg.State.Executor(d.cfg.AppID, st.TaskID.Value)
	if a, known := d.app(); found && known {
		if x := a.OnAgent(e.AgentID); x != nil && x.First == e.First {
			d.lose(e.AgentID, st.GetMessage(), d.cfg.LossWait)
		}
	}
}

func (d *fineDuty) liveOn(agentID string, counts func(*fsm.Executor) bool) (n int) {
	d.cfg.State.View().Live(d.cfg.AppID, func(e *fsm.Executor) bool {
		if e.AgentID == agentID && counts(e) {
			n++
		}
		return true
	})
	return n
}

func every(*fsm.Executor) bool { return true }

// bury commits the ends of executors of which all tasks are over, or which took
// too long.
func (d *fineDuty) bury(ctx context.Context, now time.Time) error {
	a, found := d.app()
	if !found {
		return nil
	}
	for agent, l := range d.losses {
		if x := a.OnAgent(agent); x == nil || x.First != l.first {
			delete(d.losses, agent)
			continue
		}
		if now.Before(l.due) && d.liveOn(agent, every) > 0 {
			d.wakeBy(l.due)
			continue
		}
		r, err := d.propose(ctx, fsm.NumberEndAgentExecutor, &fsmpb.EndAgentExecutor{
			AppId: a.ID, AgentId: agent, First: l.first, Reason: clip(l.reason),
		})
		if err == nil {
			err = fsm.ResultError(r)
		}
		if err != nil {
			return fmt.Errorf("commit the end of the executor on %s: %w", agent, err)
		}
		delete(d.losses, agent)
		d.reviving.wanted = true
	}
	return nil
}
