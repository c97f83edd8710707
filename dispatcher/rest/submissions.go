package rest

import (
	"errors"
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

const notReadyText = "Scheduler is not ready to take requests"

// create answers POST /v1/submissions/create.
func (x *exchange) create() {
	m, f := x.readCreate()
	if f != nil {
		x.fail(f)
		return
	}
	key, f := x.idempotencyKey()
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	receipt, err := x.s.backend.Submit(x.r.Context(), m.submission, dispatcher.Request{Key: key, User: x.user})
	if refused := refusedInBand(err); refused != nil {
		x.replySpark(http.StatusOK, api.ActionCreateResponse, func(o *object) {
			o.text("message", refused.Error())
			o.text("serverSparkVersion", x.s.cfg.ServerSparkVersion)
			o.bool("success", false)
			o.optionalTexts("unknownFields", m.unknown)
		})
		return
	}
	if err != nil {
		x.failWith(err)
		return
	}
	if receipt.Repeated {
		x.w.Header().Set("Idempotency-Replayed", "true")
	}
	x.replySpark(http.StatusOK, api.ActionCreateResponse, func(o *object) {
		o.text("serverSparkVersion", x.s.cfg.ServerSparkVersion)
		o.text("submissionId", receipt.DriverID)
		o.bool("success", true)
		o.optionalTexts("unknownFields", m.unknown)
		o.optionalTexts("warnings", receipt.Warnings)
	})
}

// readCreate reads and checks the body of a submission.
func (x *exchange) readCreate() (*createMessage, *failure) {
	body, release, f := x.body()
	if f != nil {
		return nil, f
	}
	defer release()
	m, err := decodeCreate(body)
	switch {
	case err != nil:
	case m.action == "":
		err = malformed("Action field not found in JSON: set 'action' to '%s'", api.ActionCreate)
	case otherAction(m.action):
		return nil, &failure{
			status:  http.StatusBadRequest,
			message: "Received message of unexpected type " + m.action + ".",
		}
	case m.action != api.ActionCreate:
		err = malformed("unknown action '%s': here it must be '%s'", clip(m.action), api.ActionCreate)
	default:
		err = m.validate()
	}
	if err != nil {
		return nil, classify(err, true)
	}
	return m, nil
}

// refusedInBand is the refusal in err that Spark's protocol tells with a
// success of false rather than with an HTTP error.
func refusedInBand(err error) *fsm.RefusedError {
	var refused *fsm.RefusedError
	if !errors.As(err, &refused) {
		return nil
	}
	switch refused.Code {
	case fsm.CodeRequestMismatch, fsm.CodeMalformed, fsm.CodeUnknownCommand, fsm.CodeFrameworkID:
		return nil
	}
	return refused
}

// kill answers POST /v1/submissions/kill/{id}. A body is ignored, as upstream
// does.
func (x *exchange) kill() {
	if x.arg == "" {
		x.fail(&failure{status: http.StatusBadRequest, message: "Submission ID is missing in kill request."})
		return
	}
	key, f := x.idempotencyKey()
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	receipt, err := x.s.backend.Kill(x.r.Context(), x.arg, dispatcher.Request{Key: key, User: x.user})
	if refused := refusedInBand(err); refused != nil {
		receipt, err = dispatcher.KillReceipt{Code: refused.Code, Message: refused.Error()}, nil
	}
	switch {
	case errors.Is(err, dispatcher.ErrNotFound):
		receipt = dispatcher.KillReceipt{Code: fsm.CodeNotFound, Message: "Cannot find driver"}
	case err != nil:
		x.failWith(err)
		return
	case receipt.Code == fsm.CodeRequestMismatch:
		x.fail(classifyRefusal(&fsm.RefusedError{Code: receipt.Code}))
		return
	}
	x.replySpark(http.StatusOK, api.ActionKillResponse, func(o *object) {
		o.optional("message", receipt.Message)
		o.text("serverSparkVersion", x.s.cfg.ServerSparkVersion)
		o.text("submissionId", x.arg)
		o.bool("success", receipt.Success)
	})
}

// submissionStatus answers GET /v1/submissions/status/{id}.
func (x *exchange) submissionStatus() {
	if x.arg == "" {
		x.fail(&failure{status: http.StatusBadRequest, message: "Submission ID is missing in status request."})
		return
	}
	consistency, f := x.consistency()
	if f == nil {
		f = x.admit()
	}
	if f != nil {
		x.fail(f)
		return
	}
	d, err := x.s.backend.Driver(x.r.Context(), x.arg, consistency)
	if refused := refusedInBand(err); refused != nil && refused.Code == fsm.CodeNotReady {
		x.replyStatus("", notReadyText, false)
		return
	}
	switch {
	case errors.Is(err, dispatcher.ErrNotFound):
		x.replyStatus("NOT_FOUND", notFoundText(consistency), false)
	case err != nil:
		x.failWith(err)
	default:
		x.replyStatus(sparkState(d.State), statusMessage(d), true)
	}
}

func (x *exchange) replyStatus(state, message string, success bool) {
	x.replySpark(http.StatusOK, api.ActionStatusResponse, func(o *object) {
		o.optional("driverState", state)
		o.optional("message", message)
		o.text("serverSparkVersion", x.s.cfg.ServerSparkVersion)
		o.text("submissionId", x.arg)
		o.bool("success", success)
	})
}

func notFoundText(c dispatcher.Consistency) string {
	if c == dispatcher.Stale {
		return "This node knows no driver with this id; it may lag behind the leader."
	}
	return "No driver has this id. Drivers that ended are kept up to the limit spark.mesos.retainedDrivers."
}

// sparkState is the state in the words of Spark's protocol.
func sparkState(s fsm.DriverState) string {
	switch {
	case s.Active():
		return "RUNNING"
	case s.Terminal():
		return "FINISHED"
	}
	return string(s) // QUEUED, RETRYING
}

// statusMessage is the text dump of the task status that upstream would hold at
// this point; where there is none, why the driver ended.
func statusMessage(d *fsm.Driver) string {
	var last *fsm.Status
	switch {
	case d.State == fsm.DriverQueued:
		return ""
	case d.State.Active():
		if a := d.Current(); a != nil {
			last = a.Last
		}
	default:
		last = d.LastStatus()
	}
	if last != nil {
		return statusText(last)
	}
	return d.Reason
}
