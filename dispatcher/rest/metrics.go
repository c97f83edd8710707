package rest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the server. Requests are counted by route, not by path, so that
// clients cannot create time series.
type metrics struct {
	requests *prometheus.CounterVec
	latency  map[string]prometheus.Observer // by route
	clock    func() time.Time
}

func newMetrics(s *Server, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ha_dispatcher_rest_requests_total",
			Help: "HTTP requests answered on the REST port.",
		}, []string{"route", "method", "code"}),
		latency: make(map[string]prometheus.Observer),
		clock:   time.Now,
	}
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "ha_dispatcher_rest_request_duration_seconds",
		Help:    "Time from the request's header to its whole reply, event streams left out.",
		Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route"})
	for _, r := range s.routes {
		if !r.stream {
			m.latency[r.name] = latency.WithLabelValues(r.name)
		}
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	collectors := []prometheus.Collector{
		m.requests, latency,
		gauge("ha_dispatcher_rest_in_flight_requests", "Requests being worked on.",
			func() float64 { return float64(s.inFlight.Load()) }),
		gauge("ha_dispatcher_rest_event_streams", "Readers of the event stream.",
			func() float64 { return float64(s.streams.Load()) }),
		gauge("ha_dispatcher_rest_app_streams", "Readers of the events of one application.",
			func() float64 { return float64(s.appStreams.Load()) }),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("rest: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) begin() time.Time { return m.clock() }

func (m *metrics) end(x *exchange, begin time.Time) {
	m.requests.WithLabelValues(x.route.name, methodLabel(x.r.Method), codeLabel(x.status)).Inc()
	if o := m.latency[x.route.name]; o != nil {
		o.Observe(m.clock().Sub(begin).Seconds())
	}
}

func methodLabel(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE":
		return method
	}
	return "other"
}

func codeLabel(code int) string {
	if code == 200 { // nearly always
		return "200"
	}
	return strconv.Itoa(code)
}
