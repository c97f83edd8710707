package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// Importer takes over the drivers of another dispatcher. A Dispatcher that
// implements it as well serves /v1/admin/import.
type Importer interface {
	Import(ctx context.Context, frameworkID string, d []dispatcher.ImportedDriver, dryRun bool) ([]dispatcher.ImportOutcome, error)
	CompleteImport(ctx context.Context, frameworkID string) error
}

// importDrivers answers POST /v1/admin/import.
func (x *exchange) importDrivers() {
	importer, ok := x.s.backend.(Importer)
	if !ok {
		x.fail(&failure{status: http.StatusNotImplemented, message: "This node does not offer imports.", outcome: notExecuted})
		return
	}
	q, f := x.readImport()
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	drivers := make([]dispatcher.ImportedDriver, len(q.Drivers))
	for i := range q.Drivers {
		drivers[i] = imported(&q.Drivers[i])
	}
	outcomes, err := importer.Import(x.r.Context(), q.FrameworkID, drivers, q.DryRun)
	if err != nil {
		x.failWith(err)
		return
	}
	out := api.ImportResponse{FrameworkID: q.FrameworkID, Drivers: make([]api.ImportOutcome, 0, len(q.Drivers))}
	refused := false
	for _, o := range outcomes {
		refused = refused || o.Err != nil
		out.Drivers = append(out.Drivers, importOutcome(o))
	}
	if q.Complete && !q.DryRun && !refused {
		if err := importer.CompleteImport(x.r.Context(), q.FrameworkID); err != nil {
			x.failImport(err)
			return
		}
		out.Complete = true
	}
	x.replyJSON(out)
}

// failImport tells a framework that is not the cluster's as a conflict.
func (x *exchange) failImport(err error) {
	var refused *fsm.RefusedError
	if errors.As(err, &refused) && refused.Code == fsm.CodeFrameworkID {
		x.fail(&failure{status: http.StatusConflict, message: refused.Error(), outcome: notExecuted})
		return
	}
	x.failWith(err)
}

func (x *exchange) readImport() (*api.ImportRequest, *failure) {
	body, release, f := x.body()
	if f != nil {
		return nil, f
	}
	defer release()
	q := new(api.ImportRequest)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields() // what is not understood must not get lost
	if err := d.Decode(q); err != nil {
		return nil, badRequest("%v", err)
	}
	switch {
	case d.More():
		return nil, badRequest("the body holds more than one value")
	case q.FrameworkID == "":
		return nil, badRequest("'frameworkId' is missing")
	case len(q.Drivers) > api.MaxImport:
		return nil, badRequest("%d drivers; one request may hold %d", len(q.Drivers), api.MaxImport)
	}
	return q, nil
}

func imported(d *api.ImportDriver) dispatcher.ImportedDriver {
	out := dispatcher.ImportedDriver{
		ID: d.ID, SubmittedMs: d.SubmittedMs,
		Submission: launch.Submission{
			AppResource: d.Submission.AppResource, MainClass: d.Submission.MainClass, Args: d.Submission.AppArgs,
			Properties: d.Submission.SparkProperties, Environment: d.Submission.EnvironmentVariables,
			ClientSparkVersion: d.Submission.ClientSparkVersion,
		},
		Cores: d.Cores, MemoryMiB: d.MemoryMiB, Supervise: d.Supervise, State: fsm.DriverState(d.State),
		Attempt: d.Attempt, TaskID: d.TaskID, AgentID: d.AgentID, FrameworkID: d.FrameworkID, LaunchedMs: d.LaunchedMs,
		Retries: d.Retries, WaitSeconds: d.WaitSeconds, NotBeforeMs: d.NotBeforeMs,
	}
	if l := d.Last; l != nil {
		out.Last = &fsm.Status{
			State: l.State, Message: l.Message, AgentId: l.AgentID, ExecutorId: l.ExecutorID, Timestamp: l.Timestamp, Uuid: l.UUID,
		}
		if l.Source != nil {
			out.Last.HasSource, out.Last.Source = true, *l.Source
		}
		if l.Reason != nil {
			out.Last.HasReason, out.Last.Reason = true, *l.Reason
		}
	}
	return out
}

func importOutcome(o dispatcher.ImportOutcome) api.ImportOutcome {
	out := api.ImportOutcome{ID: o.DriverID, Outcome: api.ImportImported, Warnings: o.Warnings}
	switch {
	case o.Err != nil:
		out.Outcome, out.Reason = api.ImportRefused, o.Err.Error()
	case o.Known:
		out.Outcome = api.ImportKnown
	}
	return out
}
