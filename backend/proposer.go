package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/backend/internal/propose"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

// propose writes a command a single time.
func (c *application) propose(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	data, err := fsm.Encode(n, c.stamp(), body)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, data)
}

func (c *application) stamp() fsm.Stamp {
	return fsm.Stamp{RequestID: fsm.RequestID(uuid.New()), TimeMs: c.cfg.Clock().UnixMilli()}
}

func (c *application) send(ctx context.Context, data []byte) (*fsmpb.Result, error) {
	out, err := c.cfg.Log.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	return fsm.DecodeResult(out)
}

// request is resolve for at most Config.RequestWait.
func (c *application) request(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestWait)
	defer cancel()
	return c.resolve(ctx, n, body)
}

// resolve writes a command until its outcome is known, or ctx ends.
func (c *application) resolve(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	r, err := propose.Until(ctx, c.cfg.Log, n, c.stamp(), body)
	if err != nil {
		return nil, err
	}
	return r, c.refusal(r)
}

// refusal is a refused result as an error that a caller can act on.
func (c *application) refusal(r *fsmpb.Result) error {
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

func sleep(ctx context.Context, d time.Duration) bool { return propose.Sleep(ctx, d) }
