package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// carryOut turns a plan into intents, and committed intents into ACCEPTs.
func (p *placer) carryOut(ctx context.Context, plan Plan) error {
	for _, r := range plan.Rejects {
		if err := p.reject(ctx, r.DriverID, r.Reason); err != nil {
			return err
		}
	}
	if len(plan.Accepts) > 0 {
		if err := p.launch(ctx, plan); err != nil {
			return err
		}
	}
	p.decline(ctx, plan.Declines, p.cfg.RejectOffer)
	p.forgetOffers(plan.Declines)
	return nil
}

func (p *placer) reject(ctx context.Context, id, reason string) error {
	p.logger.Warn("driver can never be launched", "driver", id, "reason", reason)
	_, err := p.prop.once(ctx, fsm.NumberRejectDriver, &fsmpb.RejectDriver{DriverId: id, Reason: clip(reason, messageLimit)})
	return err
}

// launch carries out the accepts of a plan, a part after the other: each part is
// one log entry. What comes from Mesos meanwhile ends the plan where it concerns
// it: offers of an earlier subscription, or rescinded, launch nothing.
func (p *placer) launch(ctx context.Context, plan Plan) error {
	frameworkID, stream := p.state.Framework().ID, p.streams
	p.rescinded = make(map[string]bool)
	var used []string
	defer func() {
		p.forgetOffers(used)
		p.rescinded = nil
	}()
	filter := acceptFilter
	if plan.More { // the rest of these offers is wanted at once
		filter, p.fresh = 0, true
	}
	for accepts := plan.Accepts; len(accepts) > 0; {
		n := oneEntry(accepts)
		part := slices.DeleteFunc(slices.Clone(accepts[:n]), func(a Accept) bool {
			return slices.ContainsFunc(a.OfferIDs, func(id string) bool { return p.rescinded[id] })
		})
		if len(part) < n {
			p.fresh, p.scan = true, true // its drivers are to be placed again
		}
		for _, a := range part {
			used = append(used, a.OfferIDs...)
		}
		if err := p.launchPart(ctx, part, frameworkID, filter); err != nil {
			return err
		}
		accepts = accepts[n:]
		if p.drain(); p.streams != stream {
			p.fresh, p.scan = true, true
			return nil
		}
	}
	return nil
}

// oneEntry is how many accepts, from the first on, make one log entry.
func oneEntry(accepts []Accept) int {
	launches := 0
	for i, a := range accepts {
		if launches += len(a.Launches); launches > launchesPerEntry && i > 0 {
			return i
		}
	}
	return len(accepts)
}

// launchPart commits the intents of some accepts as one entry, then accepts.
func (p *placer) launchPart(ctx context.Context, accepts []Accept, frameworkID string, filter time.Duration) error {
	body := &fsmpb.LaunchDrivers{}
	for _, a := range accepts {
		for _, l := range a.Launches {
			task := fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt)
			p.reconciler.accepting(task)
			body.Launches = append(body.Launches, &fsmpb.Launch{
				DriverId: l.Driver.ID, Attempt: l.Driver.NextAttempt, TaskId: task,
				AgentId: a.AgentID, AgentHost: clip(a.Host, hostLimit), FrameworkId: frameworkID + "-" + task,
			})
		}
	}
	if len(body.Launches) == 0 {
		return nil
	}
	began := time.Now()
	res, err := p.prop.once(ctx, fsm.NumberLaunchDrivers, body)
	if err != nil {
		return fmt.Errorf("commit launch intents: %w", err)
	}
	p.m.intents(len(body.Launches), time.Since(began))
	if err := p.cfg.failpoint(ctx, FailIntentCommitted); err != nil {
		return err
	}
	outcomes := res.Launches
	if len(outcomes) != len(body.Launches) {
		return fmt.Errorf("commit %d launch intents: %w", len(body.Launches), fsm.ResultError(res))
	}
	for _, a := range accepts {
		n := len(a.Launches)
		if err := p.accept(ctx, a, outcomes[:n], frameworkID, filter); err != nil {
			return err
		}
		outcomes = outcomes[n:]
	}
	return p.cfg.failpoint(ctx, FailAccepted)
}

// accept sends the tasks of one agent whose intents are committed.
func (p *placer) accept(ctx context.Context, a Accept, outcomes []*fsmpb.LaunchResult, frameworkID string, filter time.Duration) error {
	var tasks []mesos.TaskInfo
	for i, l := range a.Launches {
		if code := fsm.Code(outcomes[i].Code); code.Refused() {
			p.logger.Info("launch was overtaken", "driver", l.Driver.ID, "outcome", outcomes[i].Message)
			p.reconciler.accepted(fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt))
			continue
		}
		task, err := p.task(a, l, frameworkID)
		if err != nil {
			p.logger.Error("task cannot be built", "driver", l.Driver.ID, "error", err)
			if err := p.undo(ctx, []string{fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt)}, a.AgentID, fsm.TaskError, err); err != nil {
				return err
			}
			continue
		}
		tasks = append(tasks, task)
	}
	if len(tasks) == 0 {
		p.decline(ctx, a.OfferIDs, acceptFilter)
		return nil
	}
	p.held = p.held || filter > 0
	if err := p.mesos.Accept(ctx, a.OfferIDs, tasks, filter); err != nil {
		return p.notAccepted(ctx, a, tasks, err)
	}
	for i := range tasks {
		p.reconciler.accepted(tasks[i].TaskID.Value)
		p.logger.Info("driver launched", "task", tasks[i].TaskID.Value, "agent", a.AgentID, "host", a.Host)
	}
	return nil
}

// notAccepted deals with a failed ACCEPT. Where it surely had no effect the
// attempts are taken back at once. Where it may still arrive, only another
// subscription makes sure that it does not; Mesos is asked after that.
func (p *placer) notAccepted(ctx context.Context, a Accept, tasks []mesos.TaskInfo, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var call *mesosutil.CallError
	if !errors.As(err, &call) || !call.NoEffect() {
		p.logger.Warn("nobody knows whether mesos took a launch; subscribing again to be sure", "agent", a.AgentID, "error", err)
		p.end(errFence)
		return errFence
	}
	p.logger.Info("launch was not taken; its drivers go back to the queue", "agent", a.AgentID, "error", err)
	p.decline(ctx, a.OfferIDs, acceptFilter) // Mesos still counts them as offered to us
	ids := make([]string, len(tasks))
	for i := range tasks {
		ids[i] = tasks[i].TaskID.Value
	}
	return p.undo(ctx, ids, a.AgentID, fsm.TaskDropped, err)
}

// undo records that attempts were never sent.
func (p *placer) undo(ctx context.Context, tasks []string, agentID string, state fsm.TaskState, why error) error {
	body := &fsmpb.RecordStatuses{}
	for _, task := range tasks {
		defer p.reconciler.accepted(task)
		body.Statuses = append(body.Statuses, &fsm.Status{
			TaskId: task, State: int32(state), AgentId: agentID, Message: clip("not sent to Mesos: "+why.Error(), messageLimit),
			Timestamp: float64(p.cfg.Clock().UnixMilli()) / 1000,
		})
	}
	_, err := p.prop.once(ctx, fsm.NumberRecordStatuses, body)
	return err
}

func (p *placer) task(a Accept, l Launch, frameworkID string) (mesos.TaskInfo, error) {
	desc, err := p.Description(l.Driver)
	if err != nil {
		return mesos.TaskInfo{}, err
	}
	task := fsm.TaskID(l.Driver.ID, l.Driver.NextAttempt)
	return launch.Task(p.cfg.Launch, desc, launch.Placement{
		TaskID: task, AgentID: a.AgentID, Hostname: a.Host, FrameworkID: frameworkID + "-" + task,
		Attempt: int(l.Driver.NextAttempt), Resources: l.Resources,
	})
}
