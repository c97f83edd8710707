package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const (
	updatesBuffered = 1024
	updatesPerEntry = 256
	// messageLimit bounds what is kept of a status message.
	messageLimit = 4 << 10
)

// recorder commits task statuses, in the order in which they come, and
// acknowledges each one after it is committed.
type recorder struct {
	*session
	updates chan *mesos.TaskStatus
}

func newRecorder(s *session) *recorder {
	return &recorder{session: s, updates: make(chan *mesos.TaskStatus, updatesBuffered)}
}

func (r *recorder) give(ctx context.Context, st *mesos.TaskStatus) error {
	select {
	case r.updates <- st:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *recorder) run(ctx context.Context) error {
	for {
		var batch []*mesos.TaskStatus
		select {
		case st := <-r.updates:
			batch = append(batch, st)
		case <-ctx.Done():
			return ctx.Err()
		}
		for more := true; more && len(batch) < updatesPerEntry; {
			select {
			case st := <-r.updates:
				batch = append(batch, st)
			default:
				more = false
			}
		}
		if err := r.record(ctx, batch); err != nil {
			return err
		}
	}
}

func (r *recorder) record(ctx context.Context, batch []*mesos.TaskStatus) error {
	if err := r.cfg.failpoint(ctx, FailStatusReceived); err != nil {
		return err
	}
	body := &fsmpb.RecordStatuses{}
	for _, st := range batch {
		body.Statuses = append(body.Statuses, StatusOf(st))
	}
	began := time.Now()
	res, err := r.prop.once(ctx, fsm.NumberRecordStatuses, body)
	if err != nil {
		// Not acknowledged, so Mesos sends them again, to whoever leads then.
		return fmt.Errorf("commit statuses: %w", err)
	}
	if len(res.Statuses) != len(batch) {
		return fmt.Errorf("commit %d statuses: %w", len(batch), fsm.ResultError(res))
	}
	if err := r.cfg.failpoint(ctx, FailStatusCommitted); err != nil {
		return err
	}
	reachable := true
	for i, st := range batch {
		r.after(st, res.Statuses[i])
		if reachable {
			reachable = r.acknowledge(ctx, st)
		}
	}
	r.m.recorded(len(batch), time.Since(began))
	return nil
}

// after acts on what Apply said of a committed status.
func (r *recorder) after(st *mesos.TaskStatus, res *fsmpb.StatusResult) {
	task, agent := st.TaskID.Value, st.GetAgentID().GetValue()
	code := fsm.Code(res.Code)
	r.m.status(st.GetState().String(), code)
	r.reconciler.heard(task)
	level := r.logger.Info
	if code == fsm.CodeDuplicate || code == fsm.CodeOK && st.GetReason() == mesos.REASON_RECONCILIATION {
		level = r.logger.Debug // comes for every task in every round
	}
	level("status", "task", task, "state", st.GetState().String(), "reason", reasonText(st), "message", st.GetMessage(), "outcome", code.String())
	if code == fsm.CodeUnknownTask {
		r.m.orphan()
		r.logger.Warn("mesos runs a task of this framework that nobody here knows; it is left alone", "task", task, "agent", agent)
	}
	if res.Kill {
		r.killer.stray(task, agent)
	} else {
		r.killer.settled(task)
	}
}

// acknowledge tells Mesos that a status is committed. It is false when Mesos
// cannot be reached: each further call would wait for its timeout, while updates
// queue up; Mesos sends again what was not acknowledged.
func (r *recorder) acknowledge(ctx context.Context, st *mesos.TaskStatus) bool {
	if len(st.UUID) == 0 {
		return true
	}
	err := r.mesos.Acknowledge(ctx, st.GetAgentID().GetValue(), st.TaskID.Value, st.UUID)
	if err != nil {
		r.logger.Debug("status was not acknowledged; mesos sends it again", "task", st.TaskID.Value, "error", err)
	}
	return err == nil || errors.Is(err, mesosutil.ErrCallRejected)
}

// reasonText is empty for a status without a reason, whose zero value would read
// as a failed executor.
func reasonText(st *mesos.TaskStatus) string {
	if st.Reason == nil {
		return ""
	}
	return st.Reason.String()
}

// StatusOf is what the state keeps of a TaskStatus. Texts are made valid UTF-8,
// which Mesos does not promise: a status that cannot be encoded would come again
// for ever and end each session.
func StatusOf(st *mesos.TaskStatus) *fsm.Status {
	out := &fsm.Status{
		TaskId:     clip(st.TaskID.Value, messageLimit),
		State:      int32(st.GetState()),
		Message:    clip(st.GetMessage(), messageLimit),
		AgentId:    clip(st.GetAgentID().GetValue(), messageLimit),
		ExecutorId: clip(st.GetExecutorID().GetValue(), messageLimit),
		Timestamp:  st.GetTimestamp(),
		Uuid:       st.UUID,
	}
	if st.Source != nil {
		out.HasSource, out.Source = true, int32(*st.Source)
	}
	if st.Reason != nil {
		out.HasReason, out.Reason = true, int32(*st.Reason)
	}
	if st.Healthy != nil {
		out.HasHealthy, out.Healthy = true, *st.Healthy
	}
	return out
}
