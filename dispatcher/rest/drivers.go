package rest

import (
	"errors"
	"net/http"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// scanBudget is how many drivers one request for a list looks at. With a filter
// that few of them pass, the page ends early and the cursor leads on.
const scanBudget = 50_000

// listDrivers answers GET /v1/drivers.
func (x *exchange) listDrivers() {
	query, f := parseListQuery(x.r.URL.Query())
	var consistency dispatcher.Consistency
	if f == nil {
		consistency, f = x.consistency()
	}
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	v, err := x.s.backend.View(x.r.Context(), consistency)
	if err != nil {
		x.failWith(err)
		return
	}
	x.replyJSON(query.page(v))
}

// page collects one page, the latest driver first.
func (q *listQuery) page(v *fsm.View) api.DriverList {
	c := v.Counts()
	list := api.DriverList{
		Drivers: []api.Summary{}, Index: v.Index(), Change: v.NextChange() - 1,
		Counts: api.Counts{Waiting: c.Waiting, Active: c.Active, Retrying: c.Retrying, Finished: c.Finished},
	}
	if q.exhausted {
		return list
	}
	looked := 0
	var last uint64
	v.Before(q.before, func(d *fsm.Driver) bool {
		if len(list.Drivers) == q.limit || looked == scanBudget {
			list.NextCursor = encodeCursor(last)
			return false
		}
		looked++
		last = d.Seq
		if q.matches(d) {
			list.Drivers = append(list.Drivers, summary(d))
		}
		return true
	})
	return list
}

// getDriver answers GET /v1/drivers/{id}.
func (x *exchange) getDriver() {
	consistency, f := x.consistency()
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	d, err := x.s.backend.Driver(x.r.Context(), x.arg, consistency)
	if errors.Is(err, dispatcher.ErrNotFound) {
		x.fail(&failure{status: http.StatusNotFound, message: notFoundText(consistency)})
		return
	}
	if err != nil {
		x.failWith(err)
		return
	}
	described, err := x.s.backend.Describe(d)
	if err != nil {
		x.failWith(err)
		return
	}
	x.replyJSON(driver(d, described))
}

func driver(d *fsm.Driver, described Description) api.Driver {
	out := api.Driver{
		Summary: summary(d), AppResource: described.AppResource, AppArgs: described.Args,
		Properties: described.Properties, Environment: described.Environment,
		MaxRetries: int(d.MaxRetries), WaitSeconds: int(d.WaitSeconds),
		Attempts: make([]api.Attempt, 0, len(d.Attempts)), AttemptsForgotten: int(d.AttemptsForgotten),
		LastStatus: taskStatus(d.LastStatus()),
	}
	if out.AppArgs == nil {
		out.AppArgs = []string{}
	}
	if out.Properties == nil {
		out.Properties = map[string]string{}
	}
	if out.Environment == nil {
		out.Environment = map[string]string{}
	}
	for _, a := range d.Attempts {
		out.Attempts = append(out.Attempts, api.Attempt{
			Number: int(a.Number), TaskID: a.TaskID, AgentID: a.AgentID, AgentHost: a.AgentHost,
			FrameworkID: a.FrameworkID, LaunchedAt: optionalTime(a.LaunchedMs), StartedAt: optionalTime(a.StartedMs),
			EndedAt: optionalTime(a.EndedMs), Dropped: a.Dropped, Status: taskStatus(a.Last),
		})
	}
	return out
}

func summary(d *fsm.Driver) api.Summary {
	s := api.Summary{
		ID: d.ID, State: string(d.State), SparkState: sparkState(d.State), Name: d.Name, MainClass: d.MainClass,
		Queue: d.Queue, Priority: d.Priority, Cores: d.Cores, MemMiB: d.MemMiB, Supervise: d.Supervise, User: d.User,
		SubmittedAt: timeOf(d.SubmittedMs), ChangedAt: timeOf(d.ChangedMs), FinishedAt: optionalTime(d.FinishedMs),
		AttemptCount: int(d.NextAttempt), Retries: int(d.Retries), NextRetryAt: optionalTime(d.NotBeforeMs),
		Reason: d.Reason,
	}
	if a := d.Current(); a != nil {
		s.AgentID, s.AgentHost, s.TaskID = a.AgentID, a.AgentHost, a.TaskID
		if a.Last != nil {
			s.TaskState = enumName(taskStates, a.Last.State)
		}
	}
	return s
}

func taskStatus(st *fsm.Status) *api.TaskStatus {
	if st == nil {
		return nil
	}
	out := &api.TaskStatus{
		State: enumName(taskStates, st.State), Message: st.Message, AgentID: st.AgentId,
		At: optionalTime(int64(st.Timestamp * 1000)),
	}
	if st.HasSource {
		out.Source = agentName(enumName(taskSources, st.Source))
	}
	if st.HasReason {
		out.Reason = agentName(enumName(taskReasons, st.Reason))
	}
	if st.HasHealthy {
		healthy := st.Healthy
		out.Healthy = &healthy
	}
	return out
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func optionalTime(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := timeOf(ms)
	return &t
}
