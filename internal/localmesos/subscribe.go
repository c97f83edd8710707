package localmesos

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// framework is what a master knows of one framework.
type framework struct {
	id       string
	info     *mesos.FrameworkInfo // never changed in place
	stream   *stream              // nil while disconnected
	failover *timer               // runs while disconnected

	recovered                bool // known from agents only, since a master failover
	registered, reregistered time.Time
	unregistered             time.Time
	suppressed               map[string]bool
	filters                  []filter
	cpus, memory             float64 // held by tasks and offers

	tasks       map[string]*task // current ones: not terminal, or not acknowledged
	unreachable map[string]*task
	completed   []*task
}

func (f *framework) can(c mesos.FrameworkInfo_Capability_Type) bool {
	return slices.ContainsFunc(f.info.Capabilities, func(x mesos.FrameworkInfo_Capability) bool { return x.Type == c })
}

func (f *framework) partitionAware() bool {
	return f.can(mesos.FrameworkInfo_Capability_PARTITION_AWARE)
}

func (f *framework) roles() []string {
	if f.can(mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		return f.info.Roles
	}
	return []string{f.info.GetRole()} // "*" where it is not set
}

func newFramework(id string, info *mesos.FrameworkInfo) *framework {
	return &framework{id: id, info: info, registered: time.Now(), suppressed: map[string]bool{},
		tasks: map[string]*task{}, unreachable: map[string]*task{}}
}

// subscribe puts a framework on a stream. It returns nil when it refused,
// after an ERROR event on that stream.
func (m *Mesos) subscribe(call *scheduler.Call_Subscribe, s *stream) *framework {
	s.silent = m.silent
	info := call.FrameworkInfo
	if err := m.validateFramework(info); err != nil {
		return refuseSubscription(s, err)
	}
	id := info.GetID().GetValue()
	f := m.master.frameworks[id]
	switch {
	case id == "":
		id = fmt.Sprintf("%s-%04d", m.master.id, m.master.nextFramework)
		m.master.nextFramework++
		info.ID = &mesos.FrameworkID{Value: id}
		f = newFramework(id, info)
	case f == nil:
		// After a master failover, an id that no agent knows is as good as
		// any: the master keeps no list of frameworks.
		f = newFramework(id, info)
	default:
		info.User, info.Checkpoint = f.info.User, f.info.Checkpoint // changes are ignored here
		if err := validateUpdate(f.info, info); err != nil {
			return refuseSubscription(s, err)
		}
		if !f.recovered {
			f.reregistered = time.Now()
		}
		m.withdraw(f)
	}
	m.master.frameworks[id] = f
	if f.stream != nil {
		f.stream.push(errorEvent("Framework failed over"))
		f.stream.finish()
	}
	m.cancel(f.failover)
	f.info, f.stream, f.failover, f.recovered, f.filters = info, s, nil, false, nil
	f.suppress(call.SuppressedRoles)
	m.tellAgents(f)
	m.log.Info("framework subscribed", "framework", id, "name", info.Name)
	m.sendEvent(f, m.subscribedEvent(id))
	m.sendEvent(f, &scheduler.Event{Type: scheduler.Event_HEARTBEAT})
	m.resumeUpdates(f)
	m.wakeAllocator()
	return f
}

// resumeUpdates sends again what the last scheduler did not acknowledge. The
// agents of Mesos do so when the master tells them of the new one; otherwise
// everything behind it would wait for the next retry.
func (m *Mesos) resumeUpdates(f *framework) {
	for _, a := range m.agents {
		for key, r := range a.runs {
			if key.framework == f.id {
				r.resumeUpdates()
			}
		}
	}
}

func refuseSubscription(s *stream, err error) *framework {
	s.push(errorEvent(err.Error()))
	s.finish()
	return nil
}

func errorEvent(message string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: message}}
}

func (m *Mesos) subscribedEvent(id string) *scheduler.Event {
	seconds := m.opts.HeartbeatInterval.Seconds()
	return &scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: &mesos.FrameworkID{Value: id}, HeartbeatIntervalSeconds: &seconds, MasterInfo: m.masterInfo()}}
}

// sendEvent puts an event on the stream of a framework, if it has one.
func (m *Mesos) sendEvent(f *framework, e *scheduler.Event) {
	if f.stream == nil {
		return
	}
	action := Pass
	if m.faults.Event != nil {
		action = m.faults.Event(f.id, e)
	}
	switch action {
	case Drop:
	case Hold:
		m.heldEvents = append(m.heldEvents, heldEvent{f.id, e})
	case Duplicate:
		f.stream.push(e)
		f.stream.push(e)
	default:
		f.stream.push(e)
	}
}

// disconnected is told when a stream has ended. A framework that has moved to
// another stream, or whose master is gone, is none of its business.
func (m *Mesos) disconnected(f *framework, s *stream) {
	if f == nil || f.stream != s {
		return
	}
	f.stream = nil
	if m.master.frameworks[f.id] != f {
		return
	}
	m.log.Info("framework disconnected", "framework", f.id)
	m.withdraw(f)
	f.failover = m.after(seconds(f.info.GetFailoverTimeout()), func() {
		m.log.Info("framework failover timeout", "framework", f.id)
		m.removeFramework(f)
	})
}

// withdraw takes all offers of a framework back without telling it.
func (m *Mesos) withdraw(f *framework) {
	for _, o := range m.master.offers {
		if o.framework == f {
			m.removeOffer(o)
		}
	}
}

// removeFramework ends a framework for good: its tasks are killed, without
// updates, and its id is never accepted again by this master.
func (m *Mesos) removeFramework(f *framework) {
	m.withdraw(f)
	m.cancel(f.failover)
	for _, t := range m.sortedTasks(f) {
		status := m.masterStatus(t, mesos.TASK_KILLED, mesos.REASON_FRAMEWORK_REMOVED, "Framework "+f.id+" removed")
		t.record(status)
		m.complete(f, t)
	}
	for _, t := range f.unreachable {
		m.complete(f, t)
	}
	clear(f.unreachable)
	for _, a := range m.agents {
		for key := range a.known {
			if key.framework == f.id {
				m.removeExecutor(a, key)
			}
		}
	}
	if f.stream != nil {
		f.stream.finish()
		f.stream = nil
	}
	f.unregistered = time.Now()
	delete(m.master.frameworks, f.id)
	m.master.completed[f.id] = f
	for _, a := range m.agents {
		if a.connected {
			a.shutdownFramework(f.id)
		} // an agent that is away is told when it re-registers
	}
	m.wakeAllocator()
}

// updateFramework replaces the FrameworkInfo of a subscribed framework.
func (m *Mesos) updateFramework(f *framework, call *scheduler.Call_UpdateFramework) error {
	info := call.FrameworkInfo
	info.ID = &mesos.FrameworkID{Value: f.id}
	if err := m.validateFramework(&info); err != nil {
		return badRequest("Supplied FrameworkInfo is not valid: %v", err)
	}
	if err := validateUpdate(f.info, &info); err != nil {
		return badRequest("FrameworkInfo update is not valid: %v", err)
	}
	f.info = &info
	f.suppress(call.SuppressedRoles)
	for _, o := range m.master.offers {
		if o.framework == f && !slices.Contains(f.roles(), o.role) {
			m.rescind(o)
		}
	}
	m.tellAgents(f)
	m.wakeAllocator()
	return nil
}

// tellAgents brings a new FrameworkInfo to the agents that run its tasks.
func (m *Mesos) tellAgents(f *framework) {
	for _, a := range m.agents {
		if a.frameworks[f.id] != nil {
			a.frameworks[f.id] = f.info
		}
	}
}

func (m *Mesos) validateFramework(info *mesos.FrameworkInfo) error {
	multi := slices.ContainsFunc(info.Capabilities, func(c mesos.FrameworkInfo_Capability) bool {
		return c.Type == mesos.FrameworkInfo_Capability_MULTI_ROLE
	})
	switch {
	case multi && info.Role != nil:
		return fmt.Errorf("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")
	case !multi && len(info.Roles) > 0:
		return fmt.Errorf("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")
	case !multi:
		if err := validateRole(info.GetRole()); err != nil {
			return fmt.Errorf("'FrameworkInfo.role' is not a valid role: %w", err)
		}
	}
	for i, role := range info.Roles {
		if slices.Contains(info.Roles[:i], role) {
			return fmt.Errorf("'FrameworkInfo.roles' contains duplicate items: { %s }", role)
		}
		if err := validateRole(role); err != nil {
			return fmt.Errorf("'FrameworkInfo.roles' contains invalid role: %w", err)
		}
	}
	if id := info.GetID().GetValue(); id != "" {
		if err := validateID(id); err != nil {
			return fmt.Errorf("Framework ID is invalid: %w", err)
		}
		if m.master.completed[id] != nil {
			return fmt.Errorf("Framework has been removed")
		}
	}
	if t := info.GetFailoverTimeout(); !(math.Abs(t) < maxSeconds) {
		return fmt.Errorf("The framework failover_timeout (%v) is invalid", t)
	}
	return nil
}

// validateUpdate says which fields of a FrameworkInfo must stay.
func validateUpdate(old, info *mesos.FrameworkInfo) error {
	switch {
	case old.GetPrincipal() != info.GetPrincipal():
		return fmt.Errorf("Changing framework's principal is not allowed.")
	case old.User != info.User:
		return fmt.Errorf("Updating 'FrameworkInfo.user' is unsupported; attempted to update from '%s' to '%s'", old.User, info.User)
	case old.GetCheckpoint() != info.GetCheckpoint():
		return fmt.Errorf("Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '%t' to '%t'",
			old.GetCheckpoint(), info.GetCheckpoint())
	}
	return nil
}

// validateRole is mesos' roles::validate.
func validateRole(role string) error {
	switch {
	case role == unreserved:
		return nil
	case strings.HasPrefix(role, "/"):
		return fmt.Errorf("Role '%s' cannot start with a slash", role)
	case strings.HasSuffix(role, "/"):
		return fmt.Errorf("Role '%s' cannot end with a slash", role)
	case strings.Contains(role, "//"):
		return fmt.Errorf("Role '%s' cannot contain two adjacent slashes", role)
	case role == "":
		return fmt.Errorf("Role names cannot be the empty string")
	}
	for part := range strings.SplitSeq(role, "/") {
		switch {
		case part == "." || part == ".." || part == "*":
			return fmt.Errorf("Role '%s' cannot include '%s' as a component", role, part)
		case strings.HasPrefix(part, "-"):
			return fmt.Errorf("Role component '%s' is invalid because it starts with a dash", part)
		case strings.ContainsFunc(part, func(r rune) bool { return unicode.IsSpace(r) || r == '\b' || r == 0x7f }):
			return fmt.Errorf("Role component '%s' is invalid because it contains backspace or whitespace", part)
		}
	}
	return nil
}

// validateID is mesos' common::validation::validateID.
func validateID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("ID must not be empty")
	case len(id) > 255:
		return fmt.Errorf("ID must not be greater than 255 characters")
	case id == "." || id == "..":
		return fmt.Errorf("'%s' is disallowed", id)
	case strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '/' || r == '\\' }):
		return fmt.Errorf("'%s' contains invalid characters", id)
	}
	return nil
}

// maxSeconds is the longest time that a time.Duration, or Mesos', can hold.
const maxSeconds = math.MaxInt64 / 1e9

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
