package mesosutil

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/prometheus/client_golang/prometheus"
)

func TestEventsComeInOrder(t *testing.T) {
	for _, codec := range []DriverCodec{DriverCodecProtobuf, DriverCodecJSON} {
		t.Run(string(codec), func(t *testing.T) {
			m := startMaster(t)
			d := startDriver(t, m.host(), func(c *DriverConfig) { c.Codec = codec })
			s := m.next(t)
			if got := s.codec.Name; got != string(codec) {
				t.Fatalf("asked in %s, want %s", got, codec)
			}
			s.send(subscribedEvent("fw", 15*time.Second))
			sub := expect[EventSubscribed](d)
			want := EventSubscribed{FrameworkID: "fw", MasterURL: m.URL, HeartbeatInterval: 15 * time.Second}
			if diff := cmp.Diff(want, sub); diff != "" {
				t.Fatal(diff)
			}
			sendOneOfEach(s)
			if got := expect[EventOffers](d); got.Offers[1].ID.Value != "o2" {
				t.Fatalf("offers %v", got)
			}
			got := []Event{
				expect[EventRescind](d), expect[EventInverseOffers](d), expect[EventRescindInverse](d), expect[EventUpdate](d),
				expect[EventMessage](d), expect[EventFailure](d), expect[EventFailure](d), expect[EventError](d),
			}
			three := 3
			wants := []Event{
				EventRescind{"o1"}, got[1], EventRescindInverse{"i1"}, got[3],
				EventMessage{"a", "e", []byte("hello")}, EventFailure{AgentID: "a"}, EventFailure{"a", "e", &three}, EventError{"odd"},
			}
			if diff := cmp.Diff(wants, got); diff != "" {
				t.Fatal(diff)
			}
			if status := got[3].(EventUpdate).Status; status.TaskID.Value != "t" || string(status.UUID) != "0123456789abcdef" {
				t.Fatalf("status %v", status)
			}
		})
	}
}

func sendOneOfEach(s *fakeStream) {
	agent, state, three := &mesos.AgentID{Value: "a"}, mesos.TASK_RUNNING, int32(3)
	s.send(heartbeatEvent(), offersEvent(), offersEvent("o1", "o2"), &scheduler.Event{Type: scheduler.Event_UNKNOWN},
		&scheduler.Event{Type: scheduler.Event_RESCIND, Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: "o1"}}},
		&scheduler.Event{Type: scheduler.Event_INVERSE_OFFERS, InverseOffers: &scheduler.Event_InverseOffers{
			InverseOffers: []mesos.InverseOffer{{OfferID: mesos.OfferID{Value: "i1"}}}}},
		&scheduler.Event{Type: scheduler.Event_RESCIND_INVERSE_OFFER, RescindInverseOffer: &scheduler.Event_RescindInverseOffer{InverseOfferID: mesos.OfferID{Value: "i1"}}},
		&scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: mesos.TaskStatus{
			TaskID: mesos.TaskID{Value: "t"}, State: &state, UUID: []byte("0123456789abcdef")}}},
		&scheduler.Event{Type: scheduler.Event_MESSAGE, Message: &scheduler.Event_Message{AgentID: *agent, ExecutorID: mesos.ExecutorID{Value: "e"}, Data: []byte("hello")}},
		&scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{AgentID: agent}},
		&scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{AgentID: agent, ExecutorID: &mesos.ExecutorID{Value: "e"}, Status: &three}},
		errorEvent("odd"))
}

func TestSubscribesAgainWithTheSameID(t *testing.T) {
	m := startMaster(t)
	var given *mesos.FrameworkInfo
	d := startDriver(t, m.host(), func(c *DriverConfig) {
		zero := 0.0
		c.Framework.FailoverTimeout = &zero // mesos-go would leave the id out
		given = c.Framework
	})
	first := m.next(t)
	if first.call.FrameworkID != nil || first.call.Subscribe.FrameworkInfo.ID != nil {
		t.Fatal("a new framework brings an id")
	}
	first.send(subscribedEvent("fw-1", time.Hour))
	expect[EventSubscribed](d)
	close(first.cut)
	if lost := expect[EventDisconnected](d); !errors.Is(lost.Err, errStreamEnded) {
		t.Fatalf("disconnected with %v", lost.Err)
	}
	second := m.next(t)
	if second.call.FrameworkID.GetValue() != "fw-1" || second.call.Subscribe.FrameworkInfo.ID.GetValue() != "fw-1" {
		t.Fatalf("the id is missing in %v", second.call)
	}
	second.send(subscribedEvent("fw-1", time.Hour))
	if again := expect[EventSubscribed](d); !again.Resubscribed {
		t.Fatal("not marked as a resubscription")
	}
	if given.ID != nil {
		t.Fatal("the caller's FrameworkInfo was changed")
	}
}

func TestAnotherIDIsNeverTaken(t *testing.T) {
	m := startMaster(t)
	d := startDriver(t, m.host(), func(c *DriverConfig) { c.Framework.ID = &mesos.FrameworkID{Value: "mine"} })
	m.next(t).send(subscribedEvent("other", time.Hour))
	if err := d.end(); !errors.Is(err, ErrFrameworkRemoved) {
		t.Fatalf("Run ended with %v", err)
	}
}

func TestFindsTheLeadingMaster(t *testing.T) {
	redirectTo := func(location func(leader string) string) func(string) func(http.ResponseWriter, *http.Request) bool {
		return func(leader string) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Location", location(leader))
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
		}
	}
	for name, other := range map[string]func(leader string) func(http.ResponseWriter, *http.Request) bool{
		"redirect as Mesos writes it": redirectTo(func(l string) string { return "//" + l + "/master/api/v1/scheduler" }),
		"redirect with scheme":        redirectTo(func(l string) string { return "http://" + l + schedulerPath }),
		"redirect to a bare host":     redirectTo(func(l string) string { return l }),
		"redirect to nowhere":         redirectTo(func(string) string { return "" }),
		"redirect elsewhere":          redirectTo(func(string) string { return "ftp://x/" }),
		"no leader elected": func(string) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request) bool {
				answer(http.StatusServiceUnavailable, "No leading master elected")(w)
				return true
			}
		},
		"not a master": func(string) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request) bool { answer(200, "<html>")(w); return true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			leader, standby := startMaster(t), startMaster(t)
			standby.script(other(leader.host()), nil)
			d := startDriver(t, strings.Join([]string{deadHost(t), standby.host(), leader.host()}, ","), nil)
			leader.next(t).send(subscribedEvent("fw", time.Hour))
			if got := expect[EventSubscribed](d).MasterURL; got != leader.URL {
				t.Fatalf("subscribed at %s, want %s", got, leader.URL)
			}
			if n := standby.subscribeCount(); n != 1 {
				t.Fatalf("the standby was asked %d times", n)
			}
		})
	}
}

func TestWaitsForAnElection(t *testing.T) {
	m := startMaster(t)
	var asked atomic.Int32
	m.script(func(w http.ResponseWriter, _ *http.Request) bool {
		if asked.Add(1) > 3 {
			return false
		}
		answer(http.StatusServiceUnavailable, "No leading master elected")(w)
		return true
	}, nil)
	d := startDriver(t, m.host(), nil)
	eventually(t, "the status tells why", func() bool {
		st := d.Status()
		return errors.Is(st.Err, ErrNoLeadingMaster) || st.Subscribed || asked.Load() > 3
	})
	m.next(t).send(subscribedEvent("fw", time.Hour))
	expect[EventSubscribed](d) // no EventDisconnected before the first subscription
	if st := d.Status(); !st.Subscribed || st.Err != nil || st.FrameworkID != "fw" || st.MasterURL != m.URL {
		t.Fatalf("status %+v", st)
	}
}

func TestRedirectsInACircleAreLeft(t *testing.T) {
	m := startMaster(t)
	m.script(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "//"+m.host()+schedulerPath)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}, nil)
	d := startDriver(t, m.host(), nil)
	eventually(t, "ErrNoLeadingMaster", func() bool { return errors.Is(d.Status().Err, ErrNoLeadingMaster) })
}

func TestEndOfContextEndsEverything(t *testing.T) {
	m := startMaster(t)
	arrived := make(chan struct{})
	m.script(nil, func(http.ResponseWriter, *scheduler.Call) bool { close(arrived); <-m.stopped; return true })
	d, s := subscribed(t, m, nil)
	inFlight := make(chan error, 1)
	go func() { inFlight <- d.Revive(context.Background()) }()
	receiveClosed(t, arrived)
	d.cancel()
	if err := d.end(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run ended with %v", err)
	}
	if err := receive(t, inFlight, "the end of the call"); !errors.Is(err, ErrCallOutcomeUnknown) {
		t.Fatalf("the call in flight ended with %v", err)
	}
	receiveClosed(t, s.ended)
	if err := d.Revive(context.Background()); !errors.Is(err, ErrNotSubscribed) {
		t.Fatalf("a call after Run: %v", err)
	}
	if err := d.Run(context.Background()); !errors.Is(err, ErrDriverUsed) {
		t.Fatalf("a second Run: %v", err)
	}
	if n := len(m.seen()); n != 1 {
		t.Fatalf("the master saw %d calls", n)
	}
}

func receiveClosed(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("never closed")
	}
}

func TestBasicAuthentication(t *testing.T) {
	const secret = "s3cret-word"
	m := startMaster(t)
	var logs lockedBuffer
	creds, err := NewCredentials("spark", secret)
	if err != nil {
		t.Fatal(err)
	}
	d, s := subscribed(t, m, func(c *DriverConfig) {
		c.Credentials = creds
		c.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if err := d.Revive(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.call.Subscribe.FrameworkInfo.GetPrincipal(); got != "spark" {
		t.Fatalf("principal %q", got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.headers {
		user, pass, ok := (&http.Request{Header: h}).BasicAuth()
		if !ok || user != "spark" || pass != secret {
			t.Fatalf("authorization %q", h.Get("Authorization"))
		}
	}
	if strings.Contains(logs.String(), secret) {
		t.Fatal("the secret is in the log")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func TestHTTPS(t *testing.T) {
	secure, plain := newMaster(t), startMaster(t)
	secure.StartTLS()
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	creds, _ := NewCredentials("spark", "secret")
	d := startDriver(t, secure.host(), func(c *DriverConfig) {
		c.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		c.Credentials = creds
	})
	s := secure.next(t)
	s.send(subscribedEvent("fw", time.Hour))
	if got := expect[EventSubscribed](d).MasterURL; got != "https://"+secure.host() {
		t.Fatalf("subscribed at %s", got)
	}
	secure.script(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", plain.URL+schedulerPath)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}, nil)
	close(s.cut)
	expect[EventDisconnected](d)
	eventually(t, "refusal to leave https", func() bool {
		err := d.Status().Err
		return err != nil && strings.Contains(err.Error(), "in the clear")
	})
	if plain.subscribeCount() != 0 {
		t.Fatal("the secret went out in the clear")
	}
}

// tableDetector answers with what the test puts in.
type tableDetector struct{ changes chan []string }

func (d tableDetector) Detect(ctx context.Context, previous []string) ([]string, error) {
	select {
	case now := <-d.changes:
		return now, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestDetectorMovesTheSubscription(t *testing.T) {
	old, new := startMaster(t), startMaster(t)
	changes := make(chan []string)
	d := startDriver(t, "", func(c *DriverConfig) { c.Detector = tableDetector{changes} })
	changes <- []string{old.host(), new.host()}
	old.next(t).send(subscribedEvent("fw", time.Hour))
	expect[EventSubscribed](d)
	changes <- []string{old.host()} // same leader: nothing happens
	changes <- []string{new.host(), old.host()}
	if lost := expect[EventDisconnected](d); !errors.Is(lost.Err, ErrMasterChanged) {
		t.Fatalf("disconnected with %v", lost.Err)
	}
	changes <- []string{new.host(), old.host()}
	new.next(t).send(subscribedEvent("fw", time.Hour))
	if got := expect[EventSubscribed](d).MasterURL; got != new.URL {
		t.Fatalf("subscribed at %s", got)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := func() DriverConfig {
		return DriverConfig{Master: "host:5050", Framework: &mesos.FrameworkInfo{Name: "x"}}
	}
	if _, err := NewDriver(good()); err != nil {
		t.Fatal(err)
	}
	creds, _ := NewCredentials("a", "")
	other := "b"
	for name, change := range map[string]func(*DriverConfig){
		"no master":             func(c *DriverConfig) { c.Master = "" },
		"bad master":            func(c *DriverConfig) { c.Master = "host:port" },
		"zk without detector":   func(c *DriverConfig) { c.Master = "zk://a/mesos" },
		"master and detector":   func(c *DriverConfig) { c.Detector = staticMasters{"a"} },
		"no framework":          func(c *DriverConfig) { c.Framework = nil },
		"nameless framework":    func(c *DriverConfig) { c.Framework = &mesos.FrameworkInfo{} },
		"two principals":        func(c *DriverConfig) { c.Framework.Principal = &other; c.Credentials = creds },
		"codec":                 func(c *DriverConfig) { c.Codec = "xml" },
		"misses":                func(c *DriverConfig) { c.HeartbeatMisses = 101 },
		"backoff upside down":   func(c *DriverConfig) { c.BackoffMin, c.BackoffMax = 2, 1 },
		"negative call timeout": func(c *DriverConfig) { c.CallTimeout = -1 },
		"negative buffer":       func(c *DriverConfig) { c.Buffer = -1 },
		"negative record limit": func(c *DriverConfig) { c.MaxRecordBytes = -1 },
	} {
		cfg := good()
		change(&cfg)
		if _, err := NewDriver(cfg); !errors.Is(err, ErrDriverConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDriversShareMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := startMaster(t)
	with := func(c *DriverConfig) { c.Registerer = reg }
	for range 2 {
		d, _ := subscribed(t, m, with)
		if err := d.Revive(context.Background()); err != nil {
			t.Fatal(err)
		}
		d.cancel()
		_ = d.end()
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.Metric {
			got[f.GetName()] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"ha_dispatcher_mesos_subscribed": 0, "ha_dispatcher_mesos_offers_held": 0, "ha_dispatcher_mesos_subscriptions_total": 2,
		"ha_dispatcher_mesos_events_total": 2, "ha_dispatcher_mesos_calls_total": 2, "ha_dispatcher_mesos_call_duration_seconds": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}
