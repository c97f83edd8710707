package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
)

const (
	executorPath     = "/api/v1/executor"
	maxExecutorRetry = 10 * time.Minute
	leastPause       = 20 * time.Millisecond // between tries at an agent that does not answer
)

// ExecutorDriver is an executor's connection to its Mesos agent over the v1
// executor API: NewExecutorDriver, then Run once, reading Events all the while.
// Its methods may be called from any goroutine.
//
// It keeps every update until the agent has acknowledged it, sends them in the
// order in which they were made, and subscribes again with those that are left
// when the agent comes back. An agent acknowledges an update when it has it on
// disk, and then sees it delivered to the scheduler.
type ExecutorDriver struct {
	cfg      ExecutorConfig
	wire     *driverWire
	endpoint string
	log      *slog.Logger
	events   chan ExecutorEvent
	started  atomic.Bool
	outbox   *outbox

	mu      sync.Mutex
	tasks   map[string]mesos.TaskInfo // launched, and no update of them acknowledged
	agentID string
	running context.Context // of Run; nil while there is no subscription
}

// NewExecutorDriver checks the configuration; nothing is sent before Run.
// Errors wrap ErrExecutorConfig.
func NewExecutorDriver(cfg ExecutorConfig) (*ExecutorDriver, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	driver := DriverConfig{CallTimeout: cfg.CallTimeout, TLS: cfg.TLS, Codec: cfg.Codec}
	codec, err := driver.codec()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExecutorConfig, err)
	}
	scheme := "http"
	if cfg.TLS != nil {
		scheme = "https"
	}
	return &ExecutorDriver{
		cfg: cfg, wire: newDriverWire(driver, codec, scheme), endpoint: scheme + "://" + cfg.AgentEndpoint + executorPath,
		log:    cfg.Logger.With("component", "executor", "executor", cfg.ExecutorID),
		events: make(chan ExecutorEvent, 64), tasks: map[string]mesos.TaskInfo{},
		outbox: newOutbox(cfg.MaxUnacknowledged, cfg.MaxUnacknowledgedBytes),
	}, nil
}

// Events is the one stream of events, in the order in which the agent sent
// them. Acknowledgements are read from the same connection: who reads Events
// must not wait in Update. The channel is closed when Run returns.
func (d *ExecutorDriver) Events() <-chan ExecutorEvent { return d.events }

// Run subscribes, and with Checkpoint again whenever the subscription ends,
// until
//   - ctx ends: ctx.Err(),
//   - the agent has told the executor to shut down and ended the stream: nil,
//   - it cannot go on: ErrAgentLost, ErrExecutorUnknown, ErrExecutorRefused or
//     ErrUnauthorized.
//
// When Run has returned no call is in flight and none will be sent; updates
// that were not acknowledged are lost.
func (d *ExecutorDriver) Run(ctx context.Context) error {
	if !d.started.CompareAndSwap(false, true) {
		return ErrDriverUsed
	}
	defer close(d.events)
	defer d.wire.close()
	defer d.outbox.end()
	lost := time.Now()
	for {
		s := &executorSession{driver: d}
		err := s.run(ctx)
		if s.subscribed {
			lost = time.Now()
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.shutdown && (!s.subscribed || d.outbox.flush(expired) == nil):
			return nil // an agent that says so at once takes no more updates
		case errors.Is(err, ErrExecutorUnknown), errors.Is(err, ErrExecutorRefused), errors.Is(err, ErrUnauthorized):
			return err
		case !d.cfg.Checkpoint:
			return fmt.Errorf("%w, and the framework does not checkpoint: %w", ErrAgentLost, err)
		}
		d.log.Warn("not subscribed to the agent, trying again", "err", err)
		if s.subscribed && !d.deliver(ctx, ExecutorDisconnected{Err: err}) {
			return ctx.Err()
		}
		left := d.cfg.RecoveryTimeout - time.Since(lost)
		if left <= 0 {
			return fmt.Errorf("%w: it did not come back within %v: %w", ErrAgentLost, d.cfg.RecoveryTimeout, err)
		}
		pause := leastPause + rand.N(d.cfg.SubscriptionBackoffMax+1)
		sleep(ctx, min(pause, left))
	}
}

// expired is a context that waits for nothing.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (d *ExecutorDriver) deliver(ctx context.Context, ev ExecutorEvent) bool {
	select {
	case d.events <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}

// Update takes a status and sees it to the agent; it does not wait for that,
// but for room where too many wait. UUID, source, executor and agent are filled
// in, and the time if there is none. Errors: ErrStatusSize, ErrExecutorDone,
// or ctx.Err().
func (d *ExecutorDriver) Update(ctx context.Context, s mesos.TaskStatus) error {
	id := uuid.New()
	now := float64(time.Now().UnixNano()) / 1e9
	s.UUID, s.Source = id[:], mesos.SOURCE_EXECUTOR.Enum()
	s.ExecutorID = &mesos.ExecutorID{Value: d.cfg.ExecutorID}
	if s.Timestamp == nil {
		s.Timestamp = &now
	}
	d.mu.Lock()
	if d.agentID != "" {
		s.AgentID = &mesos.AgentID{Value: d.agentID}
	}
	d.mu.Unlock()
	size := s.Size()
	if size > MaxStatusBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are taken", ErrStatusSize, size, MaxStatusBytes)
	}
	return d.outbox.add(ctx, s, size)
}

// Flush waits until the agent has acknowledged all updates. Errors:
// ErrExecutorDone or ctx.Err().
func (d *ExecutorDriver) Flush(ctx context.Context) error { return d.outbox.flush(ctx) }

// Message sends data to the framework's scheduler, once: Mesos does not
// guarantee that it arrives. Errors: *CallError; ErrExecutorDone.
func (d *ExecutorDriver) Message(ctx context.Context, data []byte) error {
	d.mu.Lock()
	running := d.running
	d.mu.Unlock()
	if running == nil {
		return &CallError{Call: "MESSAGE", Kind: ErrNotSubscribed}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(running, cancel)()
	return d.call(ctx, calls.Message(data))
}

// call sends a call other than SUBSCRIBE.
func (d *ExecutorDriver) call(ctx context.Context, call *executor.Call) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	defer cancel()
	name := call.Type.String()
	resp, err := d.post(ctx, call)
	if err != nil {
		return &CallError{Call: name, Kind: ErrCallOutcomeUnknown, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusAccepted {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorText)) // so that the connection can be used again
		return nil
	}
	text := errorText(resp.Body)
	return &CallError{Call: name, Kind: executorRefusal(resp.StatusCode, text), Status: resp.StatusCode, Detail: text}
}

func (d *ExecutorDriver) post(ctx context.Context, call *executor.Call) (*http.Response, error) {
	call.FrameworkID.Value, call.ExecutorID.Value = d.cfg.FrameworkID, d.cfg.ExecutorID
	req, err := d.wire.request(ctx, d.endpoint, "", call)
	if err != nil {
		return nil, err
	}
	if d.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+d.cfg.Token)
	}
	return d.wire.client.Do(req)
}
