package rest

import (
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// listQuery is what GET /v1/drivers was asked for. Filters are joined by "and".
type listQuery struct {
	states    []string
	queue     string
	name      string
	text      string // lower case
	sinceMs   int64
	untilMs   int64 // 0: none
	limit     int
	before    uint64 // seq; 0: from the latest
	exhausted bool
}

var driverStates = []fsm.DriverState{
	fsm.DriverQueued, fsm.DriverLaunching, fsm.DriverRunning, fsm.DriverKilling, fsm.DriverRetrying,
	fsm.DriverFinished, fsm.DriverFailed, fsm.DriverKilled, fsm.DriverLost, fsm.DriverError,
}

func parseListQuery(v url.Values) (*listQuery, *failure) {
	q := &listQuery{
		queue: v.Get("queue"), name: v.Get("name"), text: strings.ToLower(v.Get("q")), limit: defaultPage,
	}
	for name := range v {
		if !slices.Contains([]string{"state", "queue", "name", "q", "since", "until", "limit", "cursor", "consistency"}, name) {
			return nil, badRequest("unknown parameter '%s'", clip(name))
		}
	}
	for _, list := range v["state"] {
		for _, s := range strings.Split(list, ",") {
			s = strings.ToUpper(strings.TrimSpace(s))
			if !slices.Contains(driverStates, fsm.DriverState(s)) {
				return nil, badRequest("unknown state '%s': use %v", clip(s), driverStates)
			}
			q.states = append(q.states, s)
		}
	}
	var f *failure
	if q.sinceMs, f = parseTime("since", v.Get("since")); f != nil {
		return nil, f
	}
	if q.untilMs, f = parseTime("until", v.Get("until")); f != nil {
		return nil, f
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return nil, badRequest("limit must be a number from 1 to %d", maxPage)
		}
		q.limit = n
	}
	if text := v.Get("cursor"); text != "" {
		before, ok := decodeCursor(text)
		if !ok {
			return nil, badRequest("the cursor is not one that this API gave out")
		}
		q.before, q.exhausted = before, before == 1
	}
	return q, nil
}

// parseTime takes RFC 3339 or milliseconds since 1970.
func parseTime(name, text string) (int64, *failure) {
	if text == "" {
		return 0, nil
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, badRequest("%s must be a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970", name)
	}
	return t.UnixMilli(), nil
}

func (q *listQuery) matches(d *fsm.Driver) bool {
	switch {
	case len(q.states) > 0 && !slices.Contains(q.states, string(d.State)),
		q.queue != "" && q.queue != queueOf(d),
		q.name != "" && q.name != d.Name,
		d.SubmittedMs < q.sinceMs,
		q.untilMs != 0 && d.SubmittedMs >= q.untilMs:
		return false
	}
	return q.text == "" || contains(d.ID, q.text) || contains(d.Name, q.text) ||
		contains(d.MainClass, q.text) || contains(d.User, q.text)
}

func contains(s, lower string) bool { return strings.Contains(strings.ToLower(s), lower) }

// queueOf names the default queue, which a submission need not.
func queueOf(d *fsm.Driver) string {
	if d.Queue == "" {
		return "default"
	}
	return d.Queue
}

// A cursor is opaque to clients: a version, and the sequence number of the last
// driver looked at, which stays valid whatever is submitted or forgotten.
const cursorVersion = 1

func encodeCursor(seq uint64) string {
	return base64.RawURLEncoding.EncodeToString(binary.AppendUvarint([]byte{cursorVersion}, seq))
}

func decodeCursor(text string) (seq uint64, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 2 || b[0] != cursorVersion {
		return 0, false
	}
	seq, n := binary.Uvarint(b[1:])
	return seq, n == len(b)-1 && seq > 0
}
