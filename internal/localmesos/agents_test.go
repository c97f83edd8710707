package localmesos_test

import (
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func TestAgentLostAndBack(t *testing.T) {
	for _, c := range []struct {
		info *mesos.FrameworkInfo
		lost mesos.TaskState
	}{{aware(), mesos.TASK_UNREACHABLE}, {plainInfo(), mesos.TASK_LOST}} {
		m := start(t, localmesos.Options{})
		f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, c.info)
		f.launch(shell("t", "while ! test -f go; do sleep 0.01; done"))
		f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
		v := viewOf(t, m, "t")
		held := f.offer()
		if err := m.LoseAgent(v.AgentID); err != nil {
			t.Fatal(err)
		}
		s := f.until("t", c.lost)
		if s.GetReason() != mesos.REASON_AGENT_REMOVED || s.UnreachableTime == nil || s.UUID != nil {
			t.Errorf("%v", s)
		}
		if r := f.next(scheduler.Event_RESCIND).Rescind; r.OfferID != held.ID {
			t.Errorf("rescinded %v", r)
		}
		if e := f.next(scheduler.Event_FAILURE).Failure; e.AgentID.Value != v.AgentID {
			t.Errorf("%v", e)
		}
		f.silent(scheduler.Event_OFFERS)
		if !alive(v.PID) {
			t.Error("the task did not live on")
		}
		if err := m.ReturnAgent(v.AgentID); err != nil {
			t.Fatal(err)
		}
		if s := f.until("t", mesos.TASK_RUNNING); s.GetReason() != mesos.REASON_AGENT_REREGISTERED || s.UUID != nil {
			t.Errorf("%v", s)
		}
		if got := viewOf(t, m, "t").PID; got != v.PID {
			t.Errorf("pid %d, was %d", got, v.PID)
		}
		f.offer()
		writeFile(t, v.Sandbox+"/go")
		f.until("t", mesos.TASK_FINISHED)
	}
}

// What ends during the partition is told after it; a framework that is removed
// meanwhile has its tasks killed when the agent is back.
func TestPartitionOutlastsTaskAndFramework(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 1})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("ends", "while ! test -f go; do sleep 0.01; done"))
	f.until("ends", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	f.decline(f.offer(), refuseFor(time.Hour))
	g := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	g.launch(shell("stays", forever))
	g.until("stays", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	ends, stays := viewOf(t, m, "ends"), viewOf(t, m, "stays")
	m.LoseAgent(ends.AgentID)
	f.until("ends", mesos.TASK_UNREACHABLE)
	writeFile(t, ends.Sandbox+"/go")
	eventually(t, "the end of the task", func() bool { return !alive(ends.PID) && viewOf(t, m, "ends").Unacked == 1 })
	g.call(&scheduler.Call{Type: scheduler.Call_TEARDOWN})
	if !alive(stays.PID) {
		t.Error("a partitioned agent heard of the teardown")
	}
	m.ReturnAgent(ends.AgentID)
	eventually(t, "the orphan to be killed", func() bool { return !alive(stays.PID) })
	if s := f.update("ends"); s.GetState() != mesos.TASK_FINISHED || s.GetReason() != mesos.REASON_AGENT_REREGISTERED {
		t.Errorf("%v", s)
	}
	f.until("ends", mesos.TASK_FINISHED) // the agent's own update
}

func TestDisconnectedAgent(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	v := viewOf(t, m, "t")
	f.offer()
	m.DisconnectAgent(v.AgentID)
	f.next(scheduler.Event_RESCIND)
	f.kill("t", 0) // is carried out when the agent is back
	f.silent(scheduler.Event_UPDATE)
	if !alive(v.PID) {
		t.Error("a disconnected agent heard of the kill")
	}
	m.ReturnAgent(v.AgentID)
	f.until("t", mesos.TASK_KILLING, mesos.TASK_KILLED)
}

func TestRemovedAgent(t *testing.T) {
	m := start(t, localmesos.Options{})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	v := viewOf(t, m, "t")
	m.RemoveAgent(v.AgentID)
	if s := f.until("t", mesos.TASK_GONE_BY_OPERATOR); s.GetReason() != mesos.REASON_AGENT_REMOVED_BY_OPERATOR {
		t.Errorf("%v", s)
	}
	f.next(scheduler.Event_FAILURE)
	eventually(t, "the task to be killed", func() bool { return !alive(v.PID) })
	if m.ReturnAgent(v.AgentID) == nil || m.LoseAgent("nowhere") == nil {
		t.Error("an agent that is not there was no error")
	}
}
