package fsm

import (
	"strings"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func (n *node) framework(event, id string) *fsmpb.Result {
	n.t.Helper()
	return n.do(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: event, FrameworkId: id, Message: "why"})
}

func TestTheFrameworkIDIsNeverReplacedSilently(t *testing.T) {
	n := newNode(t)
	wantCode(t, n.framework(FrameworkSubscribe, "").Code, CodeMalformed)
	wantCode(t, n.framework(FrameworkSubscribe, "fw-1").Code, CodeOK)
	for _, event := range []string{FrameworkSubscribe, FrameworkDisconnect, FrameworkRemove, FrameworkTearDown} {
		r := n.framework(event, "fw-2")
		wantCode(t, r.Code, CodeFrameworkID)
		if !strings.Contains(r.Message, "fw-1") || n.s.Framework().State != FrameworkSubscribed {
			t.Errorf("%v", r)
		}
	}
	wantCode(t, n.framework(FrameworkSubscribe, "fw-1").Code, CodeUnchanged)
	wantCode(t, n.framework(FrameworkReset, "").Code, CodeIllegal)
	wantCode(t, n.framework(FrameworkRemove, "").Code, CodeOK)
	wantCode(t, n.framework(FrameworkSubscribe, "fw-2").Code, CodeFrameworkID)
	wantCode(t, n.framework(FrameworkSubscribe, "fw-1").Code, CodeIllegal)
	if fw := n.s.Framework(); fw.ID != "fw-1" || fw.State != FrameworkRemoved || fw.Message != "why" {
		t.Errorf("%+v", fw)
	}
	wantCode(t, n.framework(FrameworkReset, "").Code, CodeOK)
	if fw := n.s.View().Framework(); fw.ID != "" || fw.State != FrameworkNew || fw.SinceMs != n.now {
		t.Errorf("%+v", fw)
	}
	wantCode(t, n.framework(FrameworkSubscribe, "fw-2").Code, CodeOK)
	wantCode(t, n.framework("no such event", "").Code, CodeIllegal)
}

func TestAFrameworkThatEndedRefusesSubmissionsAndNamesTheVerb(t *testing.T) {
	for _, end := range []string{FrameworkRemove, FrameworkTearDown} {
		t.Run(end, func(t *testing.T) {
			n := subscribed(t)
			n.framework(end, "fw")
			r := n.do(NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-"})
			wantCode(t, r.Code, CodeNotReady)
			for _, part := range []string{"Scheduler is not ready to take requests", "ha-dispatcher cluster reset-framework", string(n.s.Framework().State)} {
				if !strings.Contains(r.Message, part) {
					t.Errorf("message %q lacks %q", r.Message, part)
				}
			}
			n.framework(FrameworkReset, "")
			if r := n.do(NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-"}); r.Message != "Scheduler is not ready to take requests" {
				t.Errorf("message %q", r.Message)
			}
			n.framework(FrameworkSubscribe, "fw-2")
			n.submit(nil)
		})
	}
}

func TestADisconnectedFrameworkTakesSubmissions(t *testing.T) {
	n := subscribed(t)
	n.framework(FrameworkDisconnect, "")
	n.submit(nil)
}

func TestAResetAbandonsWhatWasActive(t *testing.T) {
	n := subscribed(t)
	queued := n.submit(nil)
	launching, running, killing := n.submit(nil), n.submit(nil), n.submit(supervised)
	again, retrying, spent := n.submit(supervised), n.submit(supervised), n.submit(func(c *fsmpb.SubmitDriver) { c.Supervise, c.MaxRetries = true, 1 })
	over := n.finish(1)[0]
	n.launch(launching)
	for _, id := range []string{running, killing, again} {
		n.status(n.launch(id), TaskRunning)
	}
	n.kill(killing)
	n.status(n.launch(retrying), TaskFailed)
	n.status(n.launch(spent), TaskFailed)
	n.launch(spent)
	n.framework(FrameworkRemove, "")
	for _, id := range []string{launching, running, again} {
		if !n.driver(id).State.Active() {
			t.Errorf("driver %s was given up before an operator said so", id)
		}
	}
	n.now += 1000
	n.framework(FrameworkReset, "")
	for id, want := range map[string]DriverState{
		queued: DriverQueued, launching: DriverLost, running: DriverLost, killing: DriverKilled,
		again: DriverRetrying, retrying: DriverRetrying, spent: DriverLost, over: DriverFinished,
	} {
		wantState(t, n.driver(id), want)
	}
	if d := n.driver(running); !strings.Contains(d.Reason, "framework fw was removed") || d.Current().EndedMs != n.now || d.FinishedMs != n.now {
		t.Errorf("%+v", d)
	}
	if d := n.driver(again); d.Retries != 1 || d.NotBeforeMs != n.now+1000 {
		t.Errorf("%d retries, not before %d", d.Retries, d.NotBeforeMs)
	}
	checkInvariants(t, n.s)
	n.framework(FrameworkSubscribe, "fw-2")
	if task := n.launch(again); task != again+"-retry-1" {
		t.Errorf("task %s", task)
	}
}

func TestTheMasterInUseIsKept(t *testing.T) {
	n := subscribed(t)
	next := n.s.View().NextChange()
	n.now++
	r := n.do(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkSubscribe, FrameworkId: "fw", Master: "other:5050"})
	wantCode(t, r.Code, CodeOK)
	if fw := n.s.Framework(); fw.Master != "other:5050" || fw.SinceMs != n.now {
		t.Errorf("%+v", fw)
	}
	changes, _, _ := n.s.Feed().Since(next, 0)
	if len(changes) != 1 || changes[0].Kind != ChangeFramework || changes[0].ID != "fw" {
		t.Errorf("%v", changes)
	}
}
