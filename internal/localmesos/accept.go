package localmesos

import (
	"fmt"
	"slices"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// accept uses offers of one agent. Whatever happens, the offers are used up,
// and what no task took becomes free again, behind the filters of the call.
func (m *Mesos) accept(f *framework, call *scheduler.Call_Accept) {
	offers, err := m.validateOffers(f, call.OfferIDs)
	for _, id := range call.OfferIDs {
		if o := m.master.offers[id.Value]; o != nil && o.framework == f {
			m.removeOffer(o)
		}
	}
	if err != nil {
		m.refuseTasks(f, call.Operations, err)
		return
	}
	a, role := offers[0].agent, offers[0].role
	var left mesos.Resources
	for _, o := range offers {
		left.Add(o.resources...)
	}
	for i := range call.Operations {
		op := &call.Operations[i]
		if op.Type != mesos.Offer_Operation_LAUNCH {
			// Mesos drops what it cannot do, and says so only to operations
			// that carry an id.
			m.log.Warn("operation dropped: not supported here", "operation", op.Type, "framework", f.id)
			continue
		}
		for j := range op.GetLaunch().GetTaskInfos() {
			info := &op.Launch.TaskInfos[j]
			if op.ID != nil {
				m.taskError(f, info, "The `id` field cannot be set on LAUNCH operations")
				continue
			}
			wanted, err := m.validateTask(f, a, role, info, left)
			if err != nil {
				m.taskError(f, info, err.Error())
				continue
			}
			left = left.Minus(wanted.all()...)
			m.launch(f, a, role, info, wanted)
		}
	}
	m.refuse(f, a, role, left, call.Filters)
}

// validateOffers is mesos' validation::offer::validate.
func (m *Mesos) validateOffers(f *framework, ids []mesos.OfferID) (offers []*offer, err error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("No offers specified")
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return nil, fmt.Errorf("Duplicate offer %s in offer list", id.Value)
		}
	}
	for _, id := range ids {
		o := m.master.offers[id.Value]
		if o == nil {
			return nil, fmt.Errorf("Offer %s is no longer valid", id.Value)
		}
		offers = append(offers, o)
	}
	for _, o := range offers {
		switch first := offers[0]; {
		case o.framework != f:
			return nil, fmt.Errorf("Offer %s has invalid framework %s while framework %s is expected", o.id, o.framework.id, f.id)
		case o.role != first.role:
			return nil, fmt.Errorf("Aggregated offers must be allocated to the same role. Offer %s uses role '%s but another is using role '%s", o.id, o.role, first.role)
		case o.agent != first.agent:
			return nil, fmt.Errorf("Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s", o.id, o.agent.id, first.agent.id)
		}
	}
	return offers, nil
}

func (m *Mesos) refuseTasks(f *framework, operations []mesos.Offer_Operation, err error) {
	state := mesos.TASK_LOST
	if f.partitionAware() {
		state = mesos.TASK_DROPPED
	}
	for i := range operations {
		for _, info := range operations[i].GetLaunch().GetTaskInfos() {
			m.sendStatus(f, newStatus(info.TaskID.Value, info.AgentID.Value, state,
				mesos.REASON_INVALID_OFFERS, "Task launched with invalid offers: "+err.Error()))
		}
	}
}

func (m *Mesos) taskError(f *framework, info *mesos.TaskInfo, message string) {
	m.sendStatus(f, newStatus(info.TaskID.Value, info.AgentID.Value, mesos.TASK_ERROR, mesos.REASON_TASK_INVALID, message))
}

// demand is what a task takes of an offer.
type demand struct {
	task     mesos.Resources
	executor mesos.Resources // none where it runs already
}

func (d demand) all() (all mesos.Resources) {
	all.Add(d.task...)
	all.Add(d.executor...)
	return all
}

// validateTask is mesos' validation::task::validate.
func (m *Mesos) validateTask(f *framework, a *agent, role string, info *mesos.TaskInfo, left mesos.Resources) (demand, error) {
	if err := m.validateTaskInfo(f, a, info); err != nil {
		return demand{}, err
	}
	if err := m.validateExecutor(f, a, info.Executor); err != nil {
		return demand{}, err
	}
	return m.validateResources(f, a, role, info, left)
}

func (m *Mesos) validateTaskInfo(f *framework, a *agent, info *mesos.TaskInfo) error {
	if err := validateID(info.TaskID.Value); err != nil {
		return err
	}
	id := info.TaskID.Value
	switch {
	case f.tasks[id] != nil:
		return fmt.Errorf("Task has duplicate ID: %s", id)
	case f.unreachable[id] != nil:
		return fmt.Errorf("Task reuses the ID of an unreachable task: %s", id)
	case info.AgentID.Value != a.id:
		return fmt.Errorf("Task uses invalid agent %s while agent %s is expected", info.AgentID.Value, a.id)
	case (info.Command == nil) == (info.Executor == nil):
		return fmt.Errorf("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present")
	case info.GetKillPolicy().GetGracePeriod().GetNanoseconds() < 0:
		return fmt.Errorf("Task's 'kill_policy.grace_period' must be non-negative")
	case info.GetMaxCompletionTime().GetNanoseconds() < 0:
		return fmt.Errorf("Task's `max_completion_time` must be non-negative")
	case len(info.Resources) == 0:
		return fmt.Errorf("Task uses no resources")
	}
	return nil
}

func (m *Mesos) validateResources(f *framework, a *agent, role string, info *mesos.TaskInfo, left mesos.Resources) (d demand, err error) {
	all := slices.Concat(info.Resources, info.GetExecutor().GetResources())
	if d.task, err = fromFramework(info.Resources); err != nil {
		return d, err
	}
	if e := info.Executor; e != nil {
		if d.executor, err = fromFramework(e.Resources); err != nil {
			return d, fmt.Errorf("Executor uses invalid resources: %w", err)
		}
		if a.known[executorKey{f.id, e.ExecutorID.Value}] != nil {
			d.executor = nil
		}
	}
	for i := range all {
		if r := all[i].GetAllocationInfo().GetRole(); r != "" && r != role {
			return d, fmt.Errorf("Invalid task resources: The resources have multiple allocation roles ('%s' and '%s') but only one allocation role is allowed", r, role)
		}
	}
	if !contains(left, d.all()) {
		return d, fmt.Errorf("Total resources %s required by task and its executor is more than available %s",
			formatResources(d.all(), role), formatResources(left, role))
	}
	return d, nil
}

// launch makes a valid task known to the master, and its executor if that is
// new, and hands it to its agent.
func (m *Mesos) launch(f *framework, a *agent, role string, info *mesos.TaskInfo, d demand) {
	t := &task{frameworkID: f.id, agent: a, info: info, role: role, resources: d.task, state: mesos.TASK_STAGING}
	newExecutor := info.Executor != nil && a.known[executorKey{f.id, info.Executor.ExecutorID.Value}] == nil
	m.addTask(f, t)
	m.log.Info("launching task", "task", t.id(), "framework", f.id, "agent", a.id)
	a.launch(f, t, newExecutor)
}

// addTask makes the task's resources used, unless it has ended.
func (m *Mesos) addTask(f *framework, t *task) {
	f.tasks[t.id()] = t
	if !terminal(t.state) {
		t.holds = true
		t.agent.used.Add(t.resources...)
		f.account(t.resources, 1)
	}
}

// freeTask gives the resources of a task back, once.
func (m *Mesos) freeTask(f *framework, t *task) {
	if t.holds {
		t.holds = false
		t.agent.used.Subtract(t.resources...)
		f.account(t.resources, -1)
		m.wakeAllocator()
	}
}
