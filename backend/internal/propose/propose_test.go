package propose

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// script is a log that answers as it is told.
type script struct {
	answers []any // an error, or the code of a result
	entries []string
}

func (s *script) Propose(_ context.Context, data []byte) ([]byte, error) {
	s.entries = append(s.entries, string(data))
	next := s.answers[0]
	s.answers = s.answers[1:]
	if err, failed := next.(error); failed {
		return nil, err
	}
	return proto.Marshal(&fsmpb.Result{Code: uint32(next.(fsm.Code))})
}

func (s *script) WaitLeader(ctx context.Context) error { return ctx.Err() }

func TestUntilTheOutcomeIsKnown(t *testing.T) {
	other := errors.New("another error")
	for _, c := range []struct {
		name    string
		answers []any
		want    any
		unknown bool
	}{
		{"at once", []any{fsm.CodeOK}, fsm.CodeOK, false},
		{"a refusal", []any{fsm.CodeQueueFull}, fsm.CodeQueueFull, false},
		{"through an election", []any{raftstore.ErrNoLeader, raftstore.ErrNotLeader, fsm.CodeOK}, fsm.CodeOK, false},
		{"after a lost answer", []any{raftstore.ErrOutcomeUnknown, fsm.CodeOK}, fsm.CodeOK, false},
		{"a refusal that may come before the first try", []any{raftstore.ErrOutcomeUnknown, fsm.CodeQueueFull}, raftstore.ErrOutcomeUnknown, true},
		{"another error", []any{other}, other, false},
		{"another error after a lost answer", []any{raftstore.ErrOutcomeUnknown, other}, other, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &script{answers: c.answers}
			r, err := Until(t.Context(), log, fsm.NumberStopApp, fsm.Stamp{RequestID: fsm.RequestID{1}, TimeMs: 1}, &fsmpb.StopApp{AppId: "a"})
			if want, isError := c.want.(error); isError {
				if !errors.Is(err, want) || errors.Is(err, raftstore.ErrOutcomeUnknown) != c.unknown {
					t.Errorf("%v", err)
				}
			} else if err != nil || fsm.Code(r.Code) != c.want {
				t.Errorf("%v, %v", r, err)
			}
			for _, e := range log.entries {
				if e != log.entries[0] {
					t.Error("a repeat is another request")
				}
			}
		})
	}
	t.Run("until ctx ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Until(ctx, &script{answers: []any{fmt.Errorf("x: %w", raftstore.ErrNoLeader)}}, fsm.NumberStopApp, fsm.Stamp{}, &fsmpb.StopApp{})
		if !errors.Is(err, raftstore.ErrNoLeader) {
			t.Errorf("%v", err)
		}
	})
}
