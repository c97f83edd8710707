package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// Submission is a driver to be submitted. Its key names it in the journal and is
// its spark.app.name.
type Submission struct {
	Key       string
	Command   string // of Journal.Until or Journal.For
	Supervise bool
	Conf      map[string]string
	// Idempotency is the Idempotency-Key, if any.
	Idempotency string
}

// Outcome is what a client knows of what it asked for.
type Outcome string

// The outcomes.
const (
	Acked   Outcome = "acked"
	Refused Outcome = "refused" // surely not done
	Unknown Outcome = "unknown"
)

// Answer is what a client got.
type Answer struct {
	Outcome Outcome
	HTTP    int // 0: no answer came
	api.SubmissionResponse
	Err error // why no answer came
}

// Submit submits to one node and notes it in the history.
func (n *Node) Submit(ctx context.Context, s Submission) Answer {
	props := map[string]string{
		"spark.app.name": s.Key, "spark.mesos.dispatcher.command": s.Command,
		"spark.driver.supervise": fmt.Sprint(s.Supervise), "spark.driver.cores": "0.1", "spark.driver.memory": "32m",
		"spark.mesos.driver.memoryOverhead": "0",
	}
	maps.Copy(props, s.Conf)
	body, err := json.Marshal(api.CreateRequest{
		Action: api.ActionCreate, AppArgs: []string{}, ClientSparkVersion: "3.5.1",
		EnvironmentVariables: map[string]string{}, SparkProperties: props,
	})
	if err != nil {
		return Answer{Outcome: Refused, Err: err}
	}
	began := time.Now()
	a := n.ask(ctx, http.MethodPost, "/v1/submissions/create", body, s.Idempotency)
	n.c.History.add(Record{Node: n.ID, Submission: s, Answer: a, Began: began, Ended: time.Now()})
	return a
}

// Kill asks one node to end a driver.
func (n *Node) Kill(ctx context.Context, id string) Answer {
	return n.ask(ctx, http.MethodPost, "/v1/submissions/kill/"+id, nil, "")
}

// Status asks one node for a driver; stale allows an answer without a leader.
func (n *Node) Status(ctx context.Context, id string, stale bool) Answer {
	path := "/v1/submissions/status/" + id
	if stale {
		path += "?consistency=stale"
	}
	return n.ask(ctx, http.MethodGet, path, nil, "")
}

// Get asks for any path of the REST port, or with web of the web port.
func (n *Node) Get(ctx context.Context, path string, web bool) (status int, body string, err error) {
	run := n.Inside()
	if run == nil {
		return 0, "", fmt.Errorf("%s: %w", n.ID, ErrDown)
	}
	base := run.RESTURL()
	if web {
		base = run.WebURL()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := n.c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

func (n *Node) ask(ctx context.Context, method, path string, body []byte, key string) Answer {
	run := n.Inside()
	if run == nil {
		return Answer{Outcome: Refused, Err: fmt.Errorf("%s: %w", n.ID, ErrDown)}
	}
	req, err := http.NewRequestWithContext(ctx, method, run.RESTURL()+path, bytes.NewReader(body))
	if err != nil {
		return Answer{Outcome: Refused, Err: err}
	}
	req.GetBody = nil // net/http must not repeat a submission by itself
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := n.c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return Answer{Outcome: Refused, Err: err}
	}
	if err != nil {
		return Answer{Outcome: Unknown, Err: err}
	}
	defer resp.Body.Close()
	return readAnswer(resp)
}

func readAnswer(resp *http.Response) Answer {
	var msg struct {
		api.SubmissionResponse
		Outcome api.Outcome `json:"outcome"`
	}
	raw, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(raw, &msg)
	}
	if err != nil {
		return Answer{Outcome: Unknown, HTTP: resp.StatusCode, Err: fmt.Errorf("answer %q: %w", raw, err)}
	}
	a := Answer{Outcome: Refused, HTTP: resp.StatusCode, SubmissionResponse: msg.SubmissionResponse}
	switch {
	case resp.StatusCode == http.StatusOK && msg.Success:
		a.Outcome = Acked
	case resp.StatusCode >= 500 && msg.Outcome != api.OutcomeNotExecuted:
		a.Outcome = Unknown
	}
	return a
}
