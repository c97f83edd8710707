package backend

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

const (
	// fineRefuse is how long what tasks leave over is refused: they are short.
	fineRefuse = time.Second
	// tasksPerEntry bounds one log entry.
	tasksPerEntry = 1000
)

// place offers what Mesos offers to the task scheduler.
func (d *fineDuty) place(ctx context.Context) error {
	now := d.cfg.Clock()
	d.giveUp(now)
	if err := d.bury(ctx, now); err != nil {
		return err
	}
	if d.fine.asked.Swap(false) {
		d.reviving.wanted = true
	}
	if len(d.offers) > 0 {
		if err := d.use(ctx, now); err != nil {
			return err
		}
	}
	d.reviveAt(now)
	d.revive(ctx, now)
	return nil
}

func (d *fineDuty) use(ctx context.Context, now time.Time) error {
	offers := d.offers
	d.offers = nil
	a, found := d.app()
	if !found {
		return nil
	}
	d.cfg.Logger.Debug(fmt.Sprintf("Received %d resource offers.", len(offers)))
	p := sortOffers(a, d.settings, offers, now, func(agent string) bool { return d.losses[agent] != nil })
	problem := d.tooOld()
	if problem != nil {
		for _, g := range p.usable {
			p.decline(g, ReasonVersion, nil)
		}
		p.usable = nil
	}
	d.checkExecutors(ctx, &p)
	infos := d.describe(ctx, a, &p, &problem)
	d.setProblem(problem)
	if p.retryMs != 0 {
		d.reviving.at = time.UnixMilli(p.retryMs)
	}
	if len(p.usable) > 0 {
		worker := p.workerOffers(d.settings)
		tasks := d.fine.scheduler.ResourceOffers(ctx, worker)
		for _, r := range p.assign(d.settings, tasks, a.NextNumber) {
			d.cfg.Logger.Error("a task is not launched", "error", r.err)
			d.fine.scheduler.TaskRefused(r.task, r.err)
		}
		if err := d.launch(ctx, a, &p, infos, worker); err != nil {
			return err
		}
	}
	d.decideNot(ctx, p.declines)
	return nil
}

// checkExecutors takes agents out of the plan on which there is an executor that
// the log does not know, from before the agent was away, or none though the log
// has one, of which the end was missed. Offers say which executors Mesos knows.
func (d *fineDuty) checkExecutors(ctx context.Context, p *finePlan) {
	p.usable = slices.DeleteFunc(p.usable, func(g *agentOffers) bool {
		switch {
		case g.executor == nil && g.running:
			if err := d.mesos.Shutdown(ctx, g.agentID, g.agentID); err != nil {
				d.cfg.Logger.Debug("an executor was not shut down; it is tried at the next offer", "agent", g.agentID, "error", err)
			}
			p.decline(g, ReasonUnknown, nil)
			return true
		case g.executor != nil && !g.running && d.liveOn(g.agentID, every) == 0:
			d.lose(g.agentID, "mesos does not know it any more", 0)
			p.decline(g, ReasonLost, nil)
			return true
		}
		return false
	})
}

// tooOld is nil, or says that a member would not understand the intents.
func (d *fineDuty) tooOld() error {
	log, tells := d.cfg.Log.(interface{ Status() raftstore.Status })
	if !tells {
		return nil
	}
	if have, want := log.Status().MinVersion, fsm.NumberLaunchTasks.Since(); have < want {
		return fmt.Errorf("%w: it knows command set %d, fine-grained mode needs %d", ErrOldMember, have, want)
	}
	return nil
}

// agentInfo is the executor of an agent as its tasks name it.
type agentInfo struct {
	info        *mesos.ExecutorInfo
	fingerprint uint64
}

// describe describes the executors of the usable agents. Those that cannot be used
// are taken out of the plan.
func (d *fineDuty) describe(ctx context.Context, a *fsm.App, p *finePlan, problem *error) map[string]agentInfo {
	infos := make(map[string]agentInfo, len(p.usable))
	p.usable = slices.DeleteFunc(p.usable, func(g *agentOffers) bool {
		var resources []mesos.Resource
		var err error
		if g.executor != nil {
			resources, err = decodeResources(g.executor)
		}
		var x agentInfo
		if err == nil {
			x.info, x.fingerprint, err = d.settings.agentExecutor(d.cfg.Executor, AgentExecutorSpec{a.Framework.ID, g.agentID, g.host}, resources)
		}
		switch {
		case err != nil:
			d.cfg.Logger.Error("an executor cannot be described", "agent", g.agentID, "error", err)
			*problem = err
			p.decline(g, ReasonExecutor, &d.settings.Refuse.Offer)
			return true
		case g.executor != nil && g.executor.Fingerprint != x.fingerprint:
			*problem = fmt.Errorf("the executor on %s was started with other settings; it gets no tasks, and is replaced when it has none", g.agentID)
			d.replace(ctx, g.agentID)
			p.decline(g, ReasonOther, nil)
			return true
		}
		infos[g.agentID] = x
		return false
	})
	return infos
}

// replace ends an executor that no task can be given, as soon as it has none.
func (d *fineDuty) replace(ctx context.Context, agentID string) {
	if d.liveOn(agentID, every) > 0 {
		return
	}
	if err := d.mesos.Shutdown(ctx, agentID, agentID); err != nil {
		d.cfg.Logger.Debug("an executor was not shut down; it is tried at the next offer", "agent", agentID, "error", err)
		return
	}
	d.lose(agentID, "it was started with other settings", 0)
}

// launch commits the intents of the plan and carries them out.
func (d *fineDuty) launch(ctx context.Context, a *fsm.App, p *finePlan, infos map[string]agentInfo, worker []WorkerOffer) error {
	committed, err := d.commit(ctx, a, p, infos)
	if err != nil {
		return err
	}
	if len(committed) > 0 {
		if err := d.cfg.failpoint(ctx, FailIntentCommitted); err != nil {
			return err
		}
	}
	for i, g := range p.usable {
		if len(g.tasks) == 0 {
			p.decline(g, ReasonNoTask, nil)
			continue
		}
		if g.executor == nil && committed[strconv.FormatInt(g.tasks[0].ID, 10)] {
			d.fine.scheduler.ExecutorAdded(g.agentID, g.host, worker[i].Cores)
		}
		if err := d.send(ctx, g.ids(), g.agentID, g.host, only(g.infos(infos[g.agentID].info), committed), fineRefuse); err != nil {
			return err
		}
	}
	if len(committed) > 0 {
		return d.cfg.failpoint(ctx, FailAccepted)
	}
	return nil
}

func (g *agentOffers) infos(executor *mesos.ExecutorInfo) []mesos.TaskInfo {
	if g.started != nil {
		executor.Resources = g.started
	}
	out := make([]mesos.TaskInfo, len(g.tasks))
	for i, t := range g.tasks {
		out[i] = mesos.TaskInfo{
			Name: t.Name, TaskID: mesos.TaskID{Value: strconv.FormatInt(t.ID, 10)}, AgentID: mesos.AgentID{Value: g.agentID},
			Resources: t.resources, Executor: executor, Data: t.Data,
		}
	}
	return out
}

// commit commits the intents of all tasks of the plan. It returns the task ids
// that may be launched.
func (d *fineDuty) commit(ctx context.Context, a *fsm.App, p *finePlan, infos map[string]agentInfo) (map[string]bool, error) {
	var launches []*fsmpb.ExecutorLaunch
	executors := make(map[uint64]*fsm.AgentExecutor) // by the task that starts them
	for _, g := range p.usable {
		if len(g.tasks) == 0 {
			continue
		}
		first := uint64(g.tasks[0].ID)
		if g.executor != nil {
			first = g.executor.First
		} else {
			resources, err := encodeResources(g.started)
			if err != nil {
				return nil, err
			}
			executors[first] = &fsm.AgentExecutor{
				AgentId: g.agentID, First: first, Cpus: d.settings.AgentExecutorCores, MemMib: d.settings.MemoryMiB,
				Resources: resources, Fingerprint: infos[g.agentID].fingerprint,
			}
		}
		for _, t := range g.tasks {
			d.fine.ledger.open[t.ID] = true
			launches = append(launches, &fsmpb.ExecutorLaunch{
				Number: uint64(t.ID), AgentId: g.agentID, Host: g.host, Cpus: t.CPUs, Name: t.Name, Executor: first,
			})
		}
	}
	slices.SortFunc(launches, func(a, b *fsmpb.ExecutorLaunch) int { return int(int64(a.Number) - int64(b.Number)) })
	committed := make(map[string]bool)
	for chunk := range slices.Chunk(launches, tasksPerEntry) {
		body := &fsmpb.LaunchTasks{AppId: a.ID, Launches: chunk}
		for _, l := range chunk {
			if x := executors[l.Number]; x != nil {
				body.Executors = append(body.Executors, x)
			}
		}
		if err := d.commitChunk(ctx, body, committed); err != nil {
			return nil, err
		}
	}
	d.m.launches.Add(float64(len(committed)))
	return committed, nil
}

func (d *fineDuty) commitChunk(ctx context.Context, body *fsmpb.LaunchTasks, committed map[string]bool) error {
	r, err := d.propose(ctx, fsm.NumberLaunchTasks, body)
	if err != nil {
		return fmt.Errorf("commit launch intents: %w", err)
	}
	for i, l := range body.Launches {
		refused := fsm.ResultError(r)
		if i < len(r.Launches) {
			refused = fsm.ResultError(&fsmpb.Result{Code: r.Launches[i].Code, Message: r.Launches[i].Message})
		}
		if refused == nil {
			committed[strconv.FormatUint(l.Number, 10)] = true
			continue
		}
		d.cfg.Logger.Info("launch was overtaken", "task", l.Number, "outcome", refused)
		d.ended(int64(l.Number), TaskUpdate{ExecutorID: l.AgentId, State: mesosutil.TaskLost, Message: refused.Error()})
	}
	return nil
}

func (d *fineDuty) decideNot(ctx context.Context, declines []Decline) {
	d.holdBack(declines)
	for _, x := range declines {
		refuse := time.Duration(mesosDefault)
		if x.Refuse != nil {
			refuse = *x.Refuse
		}
		if d.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
			d.cfg.Logger.Debug(mesosutil.DeclineText(x.offer, string(x.Reason), x.Refuse))
		}
		d.decline(ctx, refuse, x.OfferID)
		d.m.declines.WithLabelValues(string(x.Reason)).Inc()
	}
}
