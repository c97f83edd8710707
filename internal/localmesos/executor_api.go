package localmesos

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	execproto "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// endpoint is where executors find their agent: a port of its own, because all
// that an executor knows of an agent is host and port. It is opened for the
// first executor, and stays.
type endpoint struct {
	once sync.Once
	addr string
	err  error
}

// openDoor opens the agent's endpoint. The caller does not hold mu, and runs
// as part of Mesos.work.
func (m *Mesos) openDoor(a *agent) (addr string, err error) {
	a.door.once.Do(func() { a.door.addr, a.door.err = m.serveAgent(a) })
	return a.door.addr, a.door.err
}

func (m *Mesos) serveAgent(a *agent) (addr string, err error) {
	host, _, _ := net.SplitHostPort(m.servers[0].addr)
	ls, err := listenAll(m.ctx, []string{net.JoinHostPort(host, "0")})
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	api := func(w http.ResponseWriter, r *http.Request) { m.executorAPI(a, w, r) }
	mux.HandleFunc("/api/v1/executor", api)
	mux.HandleFunc(fmt.Sprintf("/slave(%d)/api/v1/executor", a.number), api)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}
	context.AfterFunc(m.ctx, func() { server.Close() })
	m.work.Go(func() {
		if err := server.Serve(ls[0]); !errors.Is(err, http.ErrServerClosed) {
			m.log.Error("agent stopped serving", "agent", a.id, "err", err)
		}
	})
	return ls[0].Addr().String(), nil
}

// executorAPI serves POST /api/v1/executor of one agent (src/slave/http.cpp, the
// same checks in the same order).
func (m *Mesos) executorAPI(a *agent, w http.ResponseWriter, r *http.Request) {
	if m.agentLife(a) == agentDown {
		panic(http.ErrAbortHandler) // there is no process that could answer
	}
	err := m.checkMethod(w, r)
	call := &execproto.Call{}
	if err == nil {
		err = decodeCall(w, r, call, nil)
	}
	if err == nil {
		err = validateExecutorCall(call)
	}
	if err == nil {
		err = m.answerExecutor(a, w, r, call)
	}
	var no refusal
	if errors.As(err, &no) {
		plain(w, no.status, no.text)
	}
}

func (m *Mesos) agentLife(a *agent) agentLife {
	m.mu.Lock()
	defer m.mu.Unlock()
	return a.life
}

// validateExecutorCall is mesos' common::validation::validateExecutorCall.
func validateExecutorCall(c *execproto.Call) error {
	missing := ""
	switch {
	case c.Type == execproto.Call_UNKNOWN:
		missing = "type"
	case c.Type == execproto.Call_SUBSCRIBE && c.Subscribe == nil:
		missing = "subscribe"
	case c.Type == execproto.Call_UPDATE && c.Update == nil:
		missing = "update"
	case c.Type == execproto.Call_MESSAGE && c.Message == nil:
		missing = "message"
	}
	if missing != "" {
		return badRequest("Failed to validate Executor::Call: Expecting '%s' to be present", missing)
	}
	if c.Type == execproto.Call_UPDATE {
		if err := validateStatus(c.ExecutorID.Value, &c.Update.Status); err != nil {
			return badRequest("Failed to validate Executor::Call: %v", err)
		}
	}
	return nil
}

func validateStatus(executorID string, s *mesos.TaskStatus) error {
	switch {
	case len(s.UUID) == 0:
		return fmt.Errorf("Expecting 'uuid' to be present")
	case len(s.UUID) != 16:
		return fmt.Errorf("Not a valid UUID")
	case s.ExecutorID != nil && s.ExecutorID.Value != executorID:
		return fmt.Errorf("ExecutorID in Call: %s does not match ExecutorID in TaskStatus: %s", executorID, s.ExecutorID.Value)
	case s.GetSource() != mesos.SOURCE_EXECUTOR:
		return fmt.Errorf("Received Call from executor %s with invalid source, expecting 'SOURCE_EXECUTOR'", executorID)
	case s.GetState() == mesos.TASK_STAGING:
		return fmt.Errorf("Received TASK_STAGING from executor %s which is not allowed", executorID)
	}
	return nil
}

func (m *Mesos) answerExecutor(a *agent, w http.ResponseWriter, r *http.Request, call *execproto.Call) error {
	var media encoding.MediaType
	switch call.Type {
	case execproto.Call_SUBSCRIBE:
		if media = acceptable(r.Header.Values("Accept")); media == "" {
			return refusal{http.StatusNotAcceptable,
				"Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"}
		}
	case execproto.Call_HEARTBEAT:
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	action := m.executorFault(call)
	if action == Refuse {
		return refusal{http.StatusServiceUnavailable, "Agent has not finished recovery"}
	}
	if call.Type == execproto.Call_SUBSCRIBE {
		return m.serveExecutor(a, w, r, call, media)
	}
	if action != Drop {
		if err := m.obeyExecutor(a, r, call); err != nil {
			return err
		}
	}
	if action == LoseAnswer {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (m *Mesos) executorFault(call *execproto.Call) Action {
	m.mu.Lock()
	hook := m.faults.ExecutorCall
	m.mu.Unlock()
	if hook == nil {
		return Pass
	}
	return hook(call)
}

// findExecutor is the one that a call comes from.
func (a *agent) findExecutor(r *http.Request, call *execproto.Call) (*executor, error) {
	if e := a.executors[executorKey{call.FrameworkID.Value, call.ExecutorID.Value}]; e != nil {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(token), []byte(e.token)) != 1 && e.token != "" {
			return nil, refusal{http.StatusUnauthorized, ""}
		}
		return e, nil
	}
	if a.frameworks[call.FrameworkID.Value] == nil {
		return nil, badRequest("Framework cannot be found")
	}
	return nil, badRequest("Executor cannot be found")
}

func (m *Mesos) serveExecutor(a *agent, w http.ResponseWriter, r *http.Request, call *execproto.Call, media encoding.MediaType) error {
	s := newExecutorStream(media)
	m.mu.Lock()
	e, err := a.findExecutor(r, call)
	if err == nil && m.closed {
		err = refusal{http.StatusServiceUnavailable, "Agent is stopping"}
	}
	if err == nil {
		e.subscribe(call.Subscribe, s)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if e.stream == s {
			e.stream = nil
		}
	}()
	s.serve(w, r.Context().Done(), m.opts.ExecutorHeartbeatInterval)
	return nil
}

func (m *Mesos) obeyExecutor(a *agent, r *http.Request, call *execproto.Call) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.life != agentUp {
		return refusal{http.StatusServiceUnavailable, "Agent has not finished recovery"}
	}
	e, err := a.findExecutor(r, call)
	if err != nil {
		return err
	}
	if e.state == registering {
		return refusal{http.StatusForbidden, "Executor is not subscribed"}
	}
	switch call.Type {
	case execproto.Call_UPDATE:
		if status := &call.Update.Status; e.update(status) {
			e.acknowledge(status)
		}
	case execproto.Call_MESSAGE:
		m.frameworkMessage(e, call.Message.Data)
	}
	return nil
}
