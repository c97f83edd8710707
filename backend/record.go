package backend

import (
	"context"
	"fmt"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// record commits the statuses at hand, in the order in which they came, and
// acknowledges each one after that.
func (s *session) record(ctx context.Context) error {
	if len(s.updates) == 0 {
		return nil
	}
	if err := s.cfg.failpoint(ctx, FailStatusReceived); err != nil {
		return err
	}
	batch := s.updates
	s.updates = nil
	body := &fsmpb.RecordExecutorStatuses{AppId: s.cfg.AppID}
	for _, st := range batch {
		body.Statuses = append(body.Statuses, statusOf(st))
	}
	r, err := s.propose(ctx, fsm.NumberRecordExecutorStatuses, body)
	if err != nil {
		// Not acknowledged, so Mesos sends them again, to whoever leads then.
		return fmt.Errorf("commit statuses: %w", err)
	}
	if len(r.Statuses) != len(batch) {
		return fmt.Errorf("commit %d statuses: %w", len(batch), fsm.ResultError(r))
	}
	if err := s.cfg.failpoint(ctx, FailStatusCommitted); err != nil {
		return err
	}
	for i, st := range batch {
		s.recorded(ctx, st, r.Statuses[i])
	}
	return nil
}

// recorded acknowledges a committed status and acts on what Apply said of it.
func (s *session) recorded(ctx context.Context, st *mesos.TaskStatus, res *fsmpb.StatusResult) {
	task, agent := st.TaskID.Value, st.GetAgentID().GetValue()
	code := fsm.Code(res.Code)
	s.questions.heard(task)
	s.m.statuses.WithLabelValues(st.GetState().String(), code.String()).Inc()
	reason := "" // not the first of all reasons, which an unset one reads as
	if st.Reason != nil {
		reason = st.Reason.String()
	}
	s.cfg.Logger.Info(fmt.Sprintf("Mesos task %s is now %s", task, st.GetState()), "reason", reason,
		"message", st.GetMessage(), "outcome", code.String())
	s.duty.recorded(st, res)
	if len(st.UUID) > 0 {
		if err := s.mesos.Acknowledge(ctx, agent, task, st.UUID); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Debug("status was not acknowledged; mesos sends it again", "task", task, "error", err)
		}
	}
	if res.Kill {
		s.cfg.Logger.Warn("killing a task that is no executor of this application any more", "task", task, "agent", agent)
		s.kills.add(task, agent, s.cfg.KillAgain, true)
	} else {
		s.kills.settled(task)
	}
}

// statusOf is what the state keeps of a TaskStatus. Texts are made valid UTF-8,
// which Mesos does not promise: a status that cannot be encoded would come again
// for ever and end each session.
func statusOf(st *mesos.TaskStatus) *fsm.Status {
	out := &fsm.Status{
		TaskId: clip(st.TaskID.Value), State: int32(st.GetState()), Message: clip(st.GetMessage()),
		AgentId: clip(st.GetAgentID().GetValue()), ExecutorId: clip(st.GetExecutorID().GetValue()),
		Timestamp: st.GetTimestamp(), Uuid: st.UUID,
	}
	if st.Source != nil {
		out.HasSource, out.Source = true, int32(*st.Source)
	}
	if st.Reason != nil {
		out.HasReason, out.Reason = true, int32(*st.Reason)
	}
	return out
}

func clip(s string) string {
	if len(s) > messageLimit {
		s = s[:messageLimit]
	}
	return strings.ToValidUTF8(s, "")
}
