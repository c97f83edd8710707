package mesosutil

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// driverMetrics are shared by all drivers on one Registerer: a node makes a
// new driver each time it comes to lead.
type driverMetrics struct {
	subscribed    prometheus.Gauge
	subscriptions *prometheus.CounterVec
	events        *prometheus.CounterVec
	calls         *prometheus.CounterVec
	callSeconds   *prometheus.HistogramVec
	offersHeld    prometheus.Gauge
}

func newDriverMetrics(reg prometheus.Registerer) (*driverMetrics, error) {
	m := &driverMetrics{
		subscribed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ha_dispatcher_mesos_subscribed", Help: "1 while the scheduler is subscribed to a Mesos master.",
		}),
		subscriptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ha_dispatcher_mesos_subscriptions_total", Help: "Rounds of subscribing, by outcome.",
		}, []string{"outcome"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ha_dispatcher_mesos_events_total", Help: "Events received from the Mesos master, by type.",
		}, []string{"type"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ha_dispatcher_mesos_calls_total", Help: "Calls to the Mesos master, by type and outcome.",
		}, []string{"type", "outcome"}),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ha_dispatcher_mesos_call_duration_seconds", Help: "Time until the Mesos master answered a call.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 12),
		}, []string{"type"}),
		offersHeld: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ha_dispatcher_mesos_offers_held", Help: "Offers held and not yet accepted, declined or rescinded.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		registerOrReuse(reg, &m.subscribed), registerOrReuse(reg, &m.subscriptions), registerOrReuse(reg, &m.events),
		registerOrReuse(reg, &m.calls), registerOrReuse(reg, &m.callSeconds), registerOrReuse(reg, &m.offersHeld))
}

func registerOrReuse[C prometheus.Collector](reg prometheus.Registerer, collector *C) error {
	err := reg.Register(*collector)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			*collector = existing
			return nil
		}
	}
	return err
}

func (m *driverMetrics) observeCall(callType string, began time.Time, err error) {
	m.callSeconds.WithLabelValues(callType).Observe(time.Since(began).Seconds())
	m.calls.WithLabelValues(callType, callOutcome(err)).Inc()
}

// callOutcome keeps the label to a handful of values.
func callOutcome(err error) string {
	outcomes := []struct {
		kind error
		name string
	}{
		{ErrNotSubscribed, "not_subscribed"}, {ErrStaleOffer, "stale_offer"}, {ErrStaleStream, "stale_stream"},
		{ErrMasterGone, "master_gone"}, {ErrCallRejected, "rejected"}, {ErrUnauthorized, "unauthorized"},
		{ErrCallOutcomeUnknown, "unknown"},
	}
	for _, o := range outcomes {
		if errors.Is(err, o.kind) {
			return o.name
		}
	}
	if err != nil {
		return "error"
	}
	return "accepted"
}
