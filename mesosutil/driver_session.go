package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gogo/protobuf/proto"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/framing"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
)

const (
	maxRedirects     = 5
	defaultHeartbeat = 15 * time.Second // Mesos' DEFAULT_HEARTBEAT_INTERVAL
	maxHeartbeat     = time.Hour
)

var (
	errStreamEnded = errors.New("the mesos master closed the event stream")
	errTornDown    = errors.New("the framework was torn down")
	errNoAnswer    = errors.New("no answer within the call timeout")
)

// subscription is one event stream and the offers that came over it.
type subscription struct {
	ctx      context.Context // of the stream; a child of Run's
	cancel   context.CancelCauseFunc
	run      context.Context // of Run; calls outlive the stream but not Run
	endpoint string
	streamID string
	body     io.ReadCloser
	watchdog *time.Timer
	offers   map[string]offerUse // outstanding offers; guarded by Driver.mu
}

// offerUse is what a call may do with an outstanding offer.
type offerUse int

const (
	offerUnknown offerUse = iota // rescinded, used up, or of another subscription
	offerHeld
	offerInCall // a call that uses it is in flight
)

func (s *subscription) close() {
	s.watchdog.Stop()
	s.cancel(errStreamEnded)
	if s.body != nil {
		_ = s.body.Close()
	}
}

// cause prefers the reason for which the driver itself ended the stream over
// the "context canceled" that reading it then gives.
func (s *subscription) cause(err error) error {
	if why := context.Cause(s.ctx); why != nil {
		return why
	}
	if errors.Is(err, io.EOF) {
		return errStreamEnded
	}
	return err
}

// subscribe opens a stream at endpoint or where that master redirects to.
func (d *Driver) subscribe(ctx context.Context, endpoint string) (*subscription, error) {
	for range maxRedirects + 1 {
		if err := d.gate(ctx); err != nil {
			return nil, err
		}
		s, next, err := d.subscribeAt(ctx, endpoint)
		if err != nil {
			return nil, fmt.Errorf("subscribing at %s: %w", baseURL(endpoint), err)
		}
		if s != nil {
			return s, nil
		}
		d.log.Debug("redirected", "from", baseURL(endpoint), "to", baseURL(next))
		endpoint = next
	}
	return nil, fmt.Errorf("%w: redirected more than %d times, last to %s", ErrNoLeadingMaster, maxRedirects, baseURL(endpoint))
}

// subscribeAt sends one SUBSCRIBE: a subscription, the endpoint to go to
// instead, or an error.
func (d *Driver) subscribeAt(ctx context.Context, endpoint string) (*subscription, string, error) {
	s := &subscription{run: ctx, endpoint: endpoint, offers: map[string]offerUse{}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.watchdog = time.AfterFunc(d.cfg.CallTimeout, func() { s.cancel(errNoAnswer) })
	req, err := d.wire.request(s.ctx, endpoint, "", d.subscribeCall())
	if err != nil {
		s.close()
		return nil, "", err
	}
	resp, err := d.wire.client.Do(req) //nolint:bodyclose // subscription.close closes it
	if err != nil {
		defer s.close()
		return nil, "", s.cause(err)
	}
	s.body = resp.Body
	if resp.StatusCode == http.StatusOK {
		if s.streamID, err = d.wire.checkStream(resp); err == nil {
			return s, "", nil
		}
		s.close()
		return nil, "", err
	}
	defer s.close()
	if resp.StatusCode == http.StatusTemporaryRedirect {
		next, err := d.wire.redirect(resp)
		return nil, next, err
	}
	return nil, "", refusal(resp)
}

func refusal(resp *http.Response) error {
	text := errorText(resp.Body)
	if kind := subscribeRefusal(resp.StatusCode); kind != nil {
		return fmt.Errorf("%w (HTTP %d): %s", kind, resp.StatusCode, text)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return fmt.Errorf("%w: %s", ErrNoLeadingMaster, text)
	}
	return fmt.Errorf("HTTP %d: %s", resp.StatusCode, text)
}

// subscribeCall carries the id both in the call and in the FrameworkInfo,
// whatever the failover timeout (mesos-go's controller leaves it out for 0).
func (d *Driver) subscribeCall() *scheduler.Call {
	info := proto.Clone(d.framework).(*mesos.FrameworkInfo)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frameworkID != "" {
		info.ID = &mesos.FrameworkID{Value: d.frameworkID}
	}
	return calls.Subscribe(info)
}

// follow reads the stream to its end.
func (d *Driver) follow(ctx context.Context, s *subscription, masters []string) (subscribed bool, err error) {
	defer s.close()
	defer d.disconnected(s)
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		d.watchMasters(s, masters)
	}()
	defer func() { s.cancel(errStreamEnded); <-changed }()

	records := newRecordReader(s.body, d.cfg.MaxRecordBytes)
	decoder := d.wire.codec.NewDecoder(encoding.Source(func() framing.Reader { return records }))
	silence := d.cfg.CallTimeout
	for {
		// The watchdog runs only while the driver waits for the master, never
		// while it waits for the reader of Events.
		s.watchdog.Reset(silence)
		ev := new(scheduler.Event)
		err := decoder.Decode(ev)
		s.watchdog.Stop()
		if err != nil {
			return subscribed, s.cause(err)
		}
		d.metrics.events.WithLabelValues(ev.Type.String()).Inc()
		if ev.Type == scheduler.Event_SUBSCRIBED && !subscribed {
			if silence, err = d.subscribedTo(ctx, s, ev.Subscribed); err != nil {
				return false, err
			}
			subscribed = true
			continue
		}
		if err := d.handle(s, ev, subscribed); err != nil {
			return subscribed, err
		}
	}
}

// watchMasters ends the stream when the detector names another leader.
func (d *Driver) watchMasters(s *subscription, masters []string) {
	retry := backoff{least: d.cfg.BackoffMin, most: d.cfg.BackoffMax}
	for s.ctx.Err() == nil {
		now, err := d.detector.Detect(s.ctx, masters)
		switch {
		case err != nil, len(now) == 0:
			retry.wait(s.ctx)
		case now[0] == masters[0]:
			masters = slices.Clone(now)
			retry.reset()
			retry.wait(s.ctx) // a detector that fails to block costs little
		default:
			s.cancel(fmt.Errorf("%w: %s", ErrMasterChanged, now[0]))
			return
		}
	}
}

// subscribedTo makes s the current subscription and tells so. It returns for
// how long the master may be silent.
func (d *Driver) subscribedTo(ctx context.Context, s *subscription, sub *scheduler.Event_Subscribed) (time.Duration, error) {
	if sub == nil || sub.FrameworkID == nil || sub.FrameworkID.Value == "" {
		return 0, errors.New("SUBSCRIBED without a framework id")
	}
	// The SUBSCRIBE may have waited in a queue for seconds, and leadership may
	// have gone meanwhile.
	if err := d.gate(ctx); err != nil {
		return 0, err
	}
	id, interval := sub.FrameworkID.Value, heartbeat(sub.HeartbeatIntervalSeconds)
	d.mu.Lock()
	if d.frameworkID != "" && d.frameworkID != id {
		d.mu.Unlock()
		return 0, fmt.Errorf("%w: the master answered with id %s for %s", ErrFrameworkRemoved, id, d.frameworkID)
	}
	again := d.subscribed
	d.frameworkID, d.current, d.subscribed, d.lastLeader = id, s, true, s.endpoint
	d.lastErr, d.since = nil, time.Now()
	d.mu.Unlock()
	d.metrics.subscriptions.WithLabelValues("subscribed").Inc()
	d.metrics.subscribed.Set(1)
	d.log.Info("subscribed to Mesos", "framework", id, "master", baseURL(s.endpoint), "again", again)
	event := EventSubscribed{
		FrameworkID: id, Master: sub.MasterInfo, MasterURL: baseURL(s.endpoint),
		HeartbeatInterval: interval, Resubscribed: again,
	}
	if !d.deliver(s.ctx, event) {
		return 0, s.cause(nil)
	}
	d.watchFor(s)
	return time.Duration(d.cfg.HeartbeatMisses) * interval, nil
}

// watchFor makes the watchdog speak of heartbeats from here on.
func (d *Driver) watchFor(s *subscription) {
	s.watchdog.Stop()
	s.watchdog = time.AfterFunc(time.Hour, func() { s.cancel(ErrHeartbeatMissed) })
}

func heartbeat(seconds *float64) time.Duration {
	if seconds == nil || !(*seconds > 0) {
		return defaultHeartbeat
	}
	if *seconds > maxHeartbeat.Seconds() {
		return maxHeartbeat
	}
	return max(time.Duration(*seconds*float64(time.Second)), time.Millisecond)
}

func (d *Driver) disconnected(s *subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == s {
		d.current, d.since = nil, time.Now()
		d.metrics.subscribed.Set(0)
		d.metrics.offersHeld.Set(0)
	}
}

// handle deals with every event but the SUBSCRIBED that opens the stream.
func (d *Driver) handle(s *subscription, ev *scheduler.Event, subscribed bool) error {
	switch ev.Type {
	case scheduler.Event_HEARTBEAT:
		return nil
	case scheduler.Event_ERROR:
		return d.handleError(s, ev.Error, subscribed)
	}
	out := eventOf(ev)
	if out == nil {
		d.log.Debug("event left out", "type", ev.Type.String())
		return nil
	}
	d.track(s, out)
	// A subscription that is over, as after Teardown, does not wait for a
	// reader who may be gone.
	if !d.deliver(s.ctx, out) {
		return s.cause(nil)
	}
	return nil
}

func (d *Driver) handleError(s *subscription, e *scheduler.Event_Error, subscribed bool) error {
	message := ""
	if e != nil {
		message = e.Message
	}
	if err := streamError(message, subscribed); err != nil {
		return err
	}
	if !subscribed {
		return fmt.Errorf("the mesos master answers: %s", message)
	}
	d.log.Warn("error event from Mesos", "message", message)
	if !d.deliver(s.ctx, EventError{Message: message}) {
		return s.cause(nil)
	}
	return nil // the master closes the stream if it means to
}

// track keeps the set of held offers, before their event can be received.
func (d *Driver) track(s *subscription, ev Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch ev := ev.(type) {
	case EventOffers:
		for i := range ev.Offers {
			s.offers[ev.Offers[i].ID.Value] = offerHeld
		}
	case EventRescind:
		delete(s.offers, ev.OfferID)
	}
	d.metrics.offersHeld.Set(float64(len(s.offers)))
}
