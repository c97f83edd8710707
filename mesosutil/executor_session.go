package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/framing"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
)

var errAgentStream = errors.New("the agent closed the event stream")

// executorSession is one subscription, from SUBSCRIBE to the end of the stream.
type executorSession struct {
	driver     *ExecutorDriver
	ctx        context.Context
	cancel     context.CancelCauseFunc
	subscribed bool
	shutdown   bool
	sender     sync.WaitGroup
}

func (s *executorSession) run(ctx context.Context) error {
	d := s.driver
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.sender.Wait()
	defer s.cancel(errAgentStream)
	// Until SUBSCRIBED; after that the agent may say nothing for half an hour,
	// and TCP keep-alives tell whether it is there.
	patience := time.AfterFunc(d.cfg.CallTimeout, func() { s.cancel(errNoAnswer) })
	defer patience.Stop()
	resp, err := d.post(s.ctx, d.subscribeCall())
	if err != nil {
		return s.cause(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text := errorText(resp.Body)
		return &CallError{Call: "SUBSCRIBE", Kind: executorRefusal(resp.StatusCode, text), Status: resp.StatusCode, Detail: text}
	}
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != d.wire.codec.Type.ContentType() {
		return fmt.Errorf("the answer to SUBSCRIBE is %q: is %s a Mesos agent?", got, d.endpoint)
	}
	records := newRecordReader(resp.Body, d.cfg.MaxRecordBytes)
	decoder := d.wire.codec.NewDecoder(encoding.Source(func() framing.Reader { return records }))
	for {
		ev := new(executor.Event)
		if err := decoder.Decode(ev); err != nil {
			return s.cause(err)
		}
		if ev.Type == executor.Event_SUBSCRIBED && ev.Subscribed != nil && !s.subscribed {
			patience.Stop()
		}
		if err := s.handle(ev); err != nil {
			return err
		}
	}
}

// cause prefers the reason for which the driver itself ended the stream.
func (s *executorSession) cause(err error) error {
	if why := context.Cause(s.ctx); why != nil {
		return why
	}
	if errors.Is(err, io.EOF) {
		return errAgentStream
	}
	return err
}

// subscribeCall tells the agent what it has not acknowledged. Of a task it
// looks at the id only, so its data, which may be large, stays here.
func (d *ExecutorDriver) subscribeCall() *executor.Call {
	d.mu.Lock()
	var tasks []mesos.TaskInfo
	for _, t := range d.tasks {
		tasks = append(tasks, mesos.TaskInfo{Name: t.Name, TaskID: t.TaskID, AgentID: t.AgentID})
	}
	d.mu.Unlock()
	return calls.Subscribe(tasks, d.outbox.all(d.cfg.RetryInterval))
}

func (s *executorSession) handle(ev *executor.Event) error {
	d := s.driver
	switch {
	case ev.Type == executor.Event_SUBSCRIBED && ev.Subscribed != nil && !s.subscribed:
		return s.begin(ev.Subscribed)
	case ev.Type == executor.Event_ACKNOWLEDGED && ev.Acknowledged != nil:
		d.mu.Lock()
		delete(d.tasks, ev.Acknowledged.TaskID.Value)
		d.mu.Unlock()
		d.outbox.acknowledged(ev.Acknowledged.UUID)
		return nil
	case ev.Type == executor.Event_LAUNCH && ev.Launch != nil:
		d.mu.Lock()
		d.tasks[ev.Launch.Task.TaskID.Value] = ev.Launch.Task
		d.mu.Unlock()
		return s.deliver(ExecutorLaunch{Task: ev.Launch.Task})
	case ev.Type == executor.Event_LAUNCH_GROUP:
		return s.refuseGroup(ev.LaunchGroup)
	case ev.Type == executor.Event_KILL && ev.Kill != nil:
		return s.deliver(ExecutorKill{TaskID: ev.Kill.TaskID.Value, Policy: ev.Kill.KillPolicy})
	case ev.Type == executor.Event_MESSAGE && ev.Message != nil:
		return s.deliver(ExecutorMessage{Data: ev.Message.Data})
	case ev.Type == executor.Event_SHUTDOWN:
		s.shutdown = true
		return s.deliver(ExecutorShutdown{})
	case ev.Type == executor.Event_ERROR && ev.Error != nil:
		return fmt.Errorf("%w: %s", ErrExecutorRefused, ev.Error.Message)
	}
	return nil // HEARTBEAT, and what this driver does not know
}

// begin makes the subscription one that calls can be made on.
func (s *executorSession) begin(sub *executor.Event_Subscribed) error {
	d := s.driver
	s.subscribed = true
	event := ExecutorSubscribed{Executor: sub.ExecutorInfo, Framework: sub.FrameworkInfo, Agent: sub.AgentInfo}
	d.mu.Lock()
	event.Resubscribed = d.agentID != ""
	d.agentID = sub.AgentInfo.GetID().GetValue()
	d.running = s.ctx
	d.mu.Unlock()
	context.AfterFunc(s.ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.running == s.ctx {
			d.running = nil
		}
	})
	d.log.Info("subscribed to the agent", "agent", d.agentID, "again", event.Resubscribed)
	s.sender.Go(s.send)
	return s.deliver(event)
}

func (s *executorSession) deliver(ev ExecutorEvent) error {
	if !s.driver.deliver(s.ctx, ev) {
		return s.cause(nil)
	}
	return nil
}

// refuseGroup: this driver has no default executor's semantics to offer.
func (s *executorSession) refuseGroup(g *executor.Event_LaunchGroup) error {
	if g == nil {
		return nil
	}
	message := "task groups are for the default executor, not for this one"
	for _, t := range g.TaskGroup.Tasks {
		status := mesos.TaskStatus{TaskID: t.TaskID, State: mesos.TASK_ERROR.Enum(), Message: &message}
		// Without waiting for room: acknowledgements come on this goroutine.
		if err := s.driver.Update(expired, status); err != nil {
			s.driver.log.Error("task group refused, and no room to say so", "task", t.TaskID.Value, "err", err)
		}
	}
	return nil
}

// send brings updates to the agent, one after the other, as long as the
// subscription lasts.
func (s *executorSession) send() {
	d := s.driver
	retry := backoff{least: leastPause, most: time.Second}
	for {
		u, wait := d.outbox.next()
		if u == nil {
			s.idle(wait)
			if s.ctx.Err() != nil {
				return
			}
			continue
		}
		if s.ctx.Err() != nil {
			return
		}
		err := d.call(s.ctx, calls.Update(u.status))
		switch {
		case err == nil:
			retry.reset()
			d.outbox.taken(u, d.cfg.RetryInterval)
		case errors.Is(err, ErrStaleStream), errors.Is(err, ErrExecutorUnknown), errors.Is(err, ErrExecutorRefused), errors.Is(err, ErrUnauthorized):
			s.cancel(err)
			return
		default: // whether the agent has it or not: it knows updates by their UUID
			d.log.Debug("update not taken, trying again", "task", u.status.TaskID.Value, "err", err)
			retry.wait(s.ctx)
		}
	}
}

// idle waits for something to send.
func (s *executorSession) idle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-s.driver.outbox.wake:
	case <-timer.C:
	}
}

// executorRefusal reads the agent's answer. The texts are those of the
// executor API v1 in Mesos 1.x (slave/http.cpp).
func executorRefusal(status int, text string) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case strings.Contains(text, "cannot be found"):
		return ErrExecutorUnknown
	case strings.Contains(text, "is not subscribed"):
		return ErrStaleStream
	case status == http.StatusForbidden:
		return ErrUnauthorized
	case status == http.StatusServiceUnavailable:
		return ErrAgentRecovering
	case status >= 500:
		return ErrCallOutcomeUnknown
	}
	return ErrExecutorRefused
}
