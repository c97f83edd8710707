package localmesos_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func writeFile(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func onCall(want scheduler.Call_Type, action localmesos.Action) localmesos.Faults {
	return localmesos.Faults{Call: func(c *scheduler.Call) localmesos.Action {
		if c.Type == want {
			return action
		}
		return localmesos.Pass
	}}
}

func onState(want mesos.TaskState, action localmesos.Action) localmesos.Faults {
	return localmesos.Faults{Event: func(_ string, e *scheduler.Event) localmesos.Action {
		if e.Type == scheduler.Event_UPDATE && e.Update.Status.GetState() == want {
			return action
		}
		return localmesos.Pass
	}}
}

func TestCallFaults(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	kill := &scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: "t"}}}

	m.SetFaults(onCall(scheduler.Call_ACCEPT, localmesos.LoseAnswer))
	o := f.offer()
	task := shell("t", forever)
	task.AgentID = o.AgentID
	_, _, err := f.post(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{OfferIDs: []mesos.OfferID{o.ID},
		Operations: []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH, Launch: &mesos.Offer_Operation_Launch{TaskInfos: []mesos.TaskInfo{task}}}}}})
	if err == nil {
		t.Error("the answer was not lost")
	}
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING) // but the call was not

	m.SetFaults(onCall(scheduler.Call_KILL, localmesos.Drop))
	f.call(kill)
	m.SetFaults(onCall(scheduler.Call_KILL, localmesos.Refuse))
	if status, _, _ := f.post(kill); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
	f.silent(scheduler.Event_UPDATE)

	m.SetFaults(onCall(scheduler.Call_KILL, localmesos.Hold))
	answered := make(chan int)
	go func() {
		status, _, _ := f.post(kill)
		answered <- status
	}()
	select {
	case <-answered:
		t.Error("a held call was answered")
	case <-time.After(20 * time.Millisecond):
	}
	eventually(t, "the held call to go on", func() bool {
		m.Release()
		select {
		case status := <-answered:
			return status == http.StatusAccepted
		default:
			return false
		}
	})
	f.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED)
}

func TestEventFaults(t *testing.T) {
	m := start(t, localmesos.Options{UpdateRetry: 30 * time.Millisecond})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	m.SetFaults(onState(mesos.TASK_STARTING, localmesos.Drop))
	f.launch(shell("t", "while ! test -f go; do sleep 0.01; done"))
	f.silent(scheduler.Event_UPDATE)
	m.SetFaults(onState(mesos.TASK_RUNNING, localmesos.Duplicate))
	for {
		s := f.update("t")
		f.ack(s)
		if s.GetState() == mesos.TASK_RUNNING {
			if again := f.update("t"); string(again.UUID) != string(s.UUID) {
				t.Errorf("%v was not sent twice", s)
			}
			break
		}
	}
	m.SetFaults(onState(mesos.TASK_FINISHED, localmesos.Hold))
	writeFile(t, viewOf(t, m, "t").Sandbox+"/go")
	eventually(t, "the end of the task", func() bool { return viewOf(t, m, "t").State == "TASK_FINISHED" })
	f.silent(scheduler.Event_UPDATE)
	m.SetFaults(localmesos.Faults{})
	m.Release()
	f.until("t", mesos.TASK_FINISHED)
}

func TestSilence(t *testing.T) {
	m := start(t, localmesos.Options{HeartbeatInterval: 10 * time.Millisecond})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.next(scheduler.Event_HEARTBEAT)
	m.Silence(true)
	for drained := false; !drained; {
		select {
		case <-f.events:
		case <-time.After(100 * time.Millisecond): // ten heartbeats
			drained = true
		}
	}
	f.launchSilently(m)
	m.Silence(false)
	f.next(scheduler.Event_HEARTBEAT)
}

// launchSilently checks that calls are still obeyed.
func (f *framework) launchSilently(m *localmesos.Mesos) {
	f.t.Helper()
	f.call(&scheduler.Call{Type: scheduler.Call_SUPPRESS})
	if v := m.Frameworks()[0]; !v.Connected {
		f.t.Errorf("%+v", v)
	}
}
