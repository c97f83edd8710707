package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// ErrImportOpen says that a new cluster is waiting for the end of an import.
var ErrImportOpen = errors.New("waiting for 'ha-dispatcher migrate' to take over the drivers of another dispatcher")

// ImportedDriver is a driver of another dispatcher, as that one left it.
type ImportedDriver struct {
	ID          string
	SubmittedMs int64 // Unix milliseconds; 0: unknown
	Submission  launch.Submission
	// Cores and MemoryMiB are what the other dispatcher worked out. They count
	// only for a running driver whose submission is not valid here.
	Cores     float64
	MemoryMiB int64
	Supervise bool

	State fsm.DriverState // DriverQueued, DriverRunning or DriverRetrying

	// Of the latest attempt; none of a queued driver.
	Attempt     uint32 // 0 for the first
	TaskID      string
	AgentID     string
	FrameworkID string // that the driver itself registers with
	LaunchedMs  int64
	Retries     int32 // failed attempts in a row
	WaitSeconds int32
	NotBeforeMs int64 // earliest next launch of a retrying driver
	Last        *fsm.Status
}

// ImportOutcome is what became of one imported driver.
type ImportOutcome struct {
	DriverID string
	// Known is true where the driver was there already: an import may be repeated.
	Known bool
	// Err is why it was refused: *launch.InvalidError where it could never be
	// launched here, *fsm.RefusedError where the state does not allow it.
	Err      error
	Warnings []string
}

// Import takes over a driver of another dispatcher, whose framework has this id.
// With dryRun nothing is changed: the outcome is what it would be as far as this
// node can tell. The error is one of the log; outcomes that concern the driver
// are in the ImportOutcome.
//
// Drivers are queued in the order in which they are imported. While an import is
// under way nothing is launched; CompleteImport ends it.
func (s *Service) Import(ctx context.Context, frameworkID string, in ImportedDriver, dryRun bool) (ImportOutcome, error) {
	out := ImportOutcome{DriverID: in.ID}
	cmd, warnings, err := s.importCommand(frameworkID, in)
	if err != nil {
		out.Err = err
		return out, nil
	}
	out.Warnings = warnings
	if dryRun {
		out.Known, out.Err = s.tryImport(frameworkID, in.ID)
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SubmitWait)
	defer cancel()
	r, err := s.prop.resolve(ctx, fsm.NumberImportDriver, s.prop.stamp(requestID("", ""), 0), cmd)
	if err != nil {
		return out, err
	}
	out.Known, out.Err = fsm.Code(r.Code) == fsm.CodeUnchanged, fsm.ResultError(r)
	return out, nil
}

// tryImport is what Apply would say, from the state of this node.
func (s *Service) tryImport(frameworkID, id string) (known bool, err error) {
	fw := s.state.Framework()
	_, known = s.state.Driver(id)
	switch {
	case fw.ID != "" && fw.ID != frameworkID:
		return false, &fsm.RefusedError{Code: fsm.CodeFrameworkID,
			Message: fmt.Sprintf("this cluster has framework %s, and %s is another one", fw.ID, frameworkID)}
	case !known && fw.State != fsm.FrameworkNew:
		return false, &fsm.RefusedError{Code: fsm.CodeConflict,
			Message: fmt.Sprintf("the cluster is in use (its framework is %s), so the import is over", fw.State)}
	}
	return known, nil
}

func (s *Service) importCommand(frameworkID string, in ImportedDriver) (*fsmpb.ImportDriver, []string, error) {
	d, warned, err := launch.Describe(s.cfg.Launch, in.Submission)
	var warnings []string
	for _, w := range warned {
		warnings = append(warnings, w.String())
	}
	if err != nil {
		if in.State != fsm.DriverRunning {
			return nil, nil, err
		}
		// Its task runs, so it must be followed; it only cannot be launched again.
		d = asItWas(in)
		warnings = append(warnings, "it is adopted, but could not be launched again: "+err.Error())
	}
	submission, err := s.submission(d)
	if err != nil {
		return nil, nil, err
	}
	submission.IdPrefix, submission.DriverId, submission.SubmittedMs = "", in.ID, in.SubmittedMs
	submission.Supervise = in.Supervise
	return &fsmpb.ImportDriver{
		FrameworkId: frameworkID, Driver: submission, State: string(in.State),
		Attempt: in.Attempt, TaskId: in.TaskID, AgentId: in.AgentID, AppId: in.FrameworkID, LaunchedMs: in.LaunchedMs,
		Retries: in.Retries, WaitS: in.WaitSeconds, NotBeforeMs: in.NotBeforeMs, Last: in.Last,
	}, warnings, nil
}

// asItWas describes a submission without checking it.
func asItWas(in ImportedDriver) *launch.Description {
	s := in.Submission
	d := &launch.Description{
		Name: s.Properties[launch.KeyAppName], AppResource: s.AppResource, MainClass: s.MainClass, Args: s.Args,
		Environment: sortedPairs(s.Environment), Properties: sortedPairs(s.Properties),
		ClientSparkVersion: s.ClientSparkVersion, Cores: in.Cores, MemoryMiB: in.MemoryMiB,
		Supervise: in.Supervise, Queue: launch.DefaultQueue,
	}
	if !(d.Cores >= 0) || math.IsInf(d.Cores, 0) {
		d.Cores = 1
	}
	d.MemoryMiB = max(d.MemoryMiB, 0)
	return d
}

func sortedPairs(m map[string]string) []launch.KV {
	out := make([]launch.KV, 0, len(m))
	for k, v := range m {
		out = append(out, launch.KV{Key: k, Value: v})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// CompleteImport ends an import: the framework id is committed for good, and the
// leader subscribes with it. It may be repeated. Errors: *fsm.RefusedError with
// CodeFrameworkID where the cluster has another framework, those of the log.
func (s *Service) CompleteImport(ctx context.Context, frameworkID string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SubmitWait)
	defer cancel()
	if err := s.fresh(ctx, Linearizable); err != nil {
		return err
	}
	if fw := s.state.Framework(); fw.ID == frameworkID && fw.State != fsm.FrameworkNew {
		return nil
	}
	// Until the leader has taken it up, this is the subscription of nobody, as it
	// is after a crash.
	r, err := s.prop.resolve(ctx, fsm.NumberFrameworkEvent, s.prop.stamp(requestID("", ""), 0), &fsmpb.FrameworkEvent{
		Event: fsm.FrameworkSubscribe, FrameworkId: frameworkID, Message: "taken over from another dispatcher",
	})
	if err != nil {
		return err
	}
	return fsm.ResultError(r)
}

// AwaitsImport is nil, or why this cluster does not subscribe to Mesos yet: before
// all drivers are there, Mesos' answers about the missing ones would go unheard.
func (s *Service) AwaitsImport() error {
	fw := s.state.Framework()
	if fw.State != fsm.FrameworkNew || fw.ID == "" && !s.cfg.AwaitImport {
		return nil
	}
	return ErrImportOpen
}
