package dispatcher

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// Service is what every node offers to clients, whether it leads or not. Writes
// go into the log through whichever node leads; reads are answered here. It is
// safe for concurrent use.
type Service struct {
	cfg   Config
	log   Log
	state *fsm.State
	prop  *proposer
}

// NewService makes the service of one node over its state and its log.
func NewService(cfg Config, log Log, state *fsm.State) *Service {
	cfg = cfg.withDefaults()
	return &Service{cfg: cfg, log: log, state: state, prop: &proposer{log: log, clock: cfg.Clock}}
}

// Submit puts a driver into the queue. When it returns without an error the
// driver is in the log of a majority and will run.
//
// Errors: *launch.InvalidError for a submission that could never be launched;
// *fsm.RefusedError with CodeNotReady, CodeQueueFull or CodeRequestMismatch;
// raftstore.ErrNoLeader and ErrNotLeader when none was found within
// Config.SubmitWait (nothing was done); raftstore.ErrOutcomeUnknown when the
// answer got lost: ask again with the same Request.Key.
func (s *Service) Submit(ctx context.Context, sub launch.Submission, req Request) (Receipt, error) {
	d, warnings, err := launch.Describe(s.cfg.Launch, sub)
	if err != nil {
		return Receipt{}, err
	}
	cmd, err := s.submission(d)
	if err != nil {
		return Receipt{}, err
	}
	cmd.User = req.User
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SubmitWait)
	defer cancel()
	stamp := s.prop.stamp(requestID("submit", req.Key), fingerprint(req.Key, cmd))
	r, err := s.prop.resolve(ctx, fsm.NumberSubmitDriver, stamp, cmd)
	if err == nil {
		err = fsm.ResultError(r)
	}
	if err != nil {
		return Receipt{}, err
	}
	if err := s.cfg.failpoint(ctx, FailSubmitted); err != nil {
		return Receipt{}, err
	}
	out := Receipt{DriverID: r.DriverId, Repeated: r.RepeatedRequest}
	for _, w := range warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	return out, nil
}

func (s *Service) submission(d *launch.Description) (*fsmpb.SubmitDriver, error) {
	spec, err := EncodeSpec(d)
	if err != nil {
		return nil, fmt.Errorf("encode the specification: %w", err)
	}
	retries, err := maxRetries(d)
	if err != nil {
		return nil, err
	}
	priority, _ := s.cfg.Launch.Priority(d.Queue)
	return &fsmpb.SubmitDriver{
		IdPrefix:   "driver-" + s.cfg.Clock().In(s.cfg.Location).Format("20060102150405") + "-",
		Name:       d.Name,
		MainClass:  d.MainClass,
		Queue:      d.Queue,
		Priority:   priority,
		Cores:      d.Cores,
		MemMib:     d.MemoryMiB + d.OverheadMiB,
		Supervise:  d.Supervise,
		MaxRetries: retries,
		Spec:       spec,
	}, nil
}

// fingerprint of what is asked for under a key, so that the key cannot be used
// for two different submissions. The id prefix holds the time and stays out.
func fingerprint(key string, c *fsmpb.SubmitDriver) uint64 {
	if key == "" {
		return 0
	}
	sum := sha256.Sum256(c.Spec)
	return binary.BigEndian.Uint64(sum[:8]) | 1
}

// Kill ends a driver in whatever state it is. It answers as soon as the kill is
// committed; the task's end shows in the driver's state.
func (s *Service) Kill(ctx context.Context, id string, req Request) (KillReceipt, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SubmitWait)
	defer cancel()
	if s.unregistered() {
		// This node may only lag behind.
		if err := s.fresh(ctx, Linearizable); err != nil {
			return KillReceipt{}, err
		}
		if s.unregistered() {
			return KillReceipt{}, errNotReady()
		}
	}
	reason := "killed on request"
	if req.User != "" {
		reason += " of " + req.User
	}
	stamp := s.prop.stamp(requestID("kill "+id, req.Key), 0)
	r, err := s.prop.resolve(ctx, fsm.NumberKillDriver, stamp, &fsmpb.KillDriver{DriverId: id, Reason: reason})
	if err != nil {
		return KillReceipt{}, err
	}
	code := fsm.Code(r.Code)
	return KillReceipt{Code: code, Success: !code.Refused(), Message: r.Message}, nil
}

// Driver is one driver as of now. Errors: ErrNotFound; *fsm.RefusedError with
// CodeNotReady before the first subscription to Mesos; those of raftstore for a
// Linearizable read without a leader.
func (s *Service) Driver(ctx context.Context, id string, c Consistency) (*fsm.Driver, error) {
	if err := s.fresh(ctx, c); err != nil {
		return nil, err
	}
	d, found := s.state.Driver(id)
	switch {
	case found:
		return d, nil
	case s.unregistered():
		return nil, errNotReady()
	}
	return nil, ErrNotFound
}

// unregistered tells whether Mesos has never known this framework, or not since
// an operator reset it.
func (s *Service) unregistered() bool { return s.state.Framework().State == fsm.FrameworkNew }

func errNotReady() error {
	return &fsm.RefusedError{Code: fsm.CodeNotReady, Message: "Scheduler is not ready to take requests"}
}

// View is the whole state as of now.
func (s *Service) View(ctx context.Context, c Consistency) (*fsm.View, error) {
	if err := s.fresh(ctx, c); err != nil {
		return nil, err
	}
	return s.state.View(), nil
}

func (s *Service) fresh(ctx context.Context, c Consistency) error {
	if c == Stale {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SubmitWait)
	defer cancel()
	for {
		_, err := s.log.Linearize(ctx)
		if err == nil || !transient(err) || !s.prop.pause(ctx, time.Millisecond) {
			return err
		}
	}
}

// Feed is the stream of changes that this node has applied.
func (s *Service) Feed() *fsm.Feed { return s.state.Feed() }

// State is the replicated state of this node, for reads that may be stale.
func (s *Service) State() *fsm.State { return s.state }

// Description decodes what was submitted. It holds secrets as they came.
func (s *Service) Description(d *fsm.Driver) (*launch.Description, error) {
	desc, err := DecodeSpec(d.Spec)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", d.ID, err)
	}
	return desc, nil
}

// Cluster is what this node knows of the members, joined with what each of them
// has said of itself through the log.
func (s *Service) Cluster(context.Context) (Cluster, error) {
	st := s.log.Status()
	out := Cluster{Leader: st.LeaderID, Term: st.Term, CommitIndex: st.Commit, AppliedIndex: st.Applied}
	fw := s.state.Framework()
	out.Framework = ClusterMesos{ID: fw.ID, State: string(fw.State), Master: fw.Master}
	for _, m := range st.Members {
		n := ClusterNode{ID: m.ID, Raft: m.Addr, Voter: m.Voter, Healthy: m.Healthy, LastContact: m.LastContact, Problem: m.Problem}
		if meta, found := s.state.Node(m.ID); found {
			n.REST, n.WebUI, n.Version = meta.RestUrl, meta.WebuiUrl, meta.Version
		}
		out.Nodes = append(out.Nodes, n)
	}
	return out, nil
}

// Announce tells the cluster how this node is reached. It returns when the
// members know it, or with the error of ctx.
func (s *Service) Announce(ctx context.Context, n *fsm.Node) error {
	r, err := s.prop.resolve(ctx, fsm.NumberUpsertNode, s.prop.stamp(requestID("", ""), 0), &fsmpb.UpsertNode{Node: n})
	if err != nil {
		return err
	}
	return fsm.ResultError(r)
}

// Forget drops what the cluster knows of a node that was removed from it.
func (s *Service) Forget(ctx context.Context, id string) error {
	r, err := s.prop.resolve(ctx, fsm.NumberRemoveNode, s.prop.stamp(requestID("", ""), 0), &fsmpb.RemoveNode{Id: id})
	if err != nil {
		return err
	}
	return fsm.ResultError(r)
}

// ResetFramework allows a new framework id after Mesos has removed the old one.
// Drivers that were running under it are lost; supervised ones start again.
func (s *Service) ResetFramework(ctx context.Context) error {
	r, err := s.prop.resolve(ctx, fsm.NumberFrameworkEvent, s.prop.stamp(requestID("", ""), 0),
		&fsmpb.FrameworkEvent{Event: fsm.FrameworkReset, Message: "reset by an operator"})
	if err != nil {
		return err
	}
	return fsm.ResultError(r)
}

// Leader is the id of the leader as far as this node knows, or empty.
func (s *Service) Leader() string {
	m, _, known := s.log.Leader()
	if !known {
		return ""
	}
	return m.ID
}

// Redaction tells which properties are secret.
func (s *Service) Redaction() *regexp.Regexp { return s.cfg.Launch.Redaction }
