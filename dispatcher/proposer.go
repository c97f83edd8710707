package dispatcher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// Log is what the dispatcher needs of the replicated log; *raftstore.Store
// implements it.
type Log interface {
	Propose(ctx context.Context, data []byte) ([]byte, error)
	ProposeLocal(ctx context.Context, data []byte) ([]byte, error)
	Linearize(ctx context.Context) (uint64, error)
	VerifyLeader(ctx context.Context) error
	WaitLeader(ctx context.Context) error
	Leader() (m raftstore.Member, term uint64, known bool)
	Status() raftstore.Status
}

// proposer writes commands. It is safe for concurrent use.
type proposer struct {
	log   Log
	clock func() time.Time
	// term, if not 0, is the one in which this node must still lead.
	term uint64
}

// once proposes a command a single time.
func (p *proposer) once(ctx context.Context, n fsm.Number, body proto.Message) (*fsmpb.Result, error) {
	if _, now, _ := p.log.Leader(); p.term != 0 && now != p.term {
		return nil, raftstore.ErrNotLeader // deposed, and about to be told so
	}
	data, err := fsm.Encode(n, p.stamp(fsm.RequestID(uuid.New()), 0), body)
	if err != nil {
		return nil, err
	}
	return p.send(ctx, data)
}

// resolve proposes a command until its outcome is known: through elections, and
// through answers that got lost, because the request id makes a repeat harmless.
// It gives up when ctx ends, with the error of the last attempt.
func (p *proposer) resolve(ctx context.Context, n fsm.Number, s fsm.Stamp, body proto.Message) (*fsmpb.Result, error) {
	data, err := fsm.Encode(n, s, body)
	if err != nil {
		return nil, err
	}
	maybeDone := false // an earlier try may have been, or may yet be, carried out
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		r, err := p.send(ctx, data)
		switch {
		case err == nil && maybeDone && forgotten(r):
			return nil, fmt.Errorf("%w: an earlier try is on its way, and this one was refused: %s", raftstore.ErrOutcomeUnknown, r.Message)
		case err == nil:
			return r, nil
		case errors.Is(err, raftstore.ErrOutcomeUnknown):
			maybeDone = true
		case !transient(err):
			return nil, orUnknown(err, maybeDone)
		}
		if !p.pause(ctx, wait) {
			return nil, orUnknown(err, maybeDone)
		}
	}
}

// forgotten tells whether a result is a refusal that Apply does not remember: the
// same request may be accepted later.
func forgotten(r *fsmpb.Result) bool {
	code := fsm.Code(r.Code)
	return code == fsm.CodeNotReady || code == fsm.CodeQueueFull
}

// orUnknown keeps the error of the last try from hiding that an earlier one may
// have been carried out.
func orUnknown(err error, maybeDone bool) error {
	if maybeDone && !errors.Is(err, raftstore.ErrOutcomeUnknown) {
		return errors.Join(raftstore.ErrOutcomeUnknown, err)
	}
	return err
}

// pause waits for a leader, and a moment longer where one is known: it may have
// just lost its office. It is false when ctx ends.
func (p *proposer) pause(ctx context.Context, d time.Duration) bool {
	if err := p.log.WaitLeader(ctx); err != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *proposer) send(ctx context.Context, data []byte) (*fsmpb.Result, error) {
	propose := p.log.Propose
	if p.term != 0 {
		// The log would send the command on to the next leader, who must not find
		// in it what this one decided.
		propose = p.log.ProposeLocal
	}
	out, err := propose(ctx, data)
	if err != nil {
		return nil, err
	}
	return fsm.DecodeResult(out)
}

func (p *proposer) stamp(id fsm.RequestID, fingerprint uint64) fsm.Stamp {
	return fsm.Stamp{RequestID: id, TimeMs: p.clock().UnixMilli(), Fingerprint: fingerprint}
}

// requestID of a client's key; a fresh one where it gave none.
func requestID(kind, key string) fsm.RequestID {
	if key == "" {
		return fsm.RequestID(uuid.New())
	}
	sum := sha256.Sum256([]byte(kind + "\x00" + key))
	return fsm.RequestID(sum[:16])
}
