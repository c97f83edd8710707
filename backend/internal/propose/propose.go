// Package propose writes commands into the replicated log on behalf of clients:
// again and again until the outcome is known, which the request id in each
// command makes harmless.
package propose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Log is what is written to; *raftstore.Store is one.
type Log interface {
	Propose(ctx context.Context, data []byte) ([]byte, error)
	WaitLeader(ctx context.Context) error
}

// Transient tells whether an error of the log goes away with a new leader.
func Transient(err error) bool {
	return errors.Is(err, raftstore.ErrNoLeader) || errors.Is(err, raftstore.ErrNotLeader)
}

// Until writes a command until its outcome is known: through elections, and
// through answers that got lost. It gives up when ctx ends, with
// raftstore.ErrOutcomeUnknown where the command may have been carried out. The
// result may be a refusal.
func Until(ctx context.Context, log Log, n fsm.Number, s fsm.Stamp, body proto.Message) (*fsmpb.Result, error) {
	data, err := fsm.Encode(n, s, body)
	if err != nil {
		return nil, err
	}
	maybeDone := false // an earlier try may have been, or may yet be, carried out
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		r, err := once(ctx, log, data)
		switch {
		case err == nil && maybeDone && forgotten(r):
			return nil, fmt.Errorf("%s: %w: an earlier try is on its way, and this one was refused: %s", n.Name(), raftstore.ErrOutcomeUnknown, r.Message)
		case err == nil:
			return r, nil
		case errors.Is(err, raftstore.ErrOutcomeUnknown):
			maybeDone = true
		case !Transient(err):
			return nil, failed(n, err, maybeDone)
		}
		if log.WaitLeader(ctx) != nil || !Sleep(ctx, wait) {
			return nil, failed(n, err, maybeDone)
		}
	}
}

func once(ctx context.Context, log Log, data []byte) (*fsmpb.Result, error) {
	out, err := log.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	return fsm.DecodeResult(out)
}

// forgotten tells whether a result is a refusal that Apply does not remember: the
// same request may be accepted later.
func forgotten(r *fsmpb.Result) bool {
	code := fsm.Code(r.Code)
	return code == fsm.CodeNotReady || code == fsm.CodeQueueFull
}

// failed keeps the error of the last try from hiding that an earlier one may have
// been carried out.
func failed(n fsm.Number, err error, maybeDone bool) error {
	if maybeDone && !errors.Is(err, raftstore.ErrOutcomeUnknown) {
		err = errors.Join(raftstore.ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("%s: %w", n.Name(), err)
}

// Sleep is false when ctx ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
