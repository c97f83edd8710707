package zkmigrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Errors of Run. Nothing was changed in the cluster, but where an import was
// interrupted.
var (
	// ErrAlive says that the old dispatcher still works.
	ErrAlive = errors.New("the old dispatcher is alive; stop it first")
	// ErrQuarantine says that some drivers cannot be taken over, and that it was
	// not allowed to go on without them.
	ErrQuarantine = errors.New("some drivers cannot be taken over")
	// ErrInUse says that the cluster is not a new one.
	ErrInUse = errors.New("the cluster is in use and takes no drivers over")
)

// Target is the cluster that takes over; *client.Client is one.
type Target interface {
	Import(ctx context.Context, r api.ImportRequest) (*api.ImportResponse, error)
	Cluster(ctx context.Context) (*api.Cluster, error)
}

// Options of Run.
type Options struct {
	Source Source
	DryRun bool
	// Partial goes on without the drivers that cannot be taken over.
	Partial bool
	// Force goes on although the old dispatcher seems to be alive.
	Force bool
	// Watch is how long the tree must not change. Default 3 s.
	Watch time.Duration
	// Connected asks Mesos whether a scheduler holds the framework; nil: it is not
	// asked.
	Connected func(ctx context.Context, frameworkID string) (bool, error)
	// Quarantined is called with the drivers that are left behind, before the
	// import is completed without them; an error of it stops the import.
	Quarantined func([]Quarantined) error
	// Progress is told how many of the drivers a step has done, one call at a
	// time, and with 0 that a step begins which waits first; nil: nobody is.
	Progress func(step string, done, total int)
}

// The steps of Run, as Progress names them.
const (
	StepRead   = "read from ZooKeeper"
	StepAgain  = "read again, to see that nobody changes them"
	StepTry    = "tried"
	StepImport = "imported"
)

// Run takes a dispatcher over. The report is complete as far as Run got, also
// with an error.
func Run(ctx context.Context, o Options, target Target) (*Report, error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	r := &Report{DryRun: o.DryRun}
	tree, err := readSettled(ctx, o, r)
	if err != nil {
		return r, err
	}
	plan, err := MakePlan(tree)
	if err != nil {
		return r, err
	}
	r.begin(plan)
	if r.Already, err = checkTarget(ctx, target, plan.FrameworkID); err != nil {
		return r, err
	}
	// Once the cluster has taken over, it is the cluster that Mesos sees.
	if !r.Already {
		if err := checkDead(ctx, o, plan.FrameworkID, r); err != nil {
			return r, err
		}
	}
	// First all of it for trial: a cluster with half of the drivers helps nobody.
	if err := send(ctx, target, plan, true, r, o.Progress); err != nil {
		return r, err
	}
	if o.DryRun || r.Already {
		r.Complete = r.Already
		return r, nil
	}
	if len(r.Quarantine) > 0 {
		if !o.Partial {
			return r, fmt.Errorf("%w: %d of %d; nothing was changed", ErrQuarantine, len(r.Quarantine), r.Drivers)
		}
		if o.Quarantined != nil {
			if err := o.Quarantined(r.Quarantine); err != nil {
				return r, fmt.Errorf("keep the drivers that are left behind: %w", err)
			}
		}
	}
	if err := send(ctx, target, plan.without(r.Quarantine), false, r, o.Progress); err != nil {
		return r, err
	}
	return r, complete(ctx, target, plan.FrameworkID, r)
}

// readSettled reads the tree twice and takes a difference as a sign of life.
func readSettled(ctx context.Context, o Options, r *Report) (*Tree, error) {
	if o.Watch == 0 {
		o.Watch = 3 * time.Second
	}
	before, err := read(ctx, o.Source, func(done, total int) { o.Progress(StepRead, done, total) })
	if err != nil {
		return nil, err
	}
	o.Progress(StepAgain, 0, before.Len())
	select {
	case <-time.After(o.Watch):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	tree, err := read(ctx, o.Source, func(done, total int) { o.Progress(StepAgain, done, total) })
	if err != nil {
		return nil, err
	}
	if Changed(before, tree) {
		if !o.Force {
			return nil, fmt.Errorf("%w: its ZooKeeper nodes changed within %v", ErrAlive, o.Watch)
		}
		r.Warnings = append(r.Warnings, "the ZooKeeper nodes changed while they were read; the old dispatcher is alive")
	}
	return tree, nil
}

func checkDead(ctx context.Context, o Options, frameworkID string, r *Report) error {
	if o.Connected == nil {
		r.Warnings = append(r.Warnings, "Mesos was not asked whether the old dispatcher is still connected (--mesos); make sure that it is stopped")
		return nil
	}
	alive, err := o.Connected(ctx, frameworkID)
	switch {
	case err != nil:
		err = fmt.Errorf("ask Mesos whether the old dispatcher is still connected: %w", err)
	case alive:
		err = fmt.Errorf("%w: a scheduler is connected to Mesos with its framework %s", ErrAlive, frameworkID)
	}
	if err != nil && o.Force {
		r.Warnings = append(r.Warnings, err.Error())
		return nil
	}
	return err
}

// checkTarget refuses a cluster with another framework before anything is sent,
// and tells whether the cluster has taken this dispatcher over already.
func checkTarget(ctx context.Context, target Target, frameworkID string) (already bool, err error) {
	c, err := target.Cluster(ctx)
	if err != nil {
		return false, err
	}
	switch c.Framework.ID {
	case "":
		return false, nil
	case frameworkID:
		return c.Framework.State != string(fsm.FrameworkNew), nil
	}
	return false, fmt.Errorf("%w: its framework is %s, that of the old dispatcher %s. Start a new cluster with empty data directories and "+
		"--conf spark.mesos.dispatcher.awaitMigration=true on every node", ErrInUse, c.Framework.ID, frameworkID)
}

// Batches stay below what a server takes in one request.
const (
	batchDrivers = 500
	batchBytes   = 1 << 20
)

// send imports the drivers of a plan, batch by batch.
func send(ctx context.Context, target Target, p *Plan, dryRun bool, r *Report, progress func(step string, done, total int)) error {
	step := StepImport
	if dryRun {
		step = StepTry
	}
	for begin := 0; begin < len(p.Drivers); {
		end, size := begin, 0
		for end < len(p.Drivers) && end-begin < batchDrivers {
			raw, err := json.Marshal(p.Drivers[end])
			if err != nil {
				return fmt.Errorf("driver %s: %w", p.Drivers[end].ID, err)
			}
			if size += len(raw); size > batchBytes && end > begin {
				break
			}
			end++
		}
		batch := p.Drivers[begin:end]
		reply, err := target.Import(ctx, api.ImportRequest{FrameworkID: p.FrameworkID, DryRun: dryRun, Drivers: batch})
		if err != nil {
			if !dryRun {
				err = fmt.Errorf("the import is open, %d of %d drivers are known to be there; run the same command again: %w", begin, len(p.Drivers), err)
			}
			return err
		}
		if len(reply.Drivers) != len(batch) {
			return fmt.Errorf("the server answered for %d of %d drivers", len(reply.Drivers), len(batch))
		}
		for i, o := range reply.Drivers {
			r.add(&batch[i], o, dryRun)
		}
		begin = end
		progress(step, end, len(p.Drivers))
	}
	if !dryRun && len(r.Refused) > 0 {
		return fmt.Errorf("%w: %d drivers were refused although the trial went well; the import is open and can be repeated", ErrInUse, len(r.Refused))
	}
	return nil
}

func complete(ctx context.Context, target Target, frameworkID string, r *Report) error {
	reply, err := target.Import(ctx, api.ImportRequest{FrameworkID: frameworkID, Complete: true})
	if err != nil {
		return fmt.Errorf("the drivers are there, but the import is not completed; run it again: %w", err)
	}
	r.Complete = reply.Complete
	return nil
}

// without is the plan less the drivers in quarantine.
func (p *Plan) without(q []Quarantined) *Plan {
	left := make(map[string]bool, len(q))
	for _, d := range q {
		left[d.ID] = true
	}
	out := &Plan{FrameworkID: p.FrameworkID}
	for _, d := range p.Drivers {
		if !left[d.ID] {
			out.Drivers = append(out.Drivers, d)
		}
	}
	return out
}
