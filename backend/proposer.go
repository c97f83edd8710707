package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// transient tells whether an error of the log goes away with a new leader.
func transient(err error) bool {
	return errors.Is(err, raftstore.ErrNoLeader) || errors.Is(err, raftstore.ErrNotLeader)
}

// propose writes a command a single time.
func (c *Coarse) propose(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	data, err := fsm.Encode(n, c.stamp(), body)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, data)
}

func (c *Coarse) stamp() fsm.Stamp {
	return fsm.Stamp{RequestID: fsm.RequestID(uuid.New()), TimeMs: c.cfg.Clock().UnixMilli()}
}

func (c *Coarse) send(ctx context.Context, data []byte) (*fsmpb.Result, error) {
	out, err := c.cfg.Log.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	return fsm.DecodeResult(out)
}

// request is resolve for at most Config.RequestWait.
func (c *Coarse) request(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestWait)
	defer cancel()
	return c.resolve(ctx, n, body)
}

// resolve writes a command until its outcome is known: through elections, and
// through answers that got lost, because the request id makes a repeat harmless.
// It gives up when ctx ends, with ErrOutcomeUnknown where the command may have
// been carried out.
func (c *Coarse) resolve(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	data, err := fsm.Encode(n, c.stamp(), body)
	if err != nil {
		return nil, err
	}
	maybeDone := false
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		r, err := c.send(ctx, data)
		if err == nil {
			return r, c.refusal(r)
		}
		maybeDone = maybeDone || errors.Is(err, raftstore.ErrOutcomeUnknown)
		again := transient(err) || errors.Is(err, raftstore.ErrOutcomeUnknown)
		if !again || c.cfg.Log.WaitLeader(ctx) != nil || !sleep(ctx, wait) {
			if maybeDone && !errors.Is(err, raftstore.ErrOutcomeUnknown) {
				err = errors.Join(raftstore.ErrOutcomeUnknown, err)
			}
			return nil, fmt.Errorf("%s: %w", n.Name(), err)
		}
	}
}

// refusal is a refused result as an error that a caller can act on.
func (c *Coarse) refusal(r *fsmpb.Result) error {
	err := fsm.ResultError(r)
	if err == nil {
		return nil
	}
	switch code := fsm.Code(r.Code); {
	case code == fsm.CodeTerminated:
		return fmt.Errorf("%w: %w", ErrStopped, err)
	case code == fsm.CodeNotFound && !c.registered():
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	case code == fsm.CodeNotFound:
		return fmt.Errorf("%w: %w", ErrUnknownExecutor, err)
	}
	return err
}

// sleep is false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
