package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

// fakeAgent does what its test says; unscripted it takes everything and
// acknowledges nothing.
type fakeAgent struct {
	*httptest.Server
	streams chan *agentStream

	mu       sync.Mutex
	updates  []string // task and state of each UPDATE that was taken, in order
	headers  []http.Header
	onCall   func(*executor.Call) (status int, text string) // 0: take it
	greeting []*executor.Event                              // instead of SUBSCRIBED
}

type agentStream struct {
	call   *executor.Call
	events chan *executor.Event // closing it ends the stream
}

func startAgent(t *testing.T) *fakeAgent {
	a := &fakeAgent{streams: make(chan *agentStream, 100)}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	call := &executor.Call{}
	if err := proto.Unmarshal(body, call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	hook, greeting := a.onCall, a.greeting
	a.headers = append(a.headers, r.Header)
	a.mu.Unlock()
	if hook != nil {
		if status, text := hook(call); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
	}
	if call.Type != executor.Call_SUBSCRIBE {
		if call.Type == executor.Call_UPDATE {
			a.mu.Lock()
			a.updates = append(a.updates, call.Update.Status.TaskID.Value+" "+call.Update.Status.GetState().String())
			a.mu.Unlock()
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s := &agentStream{call: call, events: make(chan *executor.Event, 1000)}
	if greeting == nil {
		greeting = []*executor.Event{{Type: executor.Event_SUBSCRIBED, Subscribed: &executor.Event_Subscribed{
			AgentInfo: mesos.AgentInfo{ID: &mesos.AgentID{Value: "agent"}}}}}
	}
	w.Header().Set("Content-Type", string(codecs.MediaTypeProtobuf))
	records := recordio.NewWriter(w)
	write := func(e *executor.Event) {
		b, _ := proto.Marshal(e)
		_ = records.WriteFrame(b)
		w.(http.Flusher).Flush()
	}
	for _, e := range greeting {
		write(e)
	}
	a.streams <- s
	if greeting[len(greeting)-1].Type == executor.Event_SHUTDOWN {
		return
	}
	for {
		select {
		case e, open := <-s.events:
			if !open {
				return
			}
			write(e)
		case <-r.Context().Done():
			return
		}
	}
}

func (a *fakeAgent) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.updates)
}

func (s *agentStream) ack(task mesos.TaskID, uuid []byte) {
	s.events <- &executor.Event{Type: executor.Event_ACKNOWLEDGED, Acknowledged: &executor.Event_Acknowledged{TaskID: task, UUID: uuid}}
}

// startExecutor runs a driver whose events are thrown away.
func startExecutor(t *testing.T, a *fakeAgent, change func(*ExecutorConfig)) (*ExecutorDriver, chan error) {
	t.Helper()
	cfg := ExecutorConfig{FrameworkID: "fw", ExecutorID: "e", AgentEndpoint: strings.TrimPrefix(a.URL, "http://"),
		Checkpoint: true, SubscriptionBackoffMax: 10 * time.Millisecond, RetryInterval: time.Hour, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	d, err := NewExecutorDriver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		for range d.Events() {
		}
	}()
	finished := make(chan struct{})
	go func() { defer close(finished); done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-finished })
	return d, done
}

func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("no " + what)
		panic("unreachable")
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func statusOf(task string, state mesos.TaskState) mesos.TaskStatus {
	return mesos.TaskStatus{TaskID: mesos.TaskID{Value: task}, State: &state}
}

func send(t *testing.T, d *ExecutorDriver, task string, state mesos.TaskState) {
	t.Helper()
	if err := d.Update(context.Background(), statusOf(task, state)); err != nil {
		t.Fatal(err)
	}
}

// oldest is the first of the updates that the agent has taken.
func oldest(t *testing.T, d *ExecutorDriver) (s mesos.TaskStatus) {
	t.Helper()
	until(t, "one is known to be taken", func() bool {
		d.outbox.mu.Lock()
		defer d.outbox.mu.Unlock()
		e := d.outbox.sent.Front()
		if e != nil {
			s = e.Value.(*outgoing).status
		}
		return e != nil
	})
	return s
}

// The agent goes away with updates that it has not acknowledged: the next one
// gets exactly these, and the tasks of which it acknowledged nothing.
func TestExecutorSubscribesWithWhatIsLeft(t *testing.T) {
	a := startAgent(t)
	d, _ := startExecutor(t, a, nil)
	s := wait(t, a.streams, "subscription")
	for _, id := range []string{"a", "b"} {
		s.events <- &executor.Event{Type: executor.Event_LAUNCH, Launch: &executor.Event_Launch{
			Task: mesos.TaskInfo{TaskID: mesos.TaskID{Value: id}, Data: []byte("large")}}}
	}
	until(t, "the agent is known", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.tasks) == 2 })
	send(t, d, "a", mesos.TASK_RUNNING)
	send(t, d, "a", mesos.TASK_FINISHED)
	send(t, d, "b", mesos.TASK_RUNNING)
	until(t, "all are taken", func() bool { return len(a.taken()) == 3 })
	if got := fmt.Sprint(a.taken()); got != "[a TASK_RUNNING a TASK_FINISHED b TASK_RUNNING]" {
		t.Errorf("taken %s", got)
	}
	first := oldest(t, d)
	if len(first.UUID) != 16 || first.GetSource() != mesos.SOURCE_EXECUTOR || first.AgentID.GetValue() != "agent" || first.ExecutorID.GetValue() != "e" {
		t.Errorf("%v", first)
	}
	s.ack(first.TaskID, first.UUID)
	until(t, "the acknowledgement", func() bool { d.outbox.mu.Lock(); defer d.outbox.mu.Unlock(); return len(d.outbox.byUUID) == 2 })
	close(s.events)
	s = wait(t, a.streams, "second subscription")
	sub := s.call.Subscribe
	if len(sub.UnacknowledgedUpdates) != 2 || sub.UnacknowledgedUpdates[0].Status.GetState() != mesos.TASK_FINISHED ||
		sub.UnacknowledgedUpdates[1].Status.TaskID.Value != "b" {
		t.Errorf("updates %v", sub.UnacknowledgedUpdates)
	}
	if len(sub.UnacknowledgedTasks) != 1 || sub.UnacknowledgedTasks[0].TaskID.Value != "b" || sub.UnacknowledgedTasks[0].Data != nil {
		t.Errorf("tasks %v", sub.UnacknowledgedTasks)
	}
	for _, u := range sub.UnacknowledgedUpdates {
		s.ack(u.Status.TaskID, u.Status.UUID)
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(a.taken()); n != 3 {
		t.Errorf("%d updates were sent", n)
	}
}

// Order holds over calls that fail.
func TestExecutorUpdatesInOrder(t *testing.T) {
	a := startAgent(t)
	n := 0
	a.onCall = func(c *executor.Call) (int, string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if n++; c.Type == executor.Call_UPDATE && n%2 == 0 {
			return []int{500, 503}[n/2%2], "busy"
		}
		return 0, ""
	}
	d, _ := startExecutor(t, a, nil)
	wait(t, a.streams, "subscription") // what comes earlier goes along with it
	var want []string
	for i := range 10 {
		send(t, d, fmt.Sprint(i), mesos.TASK_RUNNING)
		want = append(want, fmt.Sprint(i, " TASK_RUNNING"))
	}
	until(t, "all are taken", func() bool { return len(a.taken()) >= 10 })
	if got := a.taken(); !slices.Equal(got, want) {
		t.Errorf("taken %v", got)
	}
}

func TestExecutorSendsAgainWhatIsNotAcknowledged(t *testing.T) {
	a := startAgent(t)
	d, _ := startExecutor(t, a, func(c *ExecutorConfig) { c.RetryInterval = 10 * time.Millisecond })
	s := wait(t, a.streams, "subscription")
	send(t, d, "a", mesos.TASK_RUNNING)
	until(t, "it is sent thrice", func() bool { return len(a.taken()) >= 3 })
	status := oldest(t, d)
	s.ack(status.TaskID, status.UUID)
	if err := d.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestExecutorUpdatesWaitForRoom(t *testing.T) {
	a := startAgent(t)
	d, _ := startExecutor(t, a, func(c *ExecutorConfig) { c.MaxUnacknowledged = 2 })
	s := wait(t, a.streams, "subscription")
	send(t, d, "a", mesos.TASK_RUNNING)
	send(t, d, "b", mesos.TASK_RUNNING)
	full, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Update(full, statusOf("c", mesos.TASK_RUNNING)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- d.Update(context.Background(), statusOf("c", mesos.TASK_RUNNING)) }()
	until(t, "two are taken", func() bool { return len(a.taken()) == 2 })
	status := oldest(t, d)
	s.ack(status.TaskID, status.UUID)
	if err := wait(t, waiting, "room"); err != nil {
		t.Error(err)
	}
	large := statusOf("d", mesos.TASK_FINISHED)
	large.Data = make([]byte, MaxStatusBytes)
	if err := d.Update(t.Context(), large); !errors.Is(err, ErrStatusSize) {
		t.Errorf("%v", err)
	}
}

func TestExecutorEnds(t *testing.T) {
	shutdown := &executor.Event{Type: executor.Event_SHUTDOWN}
	for name, c := range map[string]struct {
		script func(*fakeAgent)
		change func(*ExecutorConfig)
		cut    bool // the first stream
		want   error
	}{
		"framework unknown": {func(a *fakeAgent) { a.onCall = agentSays(400, "Framework cannot be found") }, nil, false, ErrExecutorUnknown},
		"executor unknown":  {func(a *fakeAgent) { a.onCall = agentSays(400, "Executor cannot be found") }, nil, false, ErrExecutorUnknown},
		"token refused":     {func(a *fakeAgent) { a.onCall = agentSays(401, "") }, nil, false, ErrUnauthorized},
		"call refused":      {func(a *fakeAgent) { a.onCall = agentSays(400, "Failed to validate Executor::Call") }, nil, false, ErrExecutorRefused},
		"no checkpoints":    {func(*fakeAgent) {}, func(c *ExecutorConfig) { c.Checkpoint = false }, true, ErrAgentLost},
		"agent stays away":  {func(a *fakeAgent) { a.onCall = agentSays(503, "Agent has not finished recovery") }, func(c *ExecutorConfig) { c.RecoveryTimeout = 50 * time.Millisecond }, false, ErrAgentLost},
		"shut down at once": {func(a *fakeAgent) { a.greeting = []*executor.Event{shutdown} }, nil, false, nil},
		"error event": {func(a *fakeAgent) {
			a.greeting = []*executor.Event{{Type: executor.Event_ERROR, Error: &executor.Event_Error{Message: "no"}}}
		}, nil, false, ErrExecutorRefused},
		"SUBSCRIBED not heard": {func(a *fakeAgent) { a.greeting = []*executor.Event{{Type: executor.Event_HEARTBEAT}} }, func(c *ExecutorConfig) { c.CallTimeout, c.Checkpoint = 20*time.Millisecond, false }, false, ErrAgentLost},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			c.script(a)
			d, done := startExecutor(t, a, c.change)
			if c.cut {
				close(wait(t, a.streams, "subscription").events)
			}
			if err := wait(t, done, "end"); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err := d.Update(t.Context(), statusOf("a", mesos.TASK_FINISHED)); !errors.Is(err, ErrExecutorDone) {
				t.Errorf("update: %v", err)
			}
			if err := d.Message(t.Context(), nil); !errors.Is(err, ErrNotSubscribed) {
				t.Errorf("message: %v", err)
			}
			if err := d.Run(t.Context()); !errors.Is(err, ErrDriverUsed) {
				t.Errorf("second run: %v", err)
			}
		})
	}
}

func agentSays(status int, text string) func(*executor.Call) (int, string) {
	return func(*executor.Call) (int, string) { return status, text }
}

func TestExecutorShutdown(t *testing.T) {
	a := startAgent(t)
	d, done := startExecutor(t, a, nil)
	s := wait(t, a.streams, "subscription")
	send(t, d, "a", mesos.TASK_KILLED)
	until(t, "it is taken", func() bool { return len(a.taken()) == 1 })
	s.events <- &executor.Event{Type: executor.Event_SHUTDOWN}
	close(s.events)
	// An update is left: the executor tries once more, and is told to go.
	again := wait(t, a.streams, "second subscription")
	if len(again.call.Subscribe.UnacknowledgedUpdates) != 1 {
		t.Errorf("%v", again.call)
	}
	again.events <- &executor.Event{Type: executor.Event_SHUTDOWN}
	u := again.call.Subscribe.UnacknowledgedUpdates[0].Status
	again.ack(u.TaskID, u.UUID)
	close(again.events)
	if err := wait(t, done, "end"); err != nil {
		t.Error(err)
	}
}

func TestExecutorSendsItsToken(t *testing.T) {
	a := startAgent(t)
	d, _ := startExecutor(t, a, func(c *ExecutorConfig) { c.Token = "secret" })
	wait(t, a.streams, "subscription")
	until(t, "a message is taken", func() bool { return d.Message(t.Context(), []byte("x")) == nil })
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.headers {
		if h.Get("Authorization") != "Bearer secret" {
			t.Errorf("%v", h)
		}
	}
}

func TestExecutorConfigFromEnv(t *testing.T) {
	good := map[string]string{
		"MESOS_FRAMEWORK_ID": "f", "MESOS_EXECUTOR_ID": "e", "MESOS_AGENT_ENDPOINT": "h:5051", "MESOS_SANDBOX": "/s",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs", "MESOS_CHECKPOINT": "1", "MESOS_RECOVERY_TIMEOUT": "15mins",
		"MESOS_SUBSCRIPTION_BACKOFF_MAX": "250ms", "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": "secret",
	}
	c, err := ExecutorConfigFromEnv(func(name string) string { return good[name] })
	if err != nil || !c.Checkpoint || c.RecoveryTimeout != 15*time.Minute || c.SubscriptionBackoffMax != 250*time.Millisecond ||
		c.ShutdownGracePeriod != 5*time.Second || c.Token != "secret" || c.Sandbox != "/s" || c.TLS != nil {
		t.Errorf("%+v %v", c, err)
	}
	for name, value := range map[string]string{
		"MESOS_FRAMEWORK_ID": "", "MESOS_AGENT_ENDPOINT": "", "MESOS_CHECKPOINT": "maybe", "MESOS_RECOVERY_TIMEOUT": "soon",
		"MESOS_SUBSCRIPTION_BACKOFF_MAX": "5", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "-1secs",
	} {
		_, err := ExecutorConfigFromEnv(func(n string) string {
			if n == name {
				return value
			}
			return good[n]
		})
		if !errors.Is(err, ErrExecutorConfig) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
}
