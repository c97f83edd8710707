package fsm

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// app draws a command about one of two applications, of which one runs tasks.
func (e *entries) app(s *State, pick func(string, int) int) (Number, proto.Message) {
	id := []string{"coarse", "fine"}[pick("app", 2)]
	a, found := s.App(id)
	if !found {
		c := &fsmpb.RegisterApp{AppId: id, Name: "n", MaxAgentFailures: 2, ExcludeMs: 3000}
		if id == "coarse" {
			c.Totals = []*ProfileTotal{{Total: int64(pick("total", 4))}}
		}
		return NumberRegisterApp, c
	}
	events := []string{FrameworkSubscribe, FrameworkSubscribe, FrameworkSubscribe, FrameworkDisconnect, FrameworkRemove, FrameworkReset}
	if a.Framework.State != FrameworkSubscribed && pick("subscribe", 2) == 0 {
		return NumberAppFrameworkEvent, &fsmpb.AppFrameworkEvent{AppId: id, Event: &fsmpb.FrameworkEvent{
			Event: events[pick("event", 6)], FrameworkId: "fw", Master: "m",
		}}
	}
	agent := fmt.Sprintf("a%d", pick("agent", 3))
	task := fmt.Sprint(int(a.NextNumber) - pick("back", 5))
	switch pick("app command", 12) {
	case 0, 1, 2:
		l := &fsmpb.ExecutorLaunch{Number: a.NextNumber + uint64(pick("gap", 3)), AgentId: agent, Cpus: 1, Executor: a.NextNumber}
		c := &fsmpb.LaunchTasks{AppId: id, Executors: []*AgentExecutor{{AgentId: agent, First: l.Number, Cpus: 1}}}
		if l.Executor = l.Number; a.OnAgent(agent) != nil && pick("other executor", 8) > 0 {
			l.Executor = a.OnAgent(agent).First
		}
		c.Launches = []*fsmpb.ExecutorLaunch{l, {Number: l.Number + 1, AgentId: agent, Cpus: 0.5, Executor: l.Executor}}
		return NumberLaunchTasks, c
	case 3:
		return NumberLaunchExecutors, &fsmpb.LaunchExecutors{AppId: id, Launches: []*fsmpb.ExecutorLaunch{{Number: a.NextNumber, AgentId: agent, Cores: 1}}}
	case 4, 5, 6, 7:
		st := &Status{TaskId: task, State: int32(pick("state", 15)), Uuid: []byte{byte(pick("uuid", 5))}}
		st.HasReason, st.Reason = true, int32([]int{0, ReasonReconciliation, ReasonInvalidOffers}[pick("reason", 3)])
		return NumberRecordExecutorStatuses, &fsmpb.RecordExecutorStatuses{AppId: id, Statuses: []*Status{st}}
	case 8:
		return NumberKillExecutors, &fsmpb.KillExecutors{AppId: id, TaskIds: []string{task}, Reason: "asked"}
	case 9:
		c := &fsmpb.EndAgentExecutor{AppId: id, AgentId: agent, Reason: "lost"}
		if x := a.OnAgent(agent); x != nil {
			c.First = x.First + uint64(pick("other executor", 4)/3)
		}
		return NumberEndAgentExecutor, c
	case 10:
		return NumberSetTotals, &fsmpb.SetTotals{AppId: id, Totals: []*ProfileTotal{{Total: int64(pick("total", 5))}}}
	}
	if pick("stop", 6) == 0 {
		return NumberStopApp, &fsmpb.StopApp{AppId: id, Reason: "asked"}
	}
	return NumberExcludeHost, &fsmpb.ExcludeHost{AppId: id, AgentId: agent, UntilMs: e.now + 500, Lift: pick("lift", 2) == 0}
}
