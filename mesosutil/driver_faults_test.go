package mesosutil

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	const interval, misses = 100 * time.Millisecond, 10
	m := startMaster(t)
	d := startDriver(t, m.host(), func(c *DriverConfig) { c.Buffer, c.HeartbeatMisses = 1, misses })
	s := m.next(t)
	s.send(subscribedEvent("fw", interval))
	expect[EventSubscribed](d)
	for range misses * 3 / 2 {
		s.send(heartbeatEvent())
		time.Sleep(interval)
	}
	for i := range 5 {
		s.send(offersEvent(fmt.Sprint(i)))
	}
	time.Sleep(misses * interval * 3 / 2) // the driver is blocked on its full buffer
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

// failingDetector knows no master twice, in its two ways, and then one.
type failingDetector struct {
	asked  *atomic.Int32
	master string
}

func (d failingDetector) Detect(ctx context.Context, previous []string) ([]string, error) {
	switch d.asked.Add(1) {
	case 1:
		return nil, errors.New("no ZooKeeper")
	case 2:
		return nil, nil
	}
	return staticMasters{d.master}.Detect(ctx, previous)
}

func TestADetectorMayFail(t *testing.T) {
	m := startMaster(t)
	d := startDriver(t, "", func(c *DriverConfig) { c.Detector = failingDetector{new(atomic.Int32), m.host()} })
	m.next(t).send(subscribedEvent("fw", time.Hour))
	expect[EventSubscribed](d)
}

func TestHeartbeatIntervalIsBounded(t *testing.T) {
	seconds := func(s float64) *float64 { return &s }
	for _, c := range []struct {
		in   *float64
		want time.Duration
	}{
		{nil, 15 * time.Second}, {seconds(0), 15 * time.Second}, {seconds(-1), 15 * time.Second}, {seconds(math.NaN()), 15 * time.Second},
		{seconds(0.5), 500 * time.Millisecond}, {seconds(1e-9), time.Millisecond}, {seconds(1e300), time.Hour}, {seconds(math.Inf(1)), time.Hour},
	} {
		if got := heartbeat(c.in); got != c.want {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// Some thousand agents offer more in one event than the 4 MiB that mesos-go
// reads.
func TestLargeEvents(t *testing.T) {
	m := startMaster(t)
	d, s := subscribed(t, m, nil)
	big := offersEvent("o")
	big.Offers.Offers[0].Hostname = strings.Repeat("h", 6<<20)
	s.send(big)
	if got := len(expect[EventOffers](d).Offers[0].Hostname); got != 6<<20 {
		t.Fatalf("%d bytes", got)
	}
}
