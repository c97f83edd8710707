package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// Errors for errors.Is.
var (
	// ErrOutcomeUnknown: the request was sent and may have been carried out.
	// Repeat it with the same idempotency key, or look for its effect.
	ErrOutcomeUnknown = errors.New("outcome unknown: the request may have been carried out")
	// ErrUnavailable: no server could be reached, or none had a leader, for as
	// long as Config.RetryFor. Surely not executed, unless ErrOutcomeUnknown is
	// in the same chain.
	ErrUnavailable = errors.New("no server could answer")
	// ErrNotFound: there is no such driver, or no such application.
	ErrNotFound = errors.New("no such driver or application")
	// ErrConflict: the request does not fit what is there, such as an application
	// that is registered with other properties under this id, or the kill of an
	// executor that the application never had. Nothing was changed.
	ErrConflict = errors.New("it does not fit what is there")
	// ErrStopped: the application is stopped, by whomever, and does not come back.
	ErrStopped = errors.New("the application is stopped")
	// ErrNotOffered: no server offers what was asked for; for applications, none
	// was started with --backends.
	ErrNotOffered = errors.New("no server offers it")
)

// APIError is a refusal by a server.
type APIError struct {
	Server  string // that refused, as a URL
	Status  int    // HTTP status; 200 for a refusal in Spark's protocol (success: false)
	Message string
	Outcome api.Outcome // of a request that changes state; may be empty
}

func (e *APIError) Error() string {
	if e.Status == http.StatusOK {
		return e.Message
	}
	return fmt.Sprintf("%s (HTTP %d from %s)", e.Message, e.Status, e.Server)
}

// Is makes errors.Is work with the errors of this package.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrOutcomeUnknown:
		return e.Outcome == api.OutcomeUnknown
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrConflict:
		return e.Status == http.StatusConflict
	case ErrStopped:
		return e.Status == http.StatusGone
	case ErrNotOffered:
		return e.Status == http.StatusNotImplemented
	}
	return false
}

// apiError reads the body of a reply that is not 200.
func apiError(server string, status int, body []byte) *APIError {
	var r api.ErrorResponse
	if err := json.Unmarshal(body, &r); err == nil && r.Message != "" {
		return &APIError{Server: server, Status: status, Message: r.Message, Outcome: r.Outcome}
	}
	const most = 500
	text := strings.TrimSpace(string(body))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	if text == "" {
		text = http.StatusText(status)
	}
	return &APIError{Server: server, Status: status, Message: text}
}
