package fsm

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

func TestARepeatedRequestGetsTheFirstOutcome(t *testing.T) {
	for _, c := range []struct {
		name   string
		number Number
		body   proto.Message
		want   Code
	}{
		{"submission", NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "d-"}, CodeOK},
		{"refused submission", NumberSubmitDriver, &fsmpb.SubmitDriver{IdPrefix: "a b"}, CodeMalformed},
		{"kill of a queued driver", NumberKillDriver, &fsmpb.KillDriver{DriverId: "driver-0001"}, CodeKilledQueued},
		{"kill of nobody", NumberKillDriver, &fsmpb.KillDriver{DriverId: "nobody"}, CodeNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := subscribed(t)
			n.submit(nil)
			s := n.stamp()
			first := n.stamped(c.number, s, c.body)
			wantCode(t, first.Code, c.want)
			n.s = restored(t, snapshot(t, n.s)) // the window is state
			for range 3 {
				n.now += 1000
				s.TimeMs = n.now
				n.untouched(func() {
					again := n.stamped(c.number, s, c.body)
					if !again.RepeatedRequest || first.RepeatedRequest || again.Code != first.Code ||
						again.DriverId != first.DriverId || again.Message != first.Message {
						t.Errorf("first %v, again %v", first, again)
					}
				})
			}
		})
	}
}

func TestARequestIDServesOneRequest(t *testing.T) {
	n := subscribed(t)
	s := n.stamp()
	s.Fingerprint = 7
	submit, kill := &fsmpb.SubmitDriver{IdPrefix: "d-"}, &fsmpb.KillDriver{DriverId: "d-0001"}
	wantCode(t, n.stamped(NumberSubmitDriver, s, submit).Code, CodeOK)
	n.untouched(func() {
		wantCode(t, n.stamped(NumberKillDriver, s, kill).Code, CodeRequestMismatch)
		wantCode(t, n.stamped(NumberLaunchDrivers, s, &fsmpb.LaunchDrivers{}).Code, CodeRequestMismatch)
		s.Fingerprint = 8
		wantCode(t, n.stamped(NumberSubmitDriver, s, submit).Code, CodeRequestMismatch)
		s.Fingerprint = 0 // unchecked
		if r := n.stamped(NumberSubmitDriver, s, submit); !r.RepeatedRequest || r.DriverId != "d-0001" {
			t.Errorf("%v", r)
		}
	})
}

func TestWhatIsRefusedForTheMomentMayBeAskedForAgain(t *testing.T) {
	n := newNode(t)
	s := Stamp{RequestID: RequestID{1}, TimeMs: startMs, Fingerprint: 1}
	submit := &fsmpb.SubmitDriver{IdPrefix: "d-"}
	wantCode(t, n.stamped(NumberSubmitDriver, s, submit).Code, CodeNotReady)
	n.ok(NumberFrameworkEvent, &fsmpb.FrameworkEvent{Event: FrameworkSubscribe, FrameworkId: "fw"})
	n.policy(func(p *Policy) { p.MaxDrivers = 0 })
	wantCode(t, n.stamped(NumberSubmitDriver, s, submit).Code, CodeQueueFull)
	n.policy(func(p *Policy) { p.MaxDrivers = 1 })
	if r := n.stamped(NumberSubmitDriver, s, submit); Code(r.Code) != CodeOK || r.RepeatedRequest {
		t.Fatalf("%v", r)
	}
	if r := n.stamped(NumberSubmitDriver, s, submit); Code(r.Code) != CodeOK || !r.RepeatedRequest { // though full
		t.Errorf("%v", r)
	}
}

func TestCommandsOfTheLeaderTakeNoPlaceInTheWindow(t *testing.T) {
	n := subscribed(t)
	id := n.submit(nil)
	n.launch(id)
	n.status(id, TaskFinished)
	n.do(NumberRejectDriver, &fsmpb.RejectDriver{DriverId: id})
	n.do(NumberRemoveNode, &fsmpb.RemoveNode{Id: "n"})
	n.policy(func(p *Policy) { p.MaxDrivers = 9 })
	if got := n.s.t.requests.Len(); got != 1 {
		t.Errorf("%d requests are remembered", got)
	}
}

func TestTheWindowForgetsTheOldestRequests(t *testing.T) {
	n := subscribed(t)
	n.policy(func(p *Policy) { p.DedupWindow = 5 })
	var stamps []Stamp
	submit := &fsmpb.SubmitDriver{IdPrefix: "d-"}
	for range 8 {
		stamps = append(stamps, n.stamp())
		n.stamped(NumberSubmitDriver, stamps[len(stamps)-1], submit)
	}
	known := func() (list []bool) {
		for _, s := range stamps {
			_, found := n.s.t.requests.Get(string(s.RequestID[:]))
			list = append(list, found)
		}
		return list
	}
	if got := fmt.Sprint(known()); got != "[false false false true true true true true]" {
		t.Errorf("window of 5: %s", got)
	}
	n.policy(func(p *Policy) { p.DedupWindow = 2 }) // holds at once, not with the next request
	if got := fmt.Sprint(known()); got != "[false false false false false false true true]" {
		t.Errorf("window of 2: %s", got)
	}
	if r := n.stamped(NumberSubmitDriver, stamps[7], submit); !r.RepeatedRequest || r.DriverId != "d-0008" {
		t.Errorf("%v", r)
	}
	if r := n.stamped(NumberSubmitDriver, stamps[0], submit); r.RepeatedRequest || r.DriverId != "d-0009" {
		t.Errorf("a forgotten request: %v", r)
	}
	checkInvariants(t, n.s)
}
