package mesosutil

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors that end Driver.Run. None of them goes away by trying again with the
// same driver; what to do is said with each.
var (
	// ErrFrameworkRemoved: Mesos no longer knows the framework: it was torn
	// down or stayed away for longer than its failover timeout, and its tasks
	// are gone. The driver never takes a new id by itself, since an operator
	// has to know; register anew with an empty FrameworkInfo.ID.
	ErrFrameworkRemoved = errors.New("mesos has removed the framework")
	// ErrFailedOver: another scheduler has subscribed with this framework's
	// id, which ended this subscription. Stop; only whoever can prove that it
	// is the leader still may make another driver.
	ErrFailedOver = errors.New("another scheduler has taken over the framework")
	// ErrUnauthorized: the master refuses the credentials or the role. Correct
	// principal, secret or the master's ACLs.
	ErrUnauthorized = errors.New("mesos refuses the principal")
	// ErrRefused: the master finds the subscription invalid, for example for
	// a role that is not allowed. Correct the FrameworkInfo.
	ErrRefused = errors.New("mesos refuses the subscription")
	// ErrGate: DriverConfig.Gate did not let the driver subscribe; wraps the
	// gate's own error.
	ErrGate = errors.New("not allowed to subscribe")
	// ErrDriverUsed: Run was called twice. Make another Driver.
	ErrDriverUsed = errors.New("a driver runs only once")
)

// Kinds of CallError, to be tested with errors.Is.
var (
	// ErrNotSubscribed: there is no subscription at this moment; nothing was
	// sent. Wait for the next EventSubscribed.
	ErrNotSubscribed = errors.New("not subscribed to a mesos master")
	// ErrStaleOffer: an offer of the call is not held any more: rescinded,
	// already used, or made to an earlier subscription. Nothing was sent.
	ErrStaleOffer = errors.New("the offer is no longer held")
	// ErrStaleStream: the master says that the subscription on which the call
	// was made has ended. The call had no effect. EventDisconnected or the end
	// of Run follows.
	ErrStaleStream = errors.New("the subscription of the call has ended")
	// ErrMasterGone: no leading master took the call: connection refused, or
	// an answer such as 307 or 503. The call had no effect.
	ErrMasterGone = errors.New("no leading mesos master took the call")
	// ErrCallRejected: the master finds the call invalid; sending it again
	// will not help. The call had no effect.
	ErrCallRejected = errors.New("mesos rejects the call")
	// ErrCallOutcomeUnknown: the call was sent and no answer came. It may have
	// had its effect or still have it: reconcile before doing it again.
	ErrCallOutcomeUnknown = errors.New("no answer to the call: its outcome is unknown")
)

// Errors about configuration.
var (
	// ErrDriverConfig: NewDriver does not accept its configuration.
	ErrDriverConfig = errors.New("invalid driver configuration")
	// ErrMasterURL: the text does not name a Mesos master.
	ErrMasterURL = errors.New("invalid mesos master")
	// ErrCredentials: principal or secret are missing or malformed.
	ErrCredentials = errors.New("invalid mesos credentials")
)

// Reasons for which a subscription ends and the driver tries again; carried
// by EventDisconnected and DriverStatus.
var (
	// ErrHeartbeatMissed: nothing was heard for HeartbeatMisses intervals.
	ErrHeartbeatMissed = errors.New("the mesos master fell silent")
	// ErrMasterChanged: the MasterDetector reports another leading master.
	ErrMasterChanged = errors.New("another mesos master leads now")
	// ErrNoLeadingMaster: none of the masters leads yet.
	ErrNoLeadingMaster = errors.New("no mesos master leads")
	// ErrRecord: the event stream is not valid RecordIO.
	ErrRecord = errors.New("malformed record in the event stream")
)

// CallError is the error of a typed call. Kind is one of ErrNotSubscribed,
// ErrStaleOffer, ErrStaleStream, ErrMasterGone, ErrCallRejected,
// ErrCallOutcomeUnknown and ErrUnauthorized.
type CallError struct {
	Call   string // such as "ACCEPT"
	Kind   error
	Status int    // HTTP status, 0 when there was no answer
	Detail string // the master's words, or which offer
	Err    error  // the transport's error, if any
}

func (e *CallError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mesos call %s: %v", e.Call, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap gives errors.Is the kind and the transport's error.
func (e *CallError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// NoEffect reports whether the master certainly did not act on the call.
func (e *CallError) NoEffect() bool { return !errors.Is(e.Kind, ErrCallOutcomeUnknown) }

// callKind reads the master's answer to a call other than SUBSCRIBE. The
// texts are those of Scheduler API v1 in Mesos 1.x (master/http.cpp): every
// complaint about the stream is a 400 or, for a framework that is connected
// no more, a 403.
func callKind(status int, text string) error {
	lower := strings.ToLower(text)
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict:
		for _, sign := range []string{"stream id", "stream-id", "not subscribed", "framework cannot be found"} {
			if strings.Contains(lower, sign) {
				return ErrStaleStream
			}
		}
		switch status {
		case http.StatusConflict:
			return ErrStaleStream
		case http.StatusForbidden:
			return ErrUnauthorized
		}
		return ErrCallRejected
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusTemporaryRedirect, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return ErrMasterGone
	}
	if status >= 500 {
		return ErrCallOutcomeUnknown // a proxy may have lost the answer
	}
	return ErrCallRejected
}

// subscribeRefusal reads the answer to SUBSCRIBE: nil when it is worth
// another try.
func subscribeRefusal(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrUnauthorized
	case http.StatusBadRequest, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusMethodNotAllowed:
		return ErrRefused
	}
	return nil
}

// streamError reads the text of an ERROR event: a terminal error, or nil.
// Before SUBSCRIBED an ERROR is the master's refusal of the subscription.
func streamError(message string, subscribed bool) error {
	var kind error
	switch {
	case strings.Contains(message, "Framework failed over"):
		kind = ErrFailedOver
	case strings.Contains(message, "Framework has been removed"),
		strings.Contains(message, "Framework has been completed"),
		strings.Contains(message, "Completed framework"):
		kind = ErrFrameworkRemoved
	case subscribed, strings.HasPrefix(message, "Authorization failure"):
		// The authorizer itself failed: it may be back at the next attempt.
		return nil
	case strings.HasPrefix(message, "Not authorized"):
		kind = ErrUnauthorized
	default:
		kind = ErrRefused
	}
	return fmt.Errorf("%w: %s", kind, message)
}

// terminal reports whether err ends Run.
func terminal(err error) bool {
	for _, end := range []error{ErrFrameworkRemoved, ErrFailedOver, ErrUnauthorized, ErrRefused, ErrGate} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
