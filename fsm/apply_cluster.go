package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func applySetPolicy(t *txn, c *fsmpb.Policy) *fsmpb.Result {
	if proto.Equal(c, t.s.policy) {
		return &fsmpb.Result{Code: uint32(CodeUnchanged)}
	}
	if why := invalidPolicy(c); why != "" {
		return refuse(CodeMalformed, "%s", why)
	}
	t.s.policy = c
	t.forgetFinished(min(t.t.finished.Len()-int(c.RetainedDrivers), forgetAtOnce))
	t.forgetRequests()
	t.emit(Change{Kind: ChangePolicy, Event: "set"})
	return ok()
}

func applyFrameworkEvent(t *txn, c *fsmpb.FrameworkEvent) *fsmpb.Result {
	fw := t.s.framework
	if c.FrameworkId != "" && fw.ID != "" && c.FrameworkId != fw.ID {
		return refuse(CodeFrameworkID, "framework %s is committed; %s is another one", fw.ID, c.FrameworkId)
	}
	if c.Event == FrameworkSubscribe && c.FrameworkId == "" {
		return refuse(CodeMalformed, "a subscription without a framework id")
	}
	state, err := t.fwFSM.Next(string(fw.State), c.Event)
	if err != nil {
		return refuse(CodeIllegal, "%v", err)
	}
	was := fw.State
	fw.State, fw.Message = FrameworkState(state), c.Message
	if c.FrameworkId != "" {
		fw.ID = c.FrameworkId
	}
	if c.Master != "" {
		fw.Master = c.Master
	}
	if c.Event == FrameworkReset {
		t.abandonActive(fw.ID)
		fw = Framework{State: fw.State}
	}
	if was != fw.State || t.s.framework.Master != fw.Master {
		fw.SinceMs = t.timeMs
		t.s.framework = fw
		t.emit(Change{Kind: ChangeFramework, ID: fw.ID, Event: c.Event, From: string(was), To: state, Reason: c.Message})
		return ok()
	}
	t.s.framework = fw
	return &fsmpb.Result{Code: uint32(CodeUnchanged)}
}

// abandonActive ends the drivers of a framework that is no more: Mesos killed
// their tasks with it. Supervised ones are tried again under the next framework.
func (t *txn) abandonActive(frameworkID string) {
	var active []*Driver
	t.t.active.Scan(func(_ string, d *Driver) bool {
		active = append(active, d)
		return true
	})
	for _, d := range active {
		event := t.retryOr(d, d.Current(), TaskLost, EventLost)
		next := *d
		a := *d.Current()
		a.EndedMs = t.timeMs
		next.Attempts = d.withAttempt(len(d.Attempts)-1, &a)
		next.Reason = "framework " + frameworkID + " was removed from Mesos"
		if event == EventRetry {
			t.backOff(&next, &a)
		}
		t.move(d, &next, event, a.TaskID)
	}
}

func applyUpsertNode(t *txn, c *fsmpb.UpsertNode) *fsmpb.Result {
	if c.Node.GetId() == "" {
		return refuse(CodeMalformed, "node without an id")
	}
	if old, found := t.t.nodes.Get(c.Node.Id); found && proto.Equal(old, c.Node) {
		return &fsmpb.Result{Code: uint32(CodeUnchanged)}
	}
	t.t.nodes.Set(c.Node.Id, c.Node)
	t.emit(Change{Kind: ChangeNode, ID: c.Node.Id, Event: "upsert"})
	return ok()
}

func applyRemoveNode(t *txn, c *fsmpb.RemoveNode) *fsmpb.Result {
	if _, found := t.t.nodes.Delete(c.Id); !found {
		return &fsmpb.Result{Code: uint32(CodeUnchanged)}
	}
	t.emit(Change{Kind: ChangeNode, ID: c.Id, Event: "remove"})
	return ok()
}
