package host

import (
	"context"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
)

const (
	// checksPerTimeout is how often drivers are looked after within the shortest
	// failover timeout there is: by that part of it an application may end late.
	checksPerTimeout = 8
	longestCheck     = 30 * time.Second
)

// silence is how long a driver has not been heard of, as far as this leader knows.
type silence struct {
	heard   uint64 // signs of life by then
	lasting time.Duration
}

// watchDrivers stops applications whose drivers stay away.
func (l *leading) watchDrivers(ctx context.Context) {
	silences := make(map[string]silence)
	last := l.cfg.Clock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for planned := time.Duration(0); ; {
		select {
		case <-timer.C:
		case <-l.came:
		case <-ctx.Done():
			return
		}
		now := l.cfg.Clock()
		// A leader that was itself held up heard nobody, which is no driver's fault.
		passed := min(max(now.Sub(last), 0), 2*planned)
		last = now
		due, shortest := l.listen(silences, passed)
		for _, a := range due {
			l.expire(ctx, a)
		}
		planned = min(shortest/checksPerTimeout, longestCheck)
		timer.Reset(planned)
	}
}

// listen adds the time that passed to each silence, and returns the applications
// whose drivers have been silent for too long, and the shortest timeout.
func (l *leading) listen(silences map[string]silence, passed time.Duration) (due []*fsm.App, shortest time.Duration) {
	shortest = checksPerTimeout * longestCheck
	there := make(map[string]bool)
	l.cfg.State.View().Apps(func(a *fsm.App) bool {
		if !a.Hosted() || a.Stopped {
			return true
		}
		there[a.ID] = true
		timeout := time.Duration(a.FailoverTimeoutMs) * time.Millisecond
		shortest = min(shortest, timeout)
		s, known := silences[a.ID]
		if !known || s.heard != a.Heard {
			silences[a.ID] = silence{heard: a.Heard}
			return true
		}
		s.lasting += passed
		silences[a.ID] = s
		if s.lasting >= timeout {
			due = append(due, a)
		}
		return true
	})
	for id := range silences {
		if !there[id] {
			delete(silences, id)
		}
	}
	return due, shortest
}

// expire stops an application, unless its driver is heard of at last.
func (l *leading) expire(ctx context.Context, a *fsm.App) {
	timeout := time.Duration(a.FailoverTimeoutMs) * time.Millisecond
	reason := fmt.Sprintf("its driver was not heard of for %v", timeout)
	data, err := fsm.Encode(fsm.NumberExpireApp, l.stamp("", Request{}), &fsmpb.ExpireApp{AppId: a.ID, Heard: a.Heard, Reason: reason})
	if err != nil {
		l.cfg.Logger.Error("an application was not ended", "app", a.ID, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.RequestWait)
	defer cancel()
	// By this leader or not at all: the next one gives each driver its time.
	out, err := l.cfg.Log.ProposeLocal(ctx, data)
	if err != nil {
		return // tried again with the next check
	}
	if r, err := fsm.DecodeResult(out); err == nil && fsm.Code(r.Code) == fsm.CodeOK {
		l.m.expired.Inc()
		l.cfg.Logger.Warn("application ended: "+reason, "app", a.ID)
	}
}
