package mesosutil

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
)

// maxRefuse is the longest filter that Mesos takes; it treats more as an error.
const maxRefuse = 365 * 24 * time.Hour

// DriverTask names a task to reconcile. AgentID may be "" when unknown; with
// it Mesos can answer for a task whose agent is still re-registering.
type DriverTask struct{ TaskID, AgentID string }

// Every call waits until the master has taken it (HTTP 202), which says that
// it is valid and not that it is done: results come as events. A failed call
// returns a *CallError. Calls made one after the other arrive in that order;
// calls made at the same time, in any order.

// Accept launches tasks on offers that are all of one agent. What tasks leave
// over is refused for the given time; a negative refuse leaves that to Mesos
// (5 s), and more than 365 days count as that. Launch no task whose intent is
// not committed. Without tasks the offers are declined.
func (d *Driver) Accept(ctx context.Context, offerIDs []string, tasks []mesos.TaskInfo, refuse time.Duration) error {
	if len(tasks) == 0 {
		return d.Decline(ctx, offerIDs, refuse)
	}
	return d.AcceptOperations(ctx, offerIDs, []mesos.Offer_Operation{calls.OpLaunch(tasks...)}, refuse)
}

// AcceptOperations is Accept for any operations, such as RESERVE before
// LAUNCH. If an offer of them is no longer held, or is being used by another
// call, nothing is sent and the error is ErrStaleOffer. The offers stay held
// after a failed call.
func (d *Driver) AcceptOperations(ctx context.Context, offerIDs []string, operations []mesos.Offer_Operation, refuse time.Duration) error {
	call := calls.Accept(calls.OfferOperations(operations).WithOffers(offers(offerIDs)...)).With(refuseFor(refuse))
	s, err := d.begin(func(s *subscription) string {
		if len(offerIDs) == 0 {
			return "no offer given"
		}
		for _, id := range offerIDs {
			if s.offers[id] != offerHeld {
				return id
			}
		}
		return ""
	}, offerIDs, call)
	if err != nil {
		return err
	}
	return d.finish(ctx, s, call, offerIDs)
}

// Decline gives offers back for the given time (see Accept for its range).
// Those that are no longer held are left out; with none left nothing is sent.
func (d *Driver) Decline(ctx context.Context, offerIDs []string, refuse time.Duration) error {
	var held []string
	d.mu.Lock()
	if s := d.live(); s != nil {
		held = slices.DeleteFunc(slices.Clone(offerIDs), func(id string) bool { return s.offers[id] != offerHeld })
	}
	d.mu.Unlock()
	if len(held) == 0 {
		return nil
	}
	call := calls.Decline(offers(held)...).With(refuseFor(refuse))
	s, err := d.begin(nil, held, call)
	if err != nil {
		return err
	}
	return d.finish(ctx, s, call, held)
}

// AcceptInverse agrees to give back the resources of inverse offers.
func (d *Driver) AcceptInverse(ctx context.Context, offerIDs []string) error {
	return d.send(ctx, calls.AcceptInverseOffers(offers(offerIDs)...))
}

// DeclineInverse does not agree to give back the resources of inverse offers.
func (d *Driver) DeclineInverse(ctx context.Context, offerIDs []string, refuse time.Duration) error {
	return d.send(ctx, calls.DeclineInverseOffers(offers(offerIDs)...).With(refuseFor(refuse)))
}

// Kill asks to end a task; agentID may be "". grace, when given, replaces the
// task's own kill policy: the time between SIGTERM and SIGKILL. Mesos forgets
// a kill that does not reach its agent: send it again until a terminal status
// comes. A task that Mesos does not know is answered with TASK_LOST or, for a
// PARTITION_AWARE framework, TASK_UNKNOWN or TASK_GONE.
func (d *Driver) Kill(ctx context.Context, taskID, agentID string, grace *time.Duration) error {
	call := calls.Kill(taskID, agentID)
	if grace != nil {
		call.Kill.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: max(0, grace.Nanoseconds())}}
	}
	return d.send(ctx, call)
}

// Acknowledge confirms a status update, after which the agent forgets it and
// sends the task's next one. Only updates with a UUID want that; without one
// nothing is sent. Commit the status first.
func (d *Driver) Acknowledge(ctx context.Context, agentID, taskID string, uuid []byte) error {
	if len(uuid) == 0 {
		return nil
	}
	return d.send(ctx, calls.Acknowledge(agentID, taskID, uuid))
}

// Reconcile asks for the present status of each of these tasks (explicit), or
// with nil of all that Mesos knows of this framework (implicit). An empty
// list that is not nil asks for nothing. The answers are updates without UUID.
func (d *Driver) Reconcile(ctx context.Context, tasks []DriverTask) error {
	if tasks != nil && len(tasks) == 0 {
		return nil
	}
	call := calls.Reconcile()
	for _, t := range tasks {
		entry := scheduler.Call_Reconcile_Task{TaskID: mesos.TaskID{Value: t.TaskID}}
		if t.AgentID != "" {
			entry.AgentID = &mesos.AgentID{Value: t.AgentID}
		}
		call.Reconcile.Tasks = append(call.Reconcile.Tasks, entry)
	}
	return d.send(ctx, call)
}

// Revive drops all filters and asks for offers again, for these roles or for
// all of the framework's.
func (d *Driver) Revive(ctx context.Context, roles ...string) error {
	if len(roles) == 0 {
		return d.send(ctx, calls.Revive())
	}
	return d.send(ctx, calls.ReviveWith(roles))
}

// Suppress stops offers for these roles, or for all of the framework's, until
// Revive or the next subscription.
func (d *Driver) Suppress(ctx context.Context, roles ...string) error {
	if len(roles) == 0 {
		return d.send(ctx, calls.Suppress())
	}
	return d.send(ctx, calls.SuppressWith(roles))
}

// Message sends data to an executor, at most once and without confirmation.
func (d *Driver) Message(ctx context.Context, agentID, executorID string, data []byte) error {
	return d.send(ctx, calls.Message(agentID, executorID, data))
}

// Shutdown ends an executor and all its tasks.
func (d *Driver) Shutdown(ctx context.Context, executorID, agentID string) error {
	return d.send(ctx, calls.Shutdown(executorID, agentID))
}

// Teardown removes the framework from Mesos for good and ends all its tasks;
// Run then returns nil. To leave the tasks running, end Run's context instead.
func (d *Driver) Teardown(ctx context.Context) error {
	d.teardown.Lock()
	defer d.teardown.Unlock()
	call := &scheduler.Call{Type: scheduler.Call_TEARDOWN}
	s, err := d.begin(nil, nil, call)
	if err != nil {
		return err
	}
	err = d.finish(ctx, s, call, nil)
	var failed *CallError
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		d.tornDown = teardownDone
		s.cancel(errTornDown)
	case errors.As(err, &failed) && !failed.NoEffect():
		d.tornDown = teardownSent
	}
	return err
}

func (d *Driver) send(ctx context.Context, call *scheduler.Call) error {
	s, err := d.begin(nil, nil, call)
	if err != nil {
		return err
	}
	return d.finish(ctx, s, call, nil)
}

// begin ties a call to the subscription of this moment and takes the offers
// that it uses. stale, when given, names an offer that rules the call out.
// Each success must be followed by finish.
func (d *Driver) begin(stale func(*subscription) string, take []string, call *scheduler.Call) (*subscription, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.live()
	if s == nil {
		return nil, d.refused(call, ErrNotSubscribed, "")
	}
	if stale != nil {
		if id := stale(s); id != "" {
			return nil, d.refused(call, ErrStaleOffer, id)
		}
	}
	for _, id := range take {
		s.offers[id] = offerInCall
	}
	call.FrameworkID = &mesos.FrameworkID{Value: d.frameworkID}
	d.inFlight.Add(1)
	return s, nil
}

// live is the current subscription, unless it is already being left: after
// Teardown, at the end of Run, when the master fell silent or another leads.
// The caller holds mu.
func (d *Driver) live() *subscription {
	if d.current != nil && d.current.ctx.Err() == nil {
		return d.current
	}
	return nil
}

func (d *Driver) refused(call *scheduler.Call, kind error, detail string) error {
	d.metrics.calls.WithLabelValues(call.Type.String(), callOutcome(kind)).Inc()
	return &CallError{Call: call.Type.String(), Kind: kind, Detail: detail}
}

// finish sends the call. The offers that begin took are then used up or, if
// the call failed and they were not rescinded meanwhile, held again.
func (d *Driver) finish(ctx context.Context, s *subscription, call *scheduler.Call, taken []string) error {
	defer d.inFlight.Done()
	began := time.Now()
	err := d.post(ctx, s, call)
	d.metrics.observeCall(call.Type.String(), began, err)
	if err != nil {
		d.log.Debug("call failed", "err", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range taken {
		switch {
		case err == nil:
			delete(s.offers, id)
		case s.offers[id] == offerInCall:
			s.offers[id] = offerHeld
		}
	}
	if s == d.current {
		d.metrics.offersHeld.Set(float64(len(s.offers)))
	}
	return err
}

// post sends the call with the stream id of s, so that the master refuses it
// if any other subscription has begun since.
func (d *Driver) post(ctx context.Context, s *subscription, call *scheduler.Call) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	defer cancel()
	defer context.AfterFunc(s.run, cancel)()
	failure := &CallError{Call: call.Type.String()}
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := d.wire.request(traced, s.endpoint, s.streamID, call)
	if err != nil {
		failure.Kind, failure.Err = ErrCallRejected, err
		return failure
	}
	resp, err := d.wire.client.Do(req)
	if err != nil {
		failure.Kind, failure.Err = ErrMasterGone, err
		if sent.Load() {
			failure.Kind = ErrCallOutcomeUnknown
		}
		return failure
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusAccepted || resp.StatusCode == http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorText)) // to use the connection again
		return nil
	}
	failure.Status, failure.Detail = resp.StatusCode, errorText(resp.Body)
	failure.Kind = callKind(resp.StatusCode, failure.Detail)
	return failure
}

func offers(ids []string) []mesos.OfferID {
	out := make([]mesos.OfferID, len(ids))
	for i, id := range ids {
		out[i].Value = id
	}
	return out
}

func refuseFor(d time.Duration) scheduler.CallOpt {
	if d < 0 {
		return func(*scheduler.Call) {}
	}
	return calls.RefuseSeconds(min(d, maxRefuse))
}
