package localmesos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// master is what the leading master knows. A failover throws it away and makes
// a new one, which learns again from agents and frameworks, as Mesos' does:
// only the set of agents is in its registry.
type master struct {
	id      string
	server  *server
	elected time.Time

	frameworks map[string]*framework
	completed  map[string]*framework // torn down, or failover timeout passed
	offers     map[string]*offer
	recovered  map[string]bool      // agents of the registry not yet back
	lost       map[string]time.Time // unreachable agents, and since when
	gone       map[string]bool      // agents removed for good

	nextFramework, nextOffer int
}

// elect makes server i lead with fresh state; i < 0 leaves no leader. The
// caller holds mu.
func (m *Mesos) elect(i int) {
	old := m.master
	m.leader = i
	m.master = &master{
		id: newMasterID(), elected: time.Now(),
		frameworks: map[string]*framework{}, completed: map[string]*framework{},
		offers: map[string]*offer{}, recovered: map[string]bool{},
		lost: map[string]time.Time{}, gone: map[string]bool{},
	}
	m.heldEvents = nil
	if i >= 0 {
		m.master.server = m.servers[i]
	}
	if old != nil {
		for _, f := range old.frameworks {
			m.cancel(f.failover)
			if f.stream != nil {
				f.stream.cut()
			}
		}
		for _, o := range old.offers {
			m.cancel(o.timeout)
		}
		m.master.gone, m.master.lost = old.gone, old.lost // the registry
	}
	for _, a := range m.agents {
		a.registered, a.connected, a.used, a.offered = false, false, nil, nil
		if m.master.gone[a.id] || !m.master.lost[a.id].IsZero() {
			continue
		}
		m.master.recovered[a.id] = true
		if i >= 0 && !a.partitioned {
			m.after(m.opts.AgentReregisterDelay, func() { m.reregister(a) })
		}
	}
}

// FailoverMaster makes the leading master fail and come back at the same
// address, with nothing in its memory but its list of agents: all streams are
// cut, outstanding offers are void, frameworks must subscribe again, and agents
// re-register after Options.AgentReregisterDelay. Tasks live on.
func (m *Mesos) FailoverMaster(ctx context.Context) error {
	m.mu.Lock()
	leader := max(m.leader, 0)
	m.mu.Unlock()
	return m.FailoverTo(ctx, m.servers[leader].addr)
}

// FailoverTo is FailoverMaster with another master leading afterwards. The
// one that led answers 307 from then on.
func (m *Mesos) FailoverTo(ctx context.Context, addr string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	i := slices.IndexFunc(m.servers, func(s *server) bool { return s.addr == addr })
	if i < 0 {
		return fmt.Errorf("localmesos: no master at %q; there are %q", addr, m.Addrs())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.Info("master failover", "leader", addr)
	m.elect(i)
	return nil
}

// StopMaster leaves the cluster without a leading master: streams are cut and
// every call is answered 503 until FailoverMaster or FailoverTo. Tasks live on.
func (m *Mesos) StopMaster() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.elect(-1)
}

// dispatch does what a valid call of a subscribed framework asks for. Only
// UPDATE_FRAMEWORK may fail.
func (m *Mesos) dispatch(f *framework, call *scheduler.Call) error {
	switch call.Type {
	case scheduler.Call_TEARDOWN:
		m.removeFramework(f)
	case scheduler.Call_ACCEPT:
		m.accept(f, call.Accept)
	case scheduler.Call_DECLINE:
		m.decline(f, call.Decline)
	case scheduler.Call_REVIVE:
		m.revive(f, call.GetRevive().GetRoles())
	case scheduler.Call_SUPPRESS:
		m.suppress(f, call.GetSuppress().GetRoles())
	case scheduler.Call_KILL:
		m.kill(f, call.Kill)
	case scheduler.Call_ACKNOWLEDGE:
		m.acknowledge(f, call.Acknowledge)
	case scheduler.Call_RECONCILE:
		m.reconcile(f, call.Reconcile)
	case scheduler.Call_UPDATE_FRAMEWORK:
		return m.updateFramework(f, call.UpdateFramework)
	case scheduler.Call_SHUTDOWN:
		m.shutdownExecutor(f, call.Shutdown)
	case scheduler.Call_MESSAGE:
		m.message(f, call.Message)
	default:
		m.log.Debug("call without effect", "call", call.Type, "framework", f.id)
	}
	return nil
}
