package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

func TestTerminalAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		event  string
		after  bool // SUBSCRIBED
		want   error
	}{
		{status: 401, want: ErrUnauthorized},
		{status: 403, want: ErrUnauthorized},
		{status: 400, want: ErrRefused},
		{status: 406, want: ErrRefused},
		{event: "Framework has been removed", want: ErrFrameworkRemoved},
		{event: "Not authorized to use roles '{ a }'", want: ErrUnauthorized},
		{event: "Role 'x' is not present in the master's --roles", want: ErrRefused},
		{event: "Framework failed over", after: true, want: ErrFailedOver},
		{event: "Framework has been removed", after: true, want: ErrFrameworkRemoved},
	} {
		t.Run(fmt.Sprintf("%d %s %v", c.status, c.event, c.after), func(t *testing.T) {
			m := startMaster(t)
			if c.status != 0 {
				m.script(func(w http.ResponseWriter, _ *http.Request) bool { answer(c.status, "no")(w); return true }, nil)
			}
			d := startDriver(t, m.host(), nil)
			if c.status == 0 {
				s := m.next(t)
				if c.after {
					s.send(subscribedEvent("fw", time.Hour))
				}
				s.send(errorEvent(c.event))
			}
			if err := d.end(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.event) {
				t.Fatalf("Run ended with %v, want %v", err, c.want)
			}
			if n := m.subscribeCount(); n != 1 {
				t.Fatalf("subscribed %d times", n)
			}
			if st := d.Status(); st.Subscribed || !errors.Is(st.Err, c.want) {
				t.Fatalf("status %+v", st)
			}
		})
	}
}

func TestPassingFailuresAreTriedAgain(t *testing.T) {
	for name, fail := range map[string]func(*fakeStream){
		"the authorizer fails":  func(s *fakeStream) { s.send(errorEvent("Authorization failure: timed out")) },
		"not RecordIO":          func(s *fakeStream) { s.raw("hello\n") },
		"length beyond uint63":  func(s *fakeStream) { s.raw("18446744073709551615\nx") },
		"record over the limit": func(s *fakeStream) { s.raw("1000001\n") },
		"not a message":         func(s *fakeStream) { s.raw("3\nxyz") },
		"no framework id": func(s *fakeStream) {
			s.send(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{FrameworkID: &mesos.FrameworkID{}}})
		},
		"cut in a record": func(s *fakeStream) { s.raw("10\nabc"); close(s.cut) },
	} {
		t.Run(name, func(t *testing.T) {
			m := startMaster(t)
			d := startDriver(t, m.host(), func(c *DriverConfig) { c.MaxRecordBytes = 1000000 })
			fail(m.next(t))
			m.next(t).send(subscribedEvent("fw", time.Hour))
			expect[EventSubscribed](d)
		})
	}
}

func TestSilenceEndsASubscription(t *testing.T) {
	m := startMaster(t)
	d := startDriver(t, m.host(), func(c *DriverConfig) { c.HeartbeatMisses = 2 })
	m.next(t).send(subscribedEvent("fw", 20*time.Millisecond))
	expect[EventSubscribed](d)
	if lost := expect[EventDisconnected](d); !errors.Is(lost.Err, ErrHeartbeatMissed) {
		t.Fatalf("disconnected with %v", lost.Err)
	}
	m.next(t).send(subscribedEvent("fw", time.Hour))
	expect[EventSubscribed](d)
}

func TestASilentSubscribeIsGivenUp(t *testing.T) {
	m := startMaster(t)
	d := startDriver(t, m.host(), func(c *DriverConfig) { c.CallTimeout = 50 * time.Millisecond })
	m.next(t) // HTTP 200 and no SUBSCRIBED
	m.next(t)
	eventually(t, "errNoAnswer", func() bool { return errors.Is(d.Status().Err, errNoAnswer) })
}

// The stream must outlive many times the silence allowed, as long as the
// master speaks, and the reader's slowness is not the master's silence.
func TestHeartbeatsAndSlowReadersKeepTheSubscription(t *testing.T) {
	const interval = 100 * time.Millisecond
	m := startMaster(t)
	d := startDriver(t, m.host(), func(c *DriverConfig) { c.Buffer = 1 })
	s := m.next(t)
	s.send(subscribedEvent("fw", interval))
	expect[EventSubscribed](d)
	for range 12 { // 4 times what three missed heartbeats allow
		s.send(heartbeatEvent())
		time.Sleep(interval / 3)
	}
	for i := range 5 {
		s.send(offersEvent(fmt.Sprint(i)))
	}
	time.Sleep(5 * interval) // the driver is blocked on its full buffer
	for i := range 5 {
		if got := expect[EventOffers](d).Offers[0].ID.Value; got != fmt.Sprint(i) {
			t.Fatalf("offer %s, want %d", got, i)
		}
	}
}

func TestGateGuardsEverySubscription(t *testing.T) {
	errDeposed := errors.New("deposed")
	for name, allowed := range map[string]int32{
		"before the first SUBSCRIBE":  0,
		"after the master's answer":   1,
		"before a second SUBSCRIBE":   2,
		"after the second SUBSCRIBED": 3,
	} {
		t.Run(name, func(t *testing.T) {
			m := startMaster(t)
			var passed atomic.Int32
			d := startDriver(t, m.host(), func(c *DriverConfig) {
				c.Gate = func(context.Context) error {
					if passed.Add(1) > allowed {
						return errDeposed
					}
					return nil
				}
			})
			var seen []string
			go func() {
				for s := range m.streams {
					s.send(subscribedEvent("fw", time.Hour))
					close(s.cut)
				}
			}()
			t.Cleanup(func() { close(m.streams) })
			for ev := range d.Events() {
				seen = append(seen, fmt.Sprintf("%T", ev))
			}
			if err := receive(t, d.done, "the end of Run"); !errors.Is(err, ErrGate) || !errors.Is(err, errDeposed) {
				t.Fatalf("Run ended with %v", err)
			}
			if got, want := m.subscribeCount(), int(allowed+1)/2; got != want {
				t.Fatalf("%d SUBSCRIBEs got through, want %d", got, want)
			}
			if got, want := len(seen), []int{0, 0, 2, 2}[allowed]; got != want {
				t.Fatalf("events %v, want %d of them", seen, want)
			}
		})
	}
}
