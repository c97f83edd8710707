package host

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// metrics of a host. There is none with a label for each application: their
// number is up to clients.
type metrics struct{ expired prometheus.Counter }

func newMetrics(reg prometheus.Registerer, state *fsm.State) (*metrics, error) {
	m := &metrics{expired: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "ha_dispatcher", Subsystem: "host", Name: "applications_expired_total",
		Help: "Applications that this node ended because their drivers stayed away.",
	})}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.expired), reg.Register(&gauges{
		state: state,
		apps: prometheus.NewDesc("ha_dispatcher_host_applications",
			"Hosted applications that this node knows, by state.", []string{"state"}, nil),
		executors: prometheus.NewDesc("ha_dispatcher_host_executors",
			"Executors of hosted applications that are not over, by state.", []string{"state"}, nil),
	}))
}

// gauges are counted when they are asked for.
type gauges struct {
	state           *fsm.State
	apps, executors *prometheus.Desc
}

func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	out <- g.apps
	out <- g.executors
}

func (g *gauges) Collect(out chan<- prometheus.Metric) {
	apps := make(map[State]int)
	executors := make(map[fsm.ExecutorState]int)
	v := g.state.View()
	v.Apps(func(a *fsm.App) bool {
		if a.Hosted() {
			apps[StateOf(a)]++
			v.Live(a.ID, func(e *fsm.Executor) bool { executors[e.State]++; return true })
		}
		return true
	})
	for _, s := range states {
		out <- prometheus.MustNewConstMetric(g.apps, prometheus.GaugeValue, float64(apps[s]), string(s))
	}
	for _, s := range []fsm.ExecutorState{fsm.ExecutorLaunching, fsm.ExecutorStarting, fsm.ExecutorRunning, fsm.ExecutorDraining} {
		out <- prometheus.MustNewConstMetric(g.executors, prometheus.GaugeValue, float64(executors[s]), string(s))
	}
}
