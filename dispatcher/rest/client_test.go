package rest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func connect(t *testing.T, servers ...string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Servers: servers, Token: annsToken, RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheClientAndTheServerUnderstandEachOther(t *testing.T) {
	ctx := context.Background()
	cfg := testConfig()
	cfg.Auth.TokenFile, cfg.Auth.Reads = tokenFile(t, "ann:"+annsToken), true
	n := newNode()
	c := connect(t, listen(t, newServer(t, cfg, n)))
	app := func(name string) api.CreateRequest {
		return api.CreateRequest{AppResource: "app.jar", MainClass: "A", SparkProperties: map[string]string{"spark.app.name": name}}
	}
	key := client.NewKey()
	first, err := c.Submit(ctx, app("a"), key)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Submit(ctx, app("a"), key)
	if err != nil || again.SubmissionID != first.SubmissionID {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	for i := range 5 {
		if _, err := c.Submit(ctx, app(fmt.Sprint(i)), ""); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := c.Status(ctx, first.SubmissionID); err != nil || st.DriverState != "QUEUED" {
		t.Errorf("Status: %+v, %v", st, err)
	}
	if d, err := c.Get(ctx, first.SubmissionID); err != nil || d.Name != "a" || d.User != "ann" {
		t.Errorf("Get: %+v, %v", d, err)
	}
	count := 0
	for _, err := range c.Drivers(ctx, client.ListOptions{States: []string{"QUEUED"}, Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 6 {
		t.Errorf("%d drivers listed, want 6", count)
	}
	if cl, err := c.Cluster(ctx); err != nil || cl.Leader != "n1" {
		t.Errorf("Cluster: %+v, %v", cl, err)
	}
	if k, err := c.Kill(ctx, first.SubmissionID, ""); err != nil || !k.Success {
		t.Errorf("Kill: %+v, %v", k, err)
	}
	var refused *client.APIError
	if _, err := c.Kill(ctx, "none", ""); !errors.As(err, &refused) || refused.Message != "Cannot find driver" {
		t.Errorf("Kill of none: %v", err)
	}
	for _, lookUp := range []func() error{
		func() error { _, err := c.Get(ctx, "none"); return err }, func() error { _, err := c.Status(ctx, "none"); return err },
	} {
		if err := lookUp(); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("looking up none: %v", err)
		}
	}
	n.fail(raftstore.ErrOutcomeUnknown)
	if _, err := c.Submit(ctx, app("b"), ""); !errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("Submit with the outcome unknown: %v", err)
	}
	n.fail(raftstore.ErrNoLeader)
	if _, err := c.Submit(ctx, app("b"), ""); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("Submit without a leader: %v", err)
	}
}

func TestEventsGoOnAtAnotherNode(t *testing.T) {
	n := newNode() // both servers show the same state, as nodes do
	first, second := newServer(t, testConfig(), n), newServer(t, testConfig(), n)
	c := connect(t, listen(t, first), listen(t, second))
	want := n.state.Feed().Next()
	for range 3 {
		n.submitNamed("a", "")
	}
	end := n.state.Feed().Next() + 3
	for e, err := range c.Events(context.Background(), want-1) {
		if err != nil || e.Change != want {
			t.Fatalf("event %+v, %v; want change %d", e, err, want)
		}
		if want++; want == end-3 {
			first.Close()
			for range 3 {
				n.submitNamed("b", "")
			}
		}
		if want == end {
			break
		}
	}
	if _, found := n.state.Driver("none"); found || n.state.Counts() != (fsm.Counts{Waiting: 6}) {
		t.Errorf("counts %+v", n.state.Counts())
	}
}
