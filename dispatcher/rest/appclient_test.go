package rest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// The project's client against its server, through the life of an application and
// the death of the node that it talks to.
func TestAClientFollowsItsApplicationToAnotherNode(t *testing.T) {
	h := newHost()
	first := newServer(t, hostConfig(h), h.node)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- first.Serve(ln) }()
	second := listen(t, newServer(t, hostConfig(h), h.node))
	c, err := client.New(client.Config{Servers: []string{ln.Addr().String(), second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx := t.Context()
	for _, known := range []bool{false, true} {
		st, was, err := c.RegisterApp(ctx, api.Application{ID: "a", Name: "a", DriverURL: "spark://CoarseGrainedScheduler@h:1"}, "", 0)
		if err != nil || was != known || st.ID != "a" {
			t.Fatalf("%+v, %t, %v", st, was, err)
		}
	}
	h.subscribe("a")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.SetAppTotals(ctx, "a", api.AppTotals{Totals: []api.ProfileTotal{{Total: 2}}}))
	h.launch("a")
	var got []string
	steps := map[string]func(){
		"snapshot RUNNING": func() {
			must(first.Close())
			must(<-served)
			h.launch("a")
		},
		"launch 1": func() { must(c.KillExecutors(ctx, "a", "0")) },
		"kill 0": func() {
			if err := c.KillExecutors(ctx, "a", "7"); !errors.Is(err, client.ErrConflict) {
				t.Errorf("an unknown executor: %v", err)
			}
			must(c.StopApp(ctx, "a", "done"))
			must(c.StopApp(ctx, "a", "again"))
		},
		"stop STOPPING": func() {
			if err := c.SetAppTotals(ctx, "a", api.AppTotals{}); !errors.Is(err, client.ErrStopped) {
				t.Errorf("totals of what is stopped: %v", err)
			}
			h.end("a")
		},
	}
	for e, err := range c.AppEvents(ctx, "a", client.AppEventsOptions{}) {
		must(err)
		text := e.Event + " "
		if e.Executor != nil {
			text += e.Executor.ID
		}
		if e.App != nil {
			text += e.App.State
		}
		got = append(got, text)
		if step := steps[text]; step != nil {
			delete(steps, text)
			step()
		}
	}
	want := []string{"snapshot 0", "snapshot RUNNING", "launch 1", "kill 0", "stop STOPPING", "kill 1", "ended 0", "ended 1", "tear_down STOPPED"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := c.App(context.Background(), "b"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown application: %v", err)
	}
	if list, err := c.AppExecutors(ctx, "a"); err != nil || len(list.Executors) != 2 || list.Executors[0].State != string(fsm.ExecutorKilled) {
		t.Errorf("%+v, %v", list, err)
	}
}
