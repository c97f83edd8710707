package rest

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// scanBudget is how many drivers one request for a list looks at, or twice as many
// where it asks for those that are not over. With a filter that few of them pass,
// the page ends early and the cursor leads on.
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
	x.replyJSON(query.page(v, scanBudget))
}

// page collects one page, the latest driver first, for which it looks at budget
// drivers, see scanBudget.
func (q *listQuery) page(v *fsm.View, budget int) api.DriverList {
	c := v.Counts()
	list := api.DriverList{
		Drivers: []api.Summary{}, Index: v.Index(), Change: v.NextChange() - 1,
		Counts: api.Counts{Waiting: c.Waiting, Active: c.Active, Retrying: c.Retrying, Finished: c.Finished},
	}
	if q.exhausted {
		return list
	}
	parts, alive := q.alive(v)
	if parts == nil || alive > budget {
		q.scan(v, &list, budget)
		return list
	}
	// The latest drivers are likely to be alive, and then this is the shortest way.
	if alive > 0 && q.scan(v, &list, alive) {
		return list
	}
	q.gather(parts, &list)
	return list
}

// scan looks at drivers from the latest on. It is false if the page ended because
// it had looked at so many.
func (q *listQuery) scan(v *fsm.View, list *api.DriverList, budget int) (whole bool) {
	whole = true
	looked := 0
	var last uint64
	v.Before(q.before, func(d *fsm.Driver) bool {
		if full := len(list.Drivers) == q.limit; full || looked == budget {
			list.NextCursor, whole = encodeCursor(last), full
			return false
		}
		looked++
		last = d.Seq
		if q.matches(d) {
			list.Drivers = append(list.Drivers, summary(d))
		}
		return true
	})
	return whole
}

// drivers visits some drivers in any order until visit returns false.
type drivers func(visit func(*fsm.Driver) bool)

// alive are the indexes that hold all drivers of the states asked for, and how
// many they hold; nil where states are asked for that no such index has.
func (q *listQuery) alive(v *fsm.View) (parts []drivers, n int) {
	c := v.Counts()
	var active bool
	for _, s := range slices.Compact(slices.Sorted(slices.Values(q.states))) {
		switch state := fsm.DriverState(s); {
		case state == fsm.DriverQueued:
			parts, n = append(parts, v.Waiting), n+c.Waiting
		case state == fsm.DriverRetrying:
			parts, n = append(parts, v.Retrying), n+c.Retrying
		case !state.Active():
			return nil, 0
		case !active:
			active = true
			parts, n = append(parts, v.Active), n+c.Active
		}
	}
	return parts, n
}

// gather makes the page of what the indexes hold: drivers that are not over may
// be as old as the log and lie behind 100,000 that are.
func (q *listQuery) gather(parts []drivers, list *api.DriverList) {
	most := q.limit + 1 // one more tells that there is another page
	var found []*fsm.Driver
	cut := func() {
		slices.SortFunc(found, func(a, b *fsm.Driver) int { return cmp.Compare(b.Seq, a.Seq) })
		found = found[:min(len(found), most)]
	}
	for _, part := range parts {
		part(func(d *fsm.Driver) bool {
			if (q.before == 0 || d.Seq < q.before) && q.matches(d) {
				if found = append(found, d); len(found) >= 2*most {
					cut()
				}
			}
			return true
		})
	}
	cut()
	list.Drivers, list.NextCursor = []api.Summary{}, ""
	if len(found) == most {
		found = found[:q.limit]
		list.NextCursor = encodeCursor(found[q.limit-1].Seq)
	}
	for _, d := range found {
		list.Drivers = append(list.Drivers, summary(d))
	}
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
