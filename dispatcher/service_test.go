package dispatcher_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

var command = launch.Submission{Properties: map[string]string{"spark.app.name": "d", "spark.mesos.dispatcher.command": "true"}}

// The first try is carried out and its answer lost: the second one finds it.
func TestLostAnswerIsFoundAgain(t *testing.T) {
	s := newStage(t, nil)
	s.subscribed()
	first := true
	s.log.set(nil, func() error {
		if first {
			first = false
			return raftstore.ErrOutcomeUnknown
		}
		return nil
	})
	r, err := s.svc.Submit(t.Context(), command, dispatcher.Request{})
	if err != nil || !r.Repeated {
		t.Fatalf("%+v %v", r, err)
	}
	if n := s.state.View().Len(); n != 1 {
		t.Errorf("%d drivers", n)
	}
}

// Once the outcome of a try is unknown, no later error may look like a refusal.
func TestUnknownOutcomeStaysUnknown(t *testing.T) {
	for name, later := range map[string]error{
		"closed": raftstore.ErrClosed, "no leader": raftstore.ErrNoLeader, "not leader": raftstore.ErrNotLeader, "too large": raftstore.ErrTooLarge,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func(c *dispatcher.Config) { c.SubmitWait = 20 * time.Millisecond })
			s.subscribed()
			first := true
			s.log.set(func(context.Context) error {
				if first {
					first = false
					return raftstore.ErrOutcomeUnknown
				}
				return later
			}, nil)
			if _, err := s.svc.Submit(t.Context(), command, dispatcher.Request{}); !errors.Is(err, raftstore.ErrOutcomeUnknown) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("refused for the moment", func(t *testing.T) {
		s := newStage(t, nil)
		s.subscribed()
		first := true
		s.log.set(func(context.Context) error {
			if first {
				first = false
				return raftstore.ErrOutcomeUnknown
			}
			return nil
		}, nil)
		p := fsm.DefaultPolicy()
		p.MaxDrivers = 0
		applyTo(t, s, p)
		if _, err := s.svc.Submit(t.Context(), command, dispatcher.Request{}); !errors.Is(err, raftstore.ErrOutcomeUnknown) {
			t.Errorf("%v", err)
		}
	})
}

func applyTo(t *testing.T, s *stage, p *fsm.Policy) {
	t.Helper()
	data, err := fsm.Encode(fsm.NumberSetPolicy, fsm.Stamp{RequestID: fsm.RequestID{1}, TimeMs: 1}, p)
	if err != nil {
		t.Fatal(err)
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.index++
	s.state.Apply(s.log.index, data)
}

func TestNotReadyBeforeTheFirstSubscription(t *testing.T) {
	s := newStage(t, nil)
	s.session()
	var refused *fsm.RefusedError
	_, err := s.svc.Submit(t.Context(), command, dispatcher.Request{})
	if !errors.As(err, &refused) || refused.Code != fsm.CodeNotReady {
		t.Errorf("submit: %v", err)
	}
	_, err = s.svc.Kill(t.Context(), "driver-1", dispatcher.Request{})
	if !errors.As(err, &refused) || refused.Code != fsm.CodeNotReady {
		t.Errorf("kill: %v", err)
	}
	_, err = s.svc.Driver(t.Context(), "driver-1", dispatcher.Linearizable)
	if !errors.As(err, &refused) || refused.Code != fsm.CodeNotReady {
		t.Errorf("status: %v", err)
	}
}

func TestKeyNamesOneSubmission(t *testing.T) {
	s := newStage(t, nil)
	s.subscribed()
	key := dispatcher.Request{Key: "k"}
	a, err := s.svc.Submit(t.Context(), command, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.svc.Submit(t.Context(), command, key)
	if err != nil || b.DriverID != a.DriverID || !b.Repeated {
		t.Errorf("%+v %v, first %+v", b, err, a)
	}
	other := launch.Submission{Properties: map[string]string{"spark.app.name": "e", "spark.mesos.dispatcher.command": "false"}}
	var refused *fsm.RefusedError
	if _, err := s.svc.Submit(t.Context(), other, key); !errors.As(err, &refused) || refused.Code != fsm.CodeRequestMismatch {
		t.Errorf("%v", err)
	}
}

// Every policy that the configuration can express must be one that Apply takes:
// otherwise no node could lead.
func TestPolicyOfTheConfigurationIsAccepted(t *testing.T) {
	for key, bad := range map[string]string{
		"spark.mesos.maxDrivers": "-1", "spark.mesos.retainedDrivers": "x", "spark.mesos.cluster.retry.wait.max": "0",
		"spark.mesos.dispatcher.supervise.retryOn": "FINISHED", "spark.mesos.dispatcher.unreachable": "maybe",
		"spark.mesos.dispatcher.supervise.resetAfter": "-5s",
	} {
		if _, err := dispatcher.PolicyOf(sparkconf.New(map[string]string{key: bad})); err == nil {
			t.Errorf("%s=%s is taken", key, bad)
		}
	}
	p, err := dispatcher.PolicyOf(sparkconf.New(map[string]string{
		"spark.mesos.dispatcher.supervise.retryOn": "failed,TASK_LOST,gone", "spark.mesos.dispatcher.unreachable": "wait",
		"spark.mesos.maxDrivers": "7", "spark.mesos.dispatcher.supervise.maxRetries": "3",
	}))
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue(t)
	q.apply(fsm.NumberSetPolicy, p) // fails the test where it is refused
	if got := q.state.Policy(); got.MaxDrivers != 7 || !got.WaitForUnreachable {
		t.Errorf("%v", got)
	}
}
