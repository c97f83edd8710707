package localmesos_test

import (
	"context"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpsched"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

// mesos-go's client, in both encodings.
func TestMesosGoRunsATask(t *testing.T) {
	m := start(t, localmesos.Options{})
	for _, media := range bothMedia {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cli := httpcli.New(
			httpcli.Endpoint(m.URL()+"/api/v1/scheduler"),
			httpcli.Codec(codecs.ByMediaType[media]),
			httpcli.Do(httpcli.With(httpcli.Timeout(time.Minute))),
		)
		caller := httpsched.NewCaller(cli, httpsched.AllowReconnection(true))
		resp, err := caller.Call(ctx, calls.Subscribe(aware()))
		if err != nil {
			t.Fatal(err)
		}
		last := runOneTask(t, ctx, caller, resp)
		if last.GetState() != mesos.TASK_FINISHED {
			t.Errorf("%v", last)
		}
		resp.Close()
		cancel()
	}
}

func runOneTask(t *testing.T, ctx context.Context, caller calls.Caller, resp mesos.Response) *mesos.TaskStatus {
	t.Helper()
	var id string
	call := func(c *scheduler.Call) {
		t.Helper()
		if err := calls.CallNoData(ctx, caller, c.With(calls.Framework(id))); err != nil {
			t.Fatalf("%s: %v", c.Type, err)
		}
	}
	for launched := false; ; {
		var e scheduler.Event
		if err := resp.Decode(&e); err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case scheduler.Event_SUBSCRIBED:
			id = e.Subscribed.FrameworkID.Value
		case scheduler.Event_OFFERS:
			o := e.Offers.Offers[0]
			if launched {
				call(calls.Decline(o.ID))
				continue
			}
			launched = true
			task := shell("task", "true")
			task.AgentID = o.AgentID
			call(calls.Accept(calls.OfferOperations{calls.OpLaunch(task)}.WithOffers(o.ID)))
		case scheduler.Event_UPDATE:
			s := &e.Update.Status
			call(calls.Acknowledge(s.AgentID.Value, s.TaskID.Value, s.UUID))
			if s.GetState() != mesos.TASK_STARTING && s.GetState() != mesos.TASK_RUNNING {
				call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
				return s
			}
		}
	}
}
