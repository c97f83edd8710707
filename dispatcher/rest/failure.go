package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

const (
	statusUnknownProtocol = api.StatusUnknownProtocol
	malformedPrefix       = "Malformed request: "
	notExecuted           = api.OutcomeNotExecuted
	outcomeUnknown        = api.OutcomeUnknown
)

// failure is an ErrorResponse to be sent.
type failure struct {
	status     int
	message    string
	highest    string // highestProtocolVersion
	outcome    api.Outcome
	retryAfter string // seconds
	challenge  string // WWW-Authenticate
}

func (x *exchange) fail(f *failure) {
	h := x.w.Header()
	if f.retryAfter != "" {
		h.Set("Retry-After", f.retryAfter)
	}
	if f.challenge != "" {
		h.Set("WWW-Authenticate", f.challenge)
	}
	x.replySpark(f.status, api.ActionError, func(o *object) {
		o.optional("highestProtocolVersion", f.highest)
		o.text("message", f.message)
		o.optional("outcome", string(f.outcome))
		o.text("serverSparkVersion", x.s.cfg.ServerSparkVersion)
	})
}

// failWith answers with what became of the request according to err.
func (x *exchange) failWith(err error) {
	f := classify(err, x.access() == accessWrite)
	if f.status == http.StatusInternalServerError {
		x.s.log.Error("request failed", "route", x.route.name, "err", err)
	}
	x.fail(f)
}

func badRequest(format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, message: malformedPrefix + fmt.Sprintf(format, args...)}
}

func overloaded(why string) *failure {
	return &failure{
		status: http.StatusServiceUnavailable, outcome: notExecuted, retryAfter: "1",
		message: "The request was not carried out: " + why + "; try again shortly.",
	}
}

func tooLarge(limit int64) *failure {
	return &failure{
		status: http.StatusRequestEntityTooLarge, outcome: notExecuted,
		message: fmt.Sprintf("The request body is larger than the %d bytes that this server takes.", limit),
	}
}

// classify decides what a client is told of an error. A request that changes
// state must never look unexecuted when it may have been carried out, so what is
// not known to be harmless has an unknown outcome.
func classify(err error, write bool) *failure {
	var (
		refused *fsm.RefusedError
		invalid *launch.InvalidError
		bad     *malformedError
	)
	switch {
	case errors.As(err, &bad):
		return &failure{status: http.StatusBadRequest, message: malformedPrefix + bad.text}
	case errors.As(err, &invalid):
		return &failure{status: http.StatusBadRequest, message: malformedPrefix + invalid.Error()}
	case errors.As(err, &refused):
		return classifyRefusal(refused)
	case errors.Is(err, dispatcher.ErrNotFound):
		return &failure{status: http.StatusNotFound, message: "No driver has this id."}
	case errors.Is(err, raftstore.ErrTooLarge):
		return &failure{
			status: http.StatusRequestEntityTooLarge, outcome: notExecuted,
			message: "The submission is larger than one entry of the replicated log may be.",
		}
	case !write:
		return classifyRead(err)
	}
	return classifyWrite(err)
}

func classifyRefusal(r *fsm.RefusedError) *failure {
	f := &failure{outcome: notExecuted, message: r.Error()}
	switch r.Code {
	case fsm.CodeRequestMismatch:
		f.status = http.StatusUnprocessableEntity
		f.message = "The Idempotency-Key was used for another request; use a new key for a new request."
	case fsm.CodeNotFound:
		f.status = http.StatusNotFound
	case fsm.CodeNotReady, fsm.CodeQueueFull:
		f.status, f.retryAfter = http.StatusServiceUnavailable, "1"
	case fsm.CodeTerminated, fsm.CodeIllegal, fsm.CodeConflict:
		f.status = http.StatusConflict
	default:
		f.status = http.StatusInternalServerError
		f.message = "Internal server error: " + r.Error()
	}
	return f
}

func classifyWrite(err error) *failure {
	switch {
	case errors.Is(err, raftstore.ErrOutcomeUnknown), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &failure{
			status: http.StatusServiceUnavailable, outcome: outcomeUnknown, retryAfter: "1",
			message: "The outcome is unknown: leadership or the connection to the leader was lost after the request was " +
				"handed over, so it may have been carried out. Look at /v1/drivers before sending it again, or send it " +
				"with an Idempotency-Key, which makes repeating it safe.",
		}
	case errors.Is(err, raftstore.ErrNoLeader), errors.Is(err, raftstore.ErrNotLeader), errors.Is(err, raftstore.ErrClosed):
		return &failure{
			status: http.StatusServiceUnavailable, outcome: notExecuted, retryAfter: "1",
			message: "The request was not carried out: the cluster has no leader at the moment; try again shortly.",
		}
	}
	return &failure{
		status: http.StatusInternalServerError, outcome: outcomeUnknown,
		message: "Internal server error: " + err.Error(),
	}
}

func classifyRead(err error) *failure {
	for _, passing := range []error{
		raftstore.ErrNoLeader, raftstore.ErrNotLeader, raftstore.ErrClosed, raftstore.ErrOutcomeUnknown,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, passing) {
			return &failure{
				status: http.StatusServiceUnavailable, retryAfter: "1",
				message: "The cluster has no leader at the moment that could answer with certainty; try again shortly, " +
					"or ask with ?consistency=stale for what this node knows.",
			}
		}
	}
	return &failure{status: http.StatusInternalServerError, message: "Internal server error: " + err.Error()}
}
