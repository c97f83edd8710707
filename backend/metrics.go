package backend

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all backends of a process together.
type metrics struct {
	launches, kills, revives prometheus.Counter
	declines, statuses       *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "ha_dispatcher", Subsystem: "backend", Name: name, Help: help}
	}
	m := &metrics{
		launches: prometheus.NewCounter(opts("launches_total", "Launch intents of executors committed.")),
		kills:    prometheus.NewCounter(opts("kills_sent_total", "KILL calls sent, repeats included.")),
		revives:  prometheus.NewCounter(opts("offers_revived_total", "REVIVE calls sent.")),
		declines: prometheus.NewCounterVec(opts("offers_declined_total", "Offers declined, by reason."), []string{"reason"}),
		statuses: prometheus.NewCounterVec(opts("statuses_total", "Statuses of executors committed, by Mesos state and outcome."), []string{"state", "outcome"}),
	}
	if reg == nil {
		return m, nil
	}
	if err := use(reg, &m.launches); err != nil {
		return nil, err
	}
	return m, errors.Join(use(reg, &m.kills), use(reg, &m.revives), use(reg, &m.declines), use(reg, &m.statuses))
}

// use registers a collector, or takes the one that another backend registered.
func use[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	var there prometheus.AlreadyRegisteredError
	if errors.As(err, &there) {
		*c, err = there.ExistingCollector.(C), nil
	}
	return err
}
