package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"

	"google.golang.org/protobuf/proto"

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

// The bounds of one log entry of an import: a member must not be busy with one
// for long, and a follower that lags gets it whole.
const (
	importBatch      = 500
	importBatchBytes = 1 << 20
)

// Import takes over drivers of another dispatcher, whose framework has this id,
// in their order. With dryRun nothing is changed: the outcomes are what they
// would be as far as this node can tell.
//
// There is an outcome for each driver, in the order of in, unless there is an
// error, which is one of the log: then any number of the drivers, from the front,
// may have been taken over, and the import is to be repeated.
//
// Drivers are queued in the order in which they are imported. While an import is
// under way nothing is launched; CompleteImport ends it.
func (s *Service) Import(ctx context.Context, frameworkID string, in []ImportedDriver, dryRun bool) ([]ImportOutcome, error) {
	out := make([]ImportOutcome, len(in))
	batch := importing{s: s}
	for i := range in {
		out[i].DriverID = in[i].ID
		cmd, warnings, err := s.importCommand(frameworkID, in[i])
		if err != nil {
			out[i].Err = err
			continue
		}
		out[i].Warnings = warnings
		if dryRun {
			out[i].Known, out[i].Err = s.tryImport(frameworkID, in[i].ID)
			continue
		}
		if err := batch.add(ctx, cmd, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, batch.flush(ctx)
}

// importing gathers drivers for one log entry.
type importing struct {
	s     *Service
	cmd   fsmpb.ImportDrivers
	bytes int
	out   []*ImportOutcome // of the drivers in cmd
}

// add takes a driver in, and writes out those before it where they are enough.
func (b *importing) add(ctx context.Context, d *fsmpb.ImportDriver, out *ImportOutcome) error {
	size := proto.Size(d)
	if len(b.out) == importBatch || len(b.out) > 0 && b.bytes+size > importBatchBytes {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.cmd.Drivers, b.out, b.bytes = append(b.cmd.Drivers, d), append(b.out, out), b.bytes+size
	return nil
}

// flush writes one log entry and waits for its outcome: the next one must not
// overtake it.
func (b *importing) flush(ctx context.Context) error {
	if len(b.out) == 0 {
		return nil
	}
	results, err := b.propose(ctx)
	if err != nil {
		return err
	}
	if len(results) != len(b.out) {
		return fmt.Errorf("import: the log answered for %d of %d drivers", len(results), len(b.out))
	}
	for i, o := range b.out {
		code := fsm.Code(results[i].Code)
		o.Known = code == fsm.CodeUnchanged
		if code.Refused() {
			o.Err = &fsm.RefusedError{Code: code, Message: results[i].Message}
		}
	}
	b.cmd.Drivers, b.out, b.bytes = nil, nil, 0
	return nil
}

// propose falls back to one entry a driver while a member of the cluster does not
// know the command for several.
func (b *importing) propose(ctx context.Context) ([]*fsmpb.ImportResult, error) {
	if b.s.everyMemberKnows(fsm.NumberImportDrivers) {
		r, err := b.resolve(ctx, fsm.NumberImportDrivers, &b.cmd)
		if err == nil {
			err = fsm.ResultError(r)
		}
		return r.GetImports(), err
	}
	var all []*fsmpb.ImportResult
	for _, d := range b.cmd.Drivers {
		r, err := b.resolve(ctx, fsm.NumberImportDriver, d)
		if err != nil {
			return nil, err
		}
		all = append(all, &fsmpb.ImportResult{Code: r.Code, Message: r.Message})
	}
	return all, nil
}

func (b *importing) resolve(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.s.cfg.SubmitWait)
	defer cancel()
	return b.s.prop.resolve(ctx, n, b.s.prop.stamp(requestID("", ""), 0), body)
}

// everyMemberKnows tells whether a command may be written: the members say in the
// log what they know.
func (s *Service) everyMemberKnows(n fsm.Number) bool {
	knows, members := true, 0
	s.state.View().Nodes(func(m *fsm.Node) bool {
		members++
		knows = m.CommandVersion >= n.Since()
		return knows
	})
	return knows && members > 0
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
