package localmesos

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// TaskView is what is to be seen of one task.
type TaskView struct {
	ID, Name    string
	FrameworkID string
	AgentID     string
	State       string // for example TASK_RUNNING; the latest, acknowledged or not
	Message     string // of the latest status
	Sandbox     string // absolute path; empty for a task that never reached its agent
	PID         int    // of its process, or its executor's, which leads its own group; 0 before it started
	Unacked     int    // updates that wait for an acknowledgement
}

// ExecutorView is what is to be seen of one executor that a framework brought.
// Command tasks have none.
type ExecutorView struct {
	ID          string
	FrameworkID string
	AgentID     string
	State       string // REGISTERING, RUNNING, TERMINATING or TERMINATED
	Connected   bool   // it has a stream
	Sandbox     string // absolute path
	PID         int    // of its process, which leads a session; 0 before it started
	Tasks       int    // that have not ended, or have updates to deliver
}

// Executors are all executors of all agents, in the order of agents and ids,
// those that have ended and are done with last.
func (m *Mesos) Executors() (list []ExecutorView) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.agents {
		current := slices.SortedFunc(maps.Values(a.executors), func(x, y *executor) int {
			return strings.Compare(x.executorID+"\x00"+x.frameworkID, y.executorID+"\x00"+y.frameworkID)
		})
		for _, e := range slices.Concat(current, a.pastExecs) {
			list = append(list, ExecutorView{ID: e.executorID, FrameworkID: e.frameworkID, AgentID: a.id, State: e.state.String(),
				Connected: e.stream != nil, Sandbox: e.sandbox, PID: e.pid, Tasks: len(e.tasks)})
		}
	}
	return list
}

// FrameworkView is what is to be seen of one framework.
type FrameworkView struct {
	ID, Name        string
	Roles           []string
	Connected       bool
	Completed       bool // torn down, or its failover timeout has passed
	FailoverTimeout time.Duration
	Tasks           int // current ones
	Offers          int // outstanding ones
}

// AgentView is what is to be seen of one agent.
type AgentView struct {
	ID, Hostname string
	// Registered with the leading master; Connected to it as well.
	Registered, Connected bool
	Unreachable, Gone     bool
	Tasks                 int // that have a live process, or updates to deliver
}

// Tasks are all tasks that a master or an agent knows, by id; the past ones of
// each framework and each agent up to a limit of 1000.
func (m *Mesos) Tasks() []TaskView {
	m.mu.Lock()
	defer m.mu.Unlock()
	views := map[runKey]TaskView{}
	for _, all := range []map[string]*framework{m.master.completed, m.master.frameworks} {
		for _, f := range all {
			for _, t := range f.completed {
				views[runKey{f.id, t.id()}] = t.view()
			}
			for _, t := range f.unreachable {
				views[runKey{f.id, t.id()}] = t.view()
			}
			for _, t := range f.tasks {
				views[runKey{f.id, t.id()}] = t.view()
			}
		}
	}
	for _, a := range m.agents {
		for _, r := range a.past {
			r.show(views)
		}
		for _, e := range slices.Concat(a.pastExecs, slices.Collect(maps.Values(a.executors))) {
			for _, r := range e.completed {
				r.show(views)
			}
		}
		for _, r := range a.runs {
			r.show(views)
		}
	}
	list := make([]TaskView, 0, len(views))
	for _, v := range views {
		list = append(list, v)
	}
	slices.SortFunc(list, func(x, y TaskView) int {
		return strings.Compare(x.ID+"\x00"+x.FrameworkID, y.ID+"\x00"+y.FrameworkID)
	})
	return list
}

// show adds what the agent knows of a task to what the master knows.
func (r *run) show(views map[runKey]TaskView) {
	key := runKey{r.frameworkID, r.id()}
	v, ok := views[key]
	if !ok {
		v = TaskView{ID: r.id(), Name: r.info.Name, FrameworkID: r.frameworkID, AgentID: r.agent.id, State: r.state.String()}
	}
	if v.AgentID == r.agent.id {
		v.Sandbox, v.PID, v.Unacked = r.sandbox, r.pid, len(r.pending)
		views[key] = v
	}
}

func (t *task) view() TaskView {
	v := TaskView{ID: t.id(), Name: t.info.Name, FrameworkID: t.frameworkID, AgentID: t.agent.id, State: t.state.String()}
	if n := len(t.statuses); n > 0 {
		v.Message = t.statuses[n-1].GetMessage()
	}
	return v
}

// Frameworks are all frameworks that the leading master knows, by id.
func (m *Mesos) Frameworks() []FrameworkView {
	m.mu.Lock()
	defer m.mu.Unlock()
	offers := map[*framework]int{}
	for _, o := range m.master.offers {
		offers[o.framework]++
	}
	var list []FrameworkView
	for i, all := range []map[string]*framework{m.master.frameworks, m.master.completed} {
		for _, f := range sortedFrameworks(all) {
			list = append(list, FrameworkView{ID: f.id, Name: f.info.Name, Roles: slices.Clone(f.roles()),
				Connected: f.stream != nil, Completed: i == 1, FailoverTimeout: seconds(f.info.GetFailoverTimeout()),
				Tasks: len(f.tasks), Offers: offers[f]})
		}
	}
	return list
}

// Agents are all agents, in the order of their numbers.
func (m *Mesos) Agents() []AgentView {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]AgentView, 0, len(m.agents))
	for _, a := range m.agents {
		list = append(list, AgentView{ID: a.id, Hostname: a.hostname, Registered: a.registered, Connected: a.connected,
			Unreachable: !m.master.lost[a.id].IsZero(), Gone: m.master.gone[a.id], Tasks: len(a.runs)})
	}
	return list
}
