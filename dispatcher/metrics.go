package dispatcher

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// metrics of the dispatcher. Upstream's three gauges are the first ones.
type metrics struct {
	unplacedGauge prometheus.Gauge
	offersTotal   prometheus.Counter
	declinedTotal prometheus.Counter
	revivedTotal  prometheus.Counter
	launchesTotal prometheus.Counter
	killsTotal    prometheus.Counter
	askedTotal    prometheus.Counter
	orphansTotal  prometheus.Counter
	statusesTotal *prometheus.CounterVec
	intentSeconds prometheus.Histogram
	recordSeconds prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, state *fsm.State) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ha_dispatcher", Name: name, Help: help})
	}
	gauge := func(name, help string, value func(fsm.Counts) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "ha_dispatcher", Name: name, Help: help},
			func() float64 { return float64(value(state.Counts())) })
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "ha_dispatcher", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.00025, 2, 14),
		})
	}
	m := &metrics{
		unplacedGauge: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ha_dispatcher", Name: "unplaced_drivers", Help: "Drivers that are due and found no room at the last decision of this leader."}),
		offersTotal:   counter("offers_received_total", "Offers received from Mesos."),
		declinedTotal: counter("offers_declined_total", "Offers declined."),
		revivedTotal:  counter("offers_revived_total", "REVIVE calls sent."),
		launchesTotal: counter("launches_total", "Launch intents committed."),
		killsTotal:    counter("kills_sent_total", "KILL calls sent, repeats included."),
		askedTotal:    counter("reconciled_tasks_total", "Tasks that Mesos was asked about."),
		orphansTotal:  counter("orphan_statuses_total", "Statuses of tasks that no known driver owns."),
		statusesTotal: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ha_dispatcher", Name: "statuses_total", Help: "Task statuses committed, by Mesos state and outcome."}, []string{"state", "outcome"}),
		intentSeconds: seconds("intent_commit_seconds", "Time to commit the launch intents of one decision."),
		recordSeconds: seconds("status_commit_seconds", "Time from a batch of statuses to their last acknowledgement."),
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{
		gauge("waiting_drivers", "Drivers in the queue.", func(c fsm.Counts) int { return c.Waiting }),
		gauge("launched_drivers", "Drivers launched and not over.", func(c fsm.Counts) int { return c.Active }),
		gauge("retry_drivers", "Supervised drivers waiting for their next attempt.", func(c fsm.Counts) int { return c.Retrying }),
		gauge("finished_drivers", "Finished drivers retained.", func(c fsm.Counts) int { return c.Finished }),
		m.unplacedGauge, m.offersTotal, m.declinedTotal, m.revivedTotal, m.launchesTotal, m.killsTotal,
		m.askedTotal, m.orphansTotal, m.statusesTotal, m.intentSeconds, m.recordSeconds,
	}
	for _, c := range all {
		var twice prometheus.AlreadyRegisteredError
		if err := reg.Register(c); err != nil && !errors.As(err, &twice) {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) unplaced(n int)   { m.unplacedGauge.Set(float64(n)) }
func (m *metrics) offers(n int)     { m.offersTotal.Add(float64(n)) }
func (m *metrics) declined(n int)   { m.declinedTotal.Add(float64(n)) }
func (m *metrics) revived()         { m.revivedTotal.Inc() }
func (m *metrics) killed()          { m.killsTotal.Inc() }
func (m *metrics) orphan()          { m.orphansTotal.Inc() }
func (m *metrics) reconciled(n int) { m.askedTotal.Add(float64(n)) }

func (m *metrics) intents(n int, took time.Duration) {
	m.launchesTotal.Add(float64(n))
	m.intentSeconds.Observe(took.Seconds())
}

func (m *metrics) recorded(_ int, took time.Duration) { m.recordSeconds.Observe(took.Seconds()) }

func (m *metrics) status(state string, outcome fsm.Code) {
	m.statusesTotal.WithLabelValues(state, outcome.String()).Inc()
}
