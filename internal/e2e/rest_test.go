package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// outcome is what a client knows of a submission.
type outcome string

const (
	acknowledged outcome = "acknowledged"
	refused      outcome = "refused" // surely not carried out
	unknown      outcome = "unknown"
)

// user is one HTTP client. It is not the project's own, which would hide what a
// plain client sees.
type user struct{ http *http.Client }

func newUser(t *testing.T) *user {
	tr := &http.Transport{MaxIdleConnsPerHost: 4}
	t.Cleanup(tr.CloseIdleConnections)
	return &user{&http.Client{Transport: tr, Timeout: 20 * time.Second}}
}

// command is a driver that is a plain shell command.
type command struct {
	name, shell string
	props       map[string]string
}

func (c command) body() []byte {
	props := map[string]string{
		"spark.app.name": c.name, "spark.mesos.dispatcher.command": c.shell,
		"spark.driver.memory": "64m", "spark.mesos.driver.memoryOverhead": "16",
	}
	maps.Copy(props, c.props)
	raw, err := json.Marshal(api.CreateRequest{
		Action: api.ActionCreate, ClientSparkVersion: "3.5.1", AppArgs: []string{},
		EnvironmentVariables: map[string]string{}, SparkProperties: props,
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// submit sends one submission once.
func (u *user) submit(ctx context.Context, rest string, c command, key string) (id string, o outcome, err error) {
	r, o, err := u.change(ctx, rest+"/v1/submissions/create", c.body(), key)
	return r.SubmissionID, o, err
}

func (u *user) change(ctx context.Context, url string, body []byte, key string) (r api.SubmissionResponse, o outcome, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return r, refused, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return r, refused, err
		}
		return r, unknown, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return r, unknown, err
	}
	if resp.StatusCode != http.StatusOK {
		var e api.ErrorResponse
		err := fmt.Errorf("HTTP %d: %s", resp.StatusCode, raw)
		if json.Unmarshal(raw, &e) == nil && e.Outcome == api.OutcomeNotExecuted {
			return r, refused, err
		}
		return r, unknown, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, unknown, err
	}
	if !r.Success {
		return r, refused, fmt.Errorf("refused: %s", r.Message)
	}
	return r, acknowledged, nil
}

// kill asks the nodes in turn to kill a driver until one says that it is done.
func (u *user) kill(ctx context.Context, c *cluster, id string) error {
	var err error
	for try := 0; ctx.Err() == nil; try++ {
		var r api.SubmissionResponse
		r, _, err = u.change(ctx, c.rest(try%c.nodes())+"/v1/submissions/kill/"+id, nil, "")
		// A repetition of a kill whose answer got lost finds it done.
		if err == nil || strings.Contains(r.Message, "already terminated") {
			return nil
		}
		pause(ctx, 10*time.Millisecond)
	}
	return fmt.Errorf("kill %s: %w: %w", id, ctx.Err(), err)
}

func (u *user) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: HTTP %d: %s", url, resp.StatusCode, raw)
	}
	return json.Unmarshal(raw, into)
}

// drivers are all drivers that a node knows, by id; consistency as in the API.
func (u *user) drivers(ctx context.Context, rest, consistency string) (map[string]api.Summary, error) {
	all := make(map[string]api.Summary)
	q := url.Values{"limit": {"1000"}, "consistency": {consistency}}
	for {
		var page api.DriverList
		if err := u.get(ctx, rest+"/v1/drivers?"+q.Encode(), &page); err != nil {
			return nil, err
		}
		for _, d := range page.Drivers {
			all[d.ID] = d
		}
		if page.NextCursor == "" {
			return all, nil
		}
		q.Set("cursor", page.NextCursor)
	}
}

func (u *user) driver(ctx context.Context, rest, id string) (*api.Driver, error) {
	d := new(api.Driver)
	return d, u.get(ctx, rest+"/v1/drivers/"+id, d)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
