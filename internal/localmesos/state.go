package localmesos

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// The documents below have the field names of Mesos' own, so that its tools
// can look at them; they leave out what nothing here fills.

const version = "1.11.0" // of Mesos, whose behaviour this follows

type object = map[string]any

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

func versionJSON() object {
	return object{"version": version, "build_user": "localmesos", "git_tag": version}
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

func (m *Mesos) masterInfo() *mesos.MasterInfo {
	s := m.master.server
	a := address(s.addr)
	port, pid, v := uint32(a.Port), "master@"+s.addr, version
	info := &mesos.MasterInfo{ID: m.master.id, Port: &port, PID: &pid, Hostname: a.Hostname, Version: &v, Address: &a,
		Capabilities: []mesos.MasterInfo_Capability{{Type: mesos.MasterInfo_Capability_AGENT_UPDATE}}}
	if ip := net.ParseIP(a.GetHostname()).To4(); ip != nil {
		// The number is in network byte order, read as a little-endian one.
		info.IP = uint32(ip[0]) | uint32(ip[1])<<8 | uint32(ip[2])<<16 | uint32(ip[3])<<24
	}
	return info
}

func (m *Mesos) stateJSON() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	doc := m.frameworksDoc()
	s := m.master.server
	if s == nil { // the leader went meanwhile
		return object{"version": version}
	}
	host := *address(s.addr).Hostname
	active := 0
	for _, a := range m.agents {
		if a.connected {
			active++
		}
	}
	for k, v := range (object{
		"version": version, "id": m.master.id, "pid": "master@" + s.addr, "hostname": host,
		"leader":      "master@" + s.addr,
		"leader_info": object{"id": m.master.id, "pid": "master@" + s.addr, "port": address(s.addr).Port, "hostname": host},
		"start_time":  unixSeconds(m.started), "elected_time": unixSeconds(m.master.elected),
		"activated_slaves": active, "unreachable_slaves": len(m.master.lost),
		"deactivated_slaves": 0, "flags": object{"work_dir": m.workDir}, "orphan_tasks": []any{},
	}) {
		doc[k] = v
	}
	for k, v := range m.slavesDoc() {
		doc[k] = v
	}
	return doc
}

func (m *Mesos) slavesJSON() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slavesDoc()
}

func (m *Mesos) slavesDoc() object {
	slaves, recovered := []object{}, []object{}
	for _, a := range m.agents {
		switch {
		case a.registered:
			slaves = append(slaves, a.json())
		case m.master.recovered[a.id]:
			recovered = append(recovered, object{"id": a.id, "hostname": a.hostname})
		}
	}
	return object{"slaves": slaves, "recovered_slaves": recovered}
}

func (a *agent) json() object {
	reserved := object{}
	var free mesos.Resources
	for i := range a.total {
		if role := a.total[i].GetRole(); role != unreserved {
			reserved[role] = resourcesJSON(slices.DeleteFunc(a.total.Clone(), func(r mesos.Resource) bool { return r.GetRole() != role }))
		} else {
			free.Add1(a.total[i])
		}
	}
	return object{
		"id": a.id, "pid": a.pid(), "hostname": a.hostname, "port": address(a.m.servers[0].addr).Port,
		"active": a.connected, "deactivated": false, "version": version, "registered_time": unixSeconds(a.registeredAt),
		"attributes": attributesJSON(a.attributes),
		"resources":  resourcesJSON(a.total), "used_resources": resourcesJSON(a.used), "offered_resources": resourcesJSON(a.offered),
		"reserved_resources": reserved, "unreserved_resources": resourcesJSON(free),
		"capabilities": []string{"MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"},
	}
}

func resourcesJSON(rs mesos.Resources) object {
	doc := object{"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
	for i := range rs {
		r := &rs[i]
		if old, ok := doc[r.Name].(float64); ok && r.GetType() == mesos.SCALAR {
			doc[r.Name] = old + r.GetScalar().GetValue()
		} else if r.GetType() == mesos.SCALAR {
			doc[r.Name] = r.GetScalar().GetValue()
		} else {
			doc[r.Name] = formatValue(r)
		}
	}
	return doc
}

func attributesJSON(attributes []mesos.Attribute) object {
	doc := object{}
	for _, a := range attributes {
		switch a.Type {
		case mesos.SCALAR:
			doc[a.Name] = a.GetScalar().GetValue()
		case mesos.TEXT:
			doc[a.Name] = a.GetText().GetValue()
		default:
			doc[a.Name] = formatValue(&mesos.Resource{Type: a.Type.Enum(), Ranges: a.Ranges, Set: a.Set})
		}
	}
	return doc
}

func (m *Mesos) frameworksJSON() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.frameworksDoc()
}

func (m *Mesos) frameworksDoc() object {
	return object{
		"frameworks":              frameworkList(m.master.frameworks),
		"completed_frameworks":    frameworkList(m.master.completed),
		"unregistered_frameworks": []any{},
	}
}

func frameworkList(all map[string]*framework) []object {
	list := []object{}
	for _, f := range sortedFrameworks(all) {
		list = append(list, f.json())
	}
	return list
}

func sortedFrameworks(all map[string]*framework) []*framework {
	list := make([]*framework, 0, len(all))
	for _, f := range all {
		list = append(list, f)
	}
	slices.SortFunc(list, func(x, y *framework) int { return strings.Compare(x.id, y.id) })
	return list
}

func (f *framework) json() object {
	capabilities := []string{}
	for _, c := range f.info.Capabilities {
		capabilities = append(capabilities, c.Type.String())
	}
	tasks, unreachable, completed := []object{}, []object{}, []object{}
	var used mesos.Resources
	for _, t := range f.tasks {
		tasks = append(tasks, t.json())
		if t.holds {
			used.Add(t.resources...)
		}
	}
	for _, t := range f.unreachable {
		unreachable = append(unreachable, t.json())
	}
	for _, t := range f.completed {
		completed = append(completed, t.json())
	}
	return object{
		"id": f.id, "name": f.info.Name, "user": f.info.User, "principal": f.info.GetPrincipal(),
		"hostname": f.info.GetHostname(), "webui_url": f.info.GetWebUiURL(),
		"active": f.stream != nil, "connected": f.stream != nil, "recovered": f.recovered,
		"failover_timeout": f.info.GetFailoverTimeout(), "checkpoint": f.info.GetCheckpoint(),
		"registered_time": unixSeconds(f.registered), "reregistered_time": unixSeconds(f.reregistered), "unregistered_time": unixSeconds(f.unregistered),
		"roles": f.roles(), "capabilities": capabilities, "used_resources": resourcesJSON(used), "resources": resourcesJSON(used),
		"tasks": sortByID(tasks), "unreachable_tasks": sortByID(unreachable), "completed_tasks": completed,
	}
}

func sortByID(tasks []object) []object {
	slices.SortFunc(tasks, func(x, y object) int { return strings.Compare(x["id"].(string), y["id"].(string)) })
	return tasks
}

func (t *task) json() object {
	statuses := []object{}
	for i := range t.statuses {
		s := &t.statuses[i]
		doc := object{"state": s.GetState().String(), "timestamp": s.GetTimestamp()}
		if s.ContainerStatus != nil {
			doc["container_status"] = object{"container_id": object{"value": s.ContainerStatus.GetContainerID().GetValue()}}
		}
		statuses = append(statuses, doc)
	}
	executor := ""
	if t.info.Executor != nil {
		executor = t.info.Executor.ExecutorID.Value
	}
	labels := []object{}
	for _, l := range t.info.GetLabels().GetLabels() {
		labels = append(labels, object{"key": l.Key, "value": l.GetValue()})
	}
	return object{
		"id": t.id(), "name": t.info.Name, "framework_id": t.frameworkID, "executor_id": executor, "slave_id": t.agent.id,
		"state": t.state.String(), "role": t.role, "resources": resourcesJSON(t.resources), "statuses": statuses, "labels": labels,
	}
}

func (m *Mesos) tasksJSON() any {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []object{}
	for _, all := range []map[string]*framework{m.master.frameworks, m.master.completed} {
		for _, f := range sortedFrameworks(all) {
			for _, t := range m.sortedTasks(f) {
				list = append(list, t.json())
			}
			for _, t := range f.completed {
				list = append(list, t.json())
			}
		}
	}
	return object{"tasks": list}
}

// agentStateJSON is the state of one agent, with the sandbox of each task as
// its executor's directory.
func (m *Mesos) agentStateJSON(a *agent) object {
	current, past := map[string][]object{}, map[string][]object{}
	for _, r := range a.runs {
		if r.exec == nil && r.sandbox != "" {
			current[r.frameworkID] = append(current[r.frameworkID], r.json("tasks"))
		}
	}
	for _, e := range a.executors {
		current[e.frameworkID] = append(current[e.frameworkID], e.json())
	}
	for _, r := range a.past {
		if r.sandbox != "" {
			past[r.frameworkID] = append(past[r.frameworkID], r.json("completed_tasks"))
		}
	}
	for _, e := range a.pastExecs {
		past[e.frameworkID] = append(past[e.frameworkID], e.json())
	}
	for id := range past {
		if current[id] == nil {
			current[id] = []object{}
		}
	}
	frameworks, completed := []object{}, []object{}
	for id, list := range current {
		doc := object{"id": id, "name": a.frameworks[id].GetName(), "executors": sortByID(list), "completed_executors": past[id]}
		if len(list) > 0 {
			frameworks = append(frameworks, doc)
		} else {
			completed = append(completed, doc)
		}
	}
	return object{
		"id": a.id, "pid": a.pid(), "hostname": a.hostname, "version": version,
		"attributes": attributesJSON(a.attributes), "resources": resourcesJSON(a.total),
		"flags": object{"work_dir": m.workDir}, "frameworks": sortByID(frameworks), "completed_frameworks": sortByID(completed),
	}
}

func (r *run) json(tasks string) object {
	return object{
		"id": r.executorID, "name": r.info.Name, "source": r.id(), "container": r.containerID, "directory": r.sandbox,
		tasks: []object{r.taskJSON()},
	}
}

func (r *run) taskJSON() object {
	return object{"id": r.id(), "name": r.info.Name, "state": r.state.String(), "slave_id": r.agent.id, "framework_id": r.frameworkID}
}

func (e *executor) json() object {
	queued, tasks, completed := []object{}, []object{}, []object{}
	for _, r := range e.tasks {
		if r.queued {
			queued = append(queued, r.taskJSON())
		} else {
			tasks = append(tasks, r.taskJSON())
		}
	}
	for _, r := range e.completed {
		completed = append(completed, r.taskJSON())
	}
	return object{
		"id": e.executorID, "name": e.info.GetName(), "source": e.info.GetSource(), "container": e.containerID, "directory": e.sandbox,
		"queued_tasks": queued, "tasks": tasks, "completed_tasks": completed,
	}
}

func (m *Mesos) metricsJSON(i int) object {
	m.mu.Lock()
	defer m.mu.Unlock()
	doc := object{"master/elected": 0, "master/uptime_secs": time.Since(m.started).Seconds()}
	if m.leader != i {
		return doc
	}
	var active, tasks, connected int
	for _, a := range m.agents {
		if a.connected {
			active++
		}
	}
	for _, f := range m.master.frameworks {
		tasks += len(f.tasks)
		if f.stream != nil {
			connected++
		}
	}
	doc["master/elected"] = 1
	doc["master/slaves_active"] = active
	doc["master/slaves_unreachable"] = len(m.master.lost)
	doc["master/frameworks_connected"] = connected
	doc["master/frameworks_disconnected"] = len(m.master.frameworks) - connected
	doc["master/outstanding_offers"] = len(m.master.offers)
	doc["master/tasks_running"] = tasks
	return doc
}
