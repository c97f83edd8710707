package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const (
	// launchesPerStep bounds one log entry.
	launchesPerStep = 256
	// mesosDefault leaves a refusal's length to Mesos: 5 s.
	mesosDefault = -1
	messageLimit = 4 << 10
)

// room is the most of each resource that was free on one agent.
type room struct{ cores, mem float64 }

// reviving decides when Mesos is asked for offers that it keeps back, or for none.
type reviving struct {
	wanted     bool // something happened that makes kept offers useful
	held       bool // Mesos may be keeping offers back
	suppressed bool
	at         time.Time // kept offers are useful then
	last       time.Time
	idleSince  time.Time
}

// place uses the offers at hand.
func (s *coarseDuty) place(ctx context.Context) error {
	a, found := s.app()
	if !found {
		return nil
	}
	sit := Situation{
		App: a, Settings: s.settings, Offers: s.offers, Now: s.cfg.Clock(),
		Launching: s.launching, LocalitySince: s.localitySince, MaxLaunches: launchesPerStep,
	}
	s.cfg.State.View().Live(a.ID, func(e *fsm.Executor) bool {
		sit.Live = append(sit.Live, e)
		return true
	})
	if len(s.offers) > 0 {
		s.cfg.Logger.Debug(fmt.Sprintf("Received %d resource offers.", len(s.offers)))
		s.measure()
		plan := Decide(sit)
		s.launching, s.localitySince = plan.Launching, plan.LocalitySince
		s.offers = nil
		s.tally(a, plan)
		if err := s.carryOut(ctx, a, plan); err != nil {
			return err
		}
		if !plan.Retry.IsZero() {
			s.reviving.at = plan.Retry // the refusal of these offers may last longer
		}
		if slices.ContainsFunc(plan.Declines, func(d Decline) bool { return d.Reason == ReasonBatch }) {
			s.reviving.wanted = true
		}
	}
	s.adjustOffers(ctx, newDecision(sit))
	return nil
}

func (s *coarseDuty) measure() {
	for i := range s.offers {
		s.largest.cores = max(s.largest.cores, mesosutil.ScalarSum(s.offers[i].Resources, "cpus"))
		s.largest.mem = max(s.largest.mem, mesosutil.ScalarSum(s.offers[i].Resources, "mem"))
	}
}

// adjustOffers revives where kept offers may be of use, and suppresses where none
// have been for a while. Upstream revives at every end of an executor, whether it
// is to be replaced or not, and never for a raised total.
func (s *coarseDuty) adjustOffers(ctx context.Context, d *decision) {
	r := &s.reviving
	now := s.cfg.Clock()
	s.reviveAt(now)
	if d.App.Stopped || !d.wantsAny() || d.cores >= s.settings.MaxCores {
		s.quiet(ctx, now)
		return
	}
	r.idleSince = time.Time{}
	s.revive(ctx, now)
}

func (s *session) reviveAt(now time.Time) {
	r := &s.reviving
	if r.at.IsZero() {
		return
	}
	if now.Before(r.at) {
		s.wakeBy(r.at)
		return
	}
	r.at, r.wanted = time.Time{}, true
}

// revive asks for the offers that Mesos keeps back, where that is of use, and not
// too often.
func (s *session) revive(ctx context.Context, now time.Time) {
	r := &s.reviving
	if !r.wanted || !r.held && !r.suppressed {
		r.wanted = false
		return
	}
	if earliest := r.last.Add(s.cfg.ReviveEvery); now.Before(earliest) {
		s.wakeBy(earliest)
		return
	}
	if err := s.mesos.Revive(ctx); err != nil {
		s.wakeBy(now.Add(s.cfg.ReviveEvery))
		return
	}
	s.m.revives.Inc()
	r.last, r.wanted, r.held, r.suppressed = now, false, false, false
}

func (s *session) quiet(ctx context.Context, now time.Time) {
	r := &s.reviving
	r.wanted = false
	if r.suppressed {
		return
	}
	if r.idleSince.IsZero() {
		r.idleSince = now
	}
	if end := r.idleSince.Add(s.cfg.SuppressAfter); now.Before(end) {
		s.wakeBy(end)
	} else if err := s.mesos.Suppress(ctx); err != nil {
		s.wakeBy(now.Add(s.cfg.SuppressAfter))
	} else {
		r.suppressed = true
	}
}

// carryOut turns a plan into intents, and committed intents into ACCEPTs.
func (s *coarseDuty) carryOut(ctx context.Context, a *fsm.App, plan Plan) error {
	for _, d := range plan.Declines {
		refuse := time.Duration(mesosDefault)
		if d.Refuse != nil {
			refuse = *d.Refuse
		}
		if s.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
			s.cfg.Logger.Debug(mesosutil.DeclineText(d.offer, string(d.Reason), d.Refuse))
		}
		s.decline(ctx, refuse, d.OfferID)
		s.m.declines.WithLabelValues(string(d.Reason)).Inc()
	}
	tasks, err := s.tasks(a, plan)
	if err != nil {
		s.cfg.Logger.Error("no executor can be built", "error", err)
		s.setProblem(err)
		for _, acc := range plan.Accepts {
			s.decline(ctx, s.settings.Refuse.Offer, acc.OfferID)
		}
		return nil
	}
	if len(plan.Accepts) == 0 {
		return nil
	}
	committed, err := s.commit(ctx, a, plan)
	if err != nil {
		return err
	}
	if err := s.cfg.failpoint(ctx, FailIntentCommitted); err != nil {
		return err
	}
	for i, acc := range plan.Accepts {
		if err := s.accept(ctx, acc, tasks[i], committed); err != nil {
			return err
		}
	}
	return s.cfg.failpoint(ctx, FailAccepted)
}

// tasks are built before their intents are committed: one that cannot be built is
// none to launch.
func (s *coarseDuty) tasks(a *fsm.App, plan Plan) ([][]mesos.TaskInfo, error) {
	out := make([][]mesos.TaskInfo, len(plan.Accepts))
	for i, acc := range plan.Accepts {
		for n := range acc.Launches {
			t, err := s.settings.task(&acc.Launches[n], acc.AgentID, acc.Host, a.Framework.ID, s.cfg.Command)
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], t)
		}
		slices.Reverse(out[i]) // Spark puts each new task in front
	}
	return out, nil
}

// commit commits the intents of all accepts as one entry. It returns the task ids
// that may be launched.
func (s *coarseDuty) commit(ctx context.Context, a *fsm.App, plan Plan) (map[string]bool, error) {
	body := &fsmpb.LaunchExecutors{AppId: a.ID}
	for _, acc := range plan.Accepts {
		for _, l := range acc.Launches {
			body.Launches = append(body.Launches, &fsmpb.ExecutorLaunch{
				Number: l.Number, Profile: l.Profile, AgentId: acc.AgentID, Host: acc.Host,
				Cores: l.Cores, MemMib: l.MemMiB, Gpus: l.GPUs,
			})
		}
	}
	slices.SortFunc(body.Launches, func(a, b *fsmpb.ExecutorLaunch) int { return int(int64(a.Number) - int64(b.Number)) })
	r, err := s.propose(ctx, fsm.NumberLaunchExecutors, body)
	if err != nil {
		return nil, fmt.Errorf("commit launch intents: %w", err)
	}
	committed := make(map[string]bool)
	for i, l := range r.Launches {
		if fsm.Code(l.Code).Refused() {
			s.cfg.Logger.Info("launch was overtaken", "executor", body.Launches[i].Number, "outcome", l.Message)
			continue
		}
		committed[strconv.FormatUint(body.Launches[i].Number, 10)] = true
	}
	s.m.launches.Add(float64(len(committed)))
	return committed, nil
}

// accept sends those tasks of an offer whose intents are committed.
func (s *coarseDuty) accept(ctx context.Context, acc Accept, tasks []mesos.TaskInfo, committed map[string]bool) error {
	return s.send(ctx, []string{acc.OfferID}, acc.AgentID, acc.Host, only(tasks, committed), mesosDefault)
}

func only(tasks []mesos.TaskInfo, committed map[string]bool) []mesos.TaskInfo {
	return slices.DeleteFunc(tasks, func(t mesos.TaskInfo) bool { return !committed[t.TaskID.Value] })
}

// send launches tasks whose intents are committed on offers of one agent.
func (s *session) send(ctx context.Context, offers []string, agentID, host string, tasks []mesos.TaskInfo, refuse time.Duration) error {
	if len(tasks) == 0 {
		s.decline(ctx, 0, offers...)
		return nil
	}
	s.reviving.held = true
	err := s.mesos.Accept(ctx, offers, tasks, refuse)
	var call *mesosutil.CallError
	switch {
	case err == nil:
		for i := range tasks {
			s.cfg.Logger.Info("launched", "task", tasks[i].TaskID.Value, "agent", agentID, "host", host)
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &call) || !call.NoEffect():
		// Only another subscription makes sure that it does not arrive any more;
		// Mesos is asked after that.
		s.cfg.Logger.Warn("nobody knows whether mesos took a launch; subscribing again to be sure", "agent", agentID, "error", err)
		return errFence
	}
	s.cfg.Logger.Info("launch was not taken", "agent", agentID, "error", err)
	s.decline(ctx, 0, offers...) // Mesos may still count them as offered to us
	return s.undo(ctx, agentID, tasks, err)
}

// undo records that executors were never sent.
func (s *session) undo(ctx context.Context, agentID string, tasks []mesos.TaskInfo, why error) error {
	body := &fsmpb.RecordExecutorStatuses{AppId: s.cfg.AppID}
	for i := range tasks {
		body.Statuses = append(body.Statuses, &fsm.Status{
			TaskId: tasks[i].TaskID.Value, State: int32(fsm.TaskDropped), AgentId: agentID,
			Message: clip("not sent to Mesos: " + why.Error()), Timestamp: float64(s.cfg.Clock().UnixMilli()) / 1000,
		})
	}
	_, err := s.propose(ctx, fsm.NumberRecordExecutorStatuses, body)
	return err
}

// decline gives offers back. Those of a call that fails are lost to others until
// the subscription ends or Mesos takes them back; it is tried once more.
func (s *session) decline(ctx context.Context, refuse time.Duration, offers ...string) {
	s.reviving.held = true
	for range 2 {
		if err := s.mesos.Decline(ctx, offers, refuse); err == nil || ctx.Err() != nil {
			return
		}
	}
	s.cfg.Logger.Debug("offers were not declined", "offers", offers)
}
