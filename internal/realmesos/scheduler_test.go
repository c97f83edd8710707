package realmesos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// event and status are what the smoke test reads of the v1 scheduler API.
type event struct {
	Type       string
	Subscribed struct {
		FrameworkID json.RawMessage `json:"framework_id"`
	}
	Offers struct {
		Offers []struct {
			ID         json.RawMessage
			AgentID    json.RawMessage `json:"agent_id"`
			Attributes []struct{ Name string }
		}
	}
	Update struct{ Status status }
}

type status struct {
	TaskID  taskID          `json:"task_id"`
	AgentID json.RawMessage `json:"agent_id"`
	UUID    string
	State   string
	Message string
}

type taskID struct {
	Value string `json:"value"`
}

// scheduler is a minimal client of the JSON API, written without mesos-go so
// that it is evidence of its own.
type scheduler struct {
	t         *testing.T
	url       string
	client    *http.Client
	framework json.RawMessage
	stream    string
	events    chan event // closed at the end of the subscription
	cancel    context.CancelFunc
}

// subscribe registers a framework, or takes one over when id is not nil.
func subscribe(t *testing.T, url string, id json.RawMessage) *scheduler {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s := &scheduler{
		t: t, url: url + "/api/v1/scheduler", framework: id, cancel: cancel,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		events: make(chan event, 1000),
	}
	info := map[string]any{"user": "root", "name": "smoke", "checkpoint": true, "failover_timeout": 600,
		"roles": []string{"*"}, "capabilities": []map[string]string{{"type": "MULTI_ROLE"}, {"type": "TASK_KILLING_STATE"}}}
	if id != nil {
		info["id"] = id
	}
	response := s.post(ctx, map[string]any{"type": "SUBSCRIBE", "subscribe": map[string]any{"framework_info": info}})
	if response.StatusCode != http.StatusOK {
		t.Fatalf("SUBSCRIBE: %s", response.Status)
	}
	s.stream = response.Header.Get("Mesos-Stream-Id")
	read := make(chan struct{})
	t.Cleanup(func() { cancel(); <-read })
	go func() {
		defer close(read)
		defer close(s.events)
		defer func() { _ = response.Body.Close() }()
		s.read(response.Body)
	}()
	s.framework = s.next("SUBSCRIBED").Subscribed.FrameworkID
	return s
}

// read splits the RecordIO stream: a decimal length, a newline, that many bytes.
func (s *scheduler) read(stream io.Reader) {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		size, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			s.t.Errorf("record length %q", line)
			return
		}
		var e event
		if err := json.NewDecoder(io.LimitReader(lines, int64(size))).Decode(&e); err != nil {
			return
		}
		s.events <- e
	}
}

func (s *scheduler) post(ctx context.Context, call map[string]any) *http.Response {
	s.t.Helper()
	if s.framework != nil {
		call["framework_id"] = s.framework
	}
	body, err := json.Marshal(call)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if s.stream != "" {
		request.Header.Set("Mesos-Stream-Id", s.stream)
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}

func (s *scheduler) call(kind string, fields any) {
	s.t.Helper()
	response := s.post(s.t.Context(), map[string]any{"type": kind, strings.ToLower(kind): fields})
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(response.Body)
		s.t.Fatalf("%s: %s %s", kind, response.Status, text)
	}
}

var errClosed = errors.New("the subscription ended")

// await returns the next event of that type; on the way updates are acknowledged
// and offers declined.
func (s *scheduler) await(kind string) (event, error) {
	s.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e, open := <-s.events:
			if !open {
				return e, errClosed
			}
			if e.Type == "UPDATE" && e.Update.Status.UUID != "" {
				st := e.Update.Status
				s.call("ACKNOWLEDGE", map[string]any{"agent_id": st.AgentID, "task_id": st.TaskID, "uuid": st.UUID})
			}
			if e.Type == kind {
				return e, nil
			}
			if e.Type == "OFFERS" {
				var ids []json.RawMessage
				for _, offer := range e.Offers.Offers {
					ids = append(ids, offer.ID)
				}
				s.call("DECLINE", map[string]any{"offer_ids": ids, "filters": map[string]any{"refuse_seconds": 0}})
			}
		case <-timeout:
			return event{}, fmt.Errorf("no %s in 30 s", kind)
		}
	}
}

func (s *scheduler) next(kind string) event {
	s.t.Helper()
	e, err := s.await(kind)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// ended waits until Mesos drops the subscription.
func (s *scheduler) ended() {
	s.t.Helper()
	if _, err := s.await("no such event"); !errors.Is(err, errClosed) {
		s.t.Fatalf("subscription not ended: %v", err)
	}
}

// until wants these states of the task, in order, and no others.
func (s *scheduler) until(task string, states ...string) {
	s.t.Helper()
	for _, want := range states {
		for {
			got := s.next("UPDATE").Update.Status
			if got.TaskID.Value != task {
				continue
			}
			if got.State != want {
				s.t.Fatalf("task %s is %s (%s), want %s", task, got.State, got.Message, want)
			}
			break
		}
	}
}

// launch starts a shell command on the first offer, and returns that offer's
// agent attributes.
func (s *scheduler) launch(task, command string) (attributes []string) {
	s.t.Helper()
	offer := s.next("OFFERS").Offers.Offers[0]
	scalar := func(name string, value float64) map[string]any {
		return map[string]any{"name": name, "type": "SCALAR", "scalar": map[string]float64{"value": value}}
	}
	info := map[string]any{"name": task, "task_id": map[string]string{"value": task}, "agent_id": offer.AgentID,
		"command": map[string]any{"value": command}, "resources": []any{scalar("cpus", 0.1), scalar("mem", 32)}}
	s.call("ACCEPT", map[string]any{"offer_ids": []any{offer.ID}, "filters": map[string]any{"refuse_seconds": 0},
		"operations": []any{map[string]any{"type": "LAUNCH", "launch": map[string]any{"task_infos": []any{info}}}}})
	for _, attribute := range offer.Attributes {
		attributes = append(attributes, attribute.Name)
	}
	return attributes
}

// running asks Mesos for the task's state.
func (s *scheduler) running(task string) {
	s.t.Helper()
	s.call("RECONCILE", map[string]any{"tasks": []any{map[string]any{"task_id": map[string]string{"value": task}}}})
	s.until(task, "TASK_RUNNING")
}

func (s *scheduler) kill(task string, grace time.Duration) {
	s.t.Helper()
	s.call("KILL", map[string]any{"task_id": map[string]string{"value": task},
		"kill_policy": map[string]any{"grace_period": map[string]int64{"nanoseconds": grace.Nanoseconds()}}})
}
