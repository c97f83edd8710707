package fsm

import "github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"

// request is the remembered outcome of one request. The window of remembered
// requests is bounded by number, not by time: Apply has no clock.
type request struct {
	id          string
	seq         uint64
	number      Number
	fingerprint uint64
	code        Code
	subject     string // id of the driver, or of the hosted application, that came of it
	message     string
}

// repeated is the outcome of an earlier request with the same id, or nil.
func (t *txn) repeated(c *fsmpb.Command) *fsmpb.Result {
	was, found := t.t.requests.Get(string(c.RequestId))
	if !found {
		return nil
	}
	if was.number != Number(c.Number) ||
		was.fingerprint != 0 && c.Fingerprint != 0 && was.fingerprint != c.Fingerprint {
		return refuse(CodeRequestMismatch, "this request id was used before, for another request; use a new one")
	}
	r := &fsmpb.Result{Code: uint32(was.code), Message: was.message, RepeatedRequest: true}
	if was.number == NumberHostApp {
		r.AppId = was.subject
	} else {
		r.DriverId = was.subject
	}
	return r
}

// remember keeps the outcome of requests that come from outside. Commands that
// the leader makes on its own (launches, statuses, members) are idempotent by
// what they carry, and a leader that does not know the outcome of one decides
// afresh from the state, so a place in the window would be wasted on them.
func (t *txn) remember(c *fsmpb.Command, r *fsmpb.Result) {
	switch Number(c.Number) {
	case NumberSubmitDriver, NumberKillDriver:
	case NumberRegisterApp, NumberSetTotals, NumberKillExecutors, NumberExcludeHost, NumberStopApp, NumberHostApp:
	default:
		return
	}
	if Code(r.Code) == CodeNotReady || Code(r.Code) == CodeQueueFull {
		return // what is refused for the moment may be asked for again
	}
	q := &request{
		id: string(c.RequestId), seq: t.s.nextReq, number: Number(c.Number), fingerprint: c.Fingerprint,
		code: Code(r.Code), subject: r.DriverId, message: r.Message,
	}
	if q.number == NumberHostApp {
		q.subject = r.AppId
	}
	t.s.nextReq++
	t.t.requests.Set(q.id, q)
	t.t.reqOrder.Set(q.seq, q)
	t.forgetRequests()
}

// forgetRequests drops the oldest requests beyond the window, or some of them:
// the next ones follow with the next request.
func (t *txn) forgetRequests() {
	for n := 0; n < forgetAtOnce && t.t.reqOrder.Len() > int(t.s.policy.DedupWindow); n++ {
		_, old, _ := t.t.reqOrder.PopMin()
		t.t.requests.Delete(old.id)
	}
}
