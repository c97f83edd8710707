package shuffle

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const (
	metricsNamespace = "ha_dispatcher"
	metricsSubsystem = "shuffle"
)

// metrics are the service's own; its gauges are read from where the truth is.
type metrics struct {
	registry    *prometheus.Registry
	blocks      prometheus.Counter
	bytes       prometheus.Counter
	requests    *prometheus.CounterVec
	latency     *prometheus.HistogramVec
	failures    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	auth        *prometheus.CounterVec
	cleanups    *prometheus.CounterVec
	heartbeats  prometheus.Counter
	expired     prometheus.Counter
	openStreams prometheus.Gauge
}

func newMetrics(s *Service) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		blocks:      counter("blocks_served_total", "Blocks sent to clients."),
		bytes:       counter("block_bytes_total", "Bytes of blocks sent to clients."),
		requests:    vec("requests_total", "RPCs by message and outcome.", "message", "outcome"),
		failures:    vec("failures_total", "Requests that failed, by kind.", "kind"),
		refused:     vec("refused_total", "What was refused to protect the service, by reason.", "reason"),
		auth:        vec("auth_total", "Handshakes by mechanism and outcome.", "mechanism", "outcome"),
		cleanups:    vec("cleanup_dirs_total", "Local directories of removed applications, by outcome.", "outcome"),
		heartbeats:  counter("heartbeats_total", "Heartbeats of known drivers."),
		expired:     counter("expired_apps_total", "Applications that were removed because they fell silent."),
		openStreams: prometheus.NewGauge(prometheus.GaugeOpts(opts("open_streams", "Streams that are not fetched to their end."))),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: metricsNamespace, Subsystem: metricsSubsystem,
			Name: "request_seconds", Help: "Time to handle an RPC.", Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9)}, []string{"message"}),
	}
	m.registry.MustRegister(m.blocks, m.bytes, m.requests, m.latency, m.failures, m.refused, m.auth, m.cleanups, m.heartbeats,
		m.expired, m.openStreams, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, read func() int64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), func() float64 { return float64(read()) }))
	}
	gauge("connections", "Open connections.", func() int64 { return int64(s.connections()) })
	gauge("registered_apps", "Known applications.", func() int64 { n, _ := s.registry.Counts(); return int64(n) })
	gauge("registered_executors", "Known executors.", func() int64 { _, n := s.registry.Counts(); return int64(n) })
	gauge("pending_removals", "Directories waiting for their deletion.", func() int64 { return int64(len(s.registry.Pending())) })
	gauge("chunks_in_flight", "Blocks being sent.", s.inFlight.Load)
	gauge("request_memory_bytes", "Memory of large requests and open streams.", func() int64 { return s.frames.used.Load() + s.streams.used.Load() })
	gauge("index_cache_bytes", "Size of the index cache.", func() int64 { return s.store.Stats().IndexBytes })
	count := func(name, help string, read func() int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts(name, help)), func() float64 { return float64(read()) }))
	}
	count("index_cache_hits_total", "Lookups answered by the index cache.", func() int64 { return s.store.Stats().IndexHits })
	count("index_cache_misses_total", "Lookups that read an index file.", func() int64 { return s.store.Stats().IndexMisses })
	gauge("open_files", "Shuffle files kept open.", func() int64 { return s.store.Stats().OpenFiles })
	return m
}

func (m *metrics) sent(n int64) {
	m.blocks.Inc()
	m.bytes.Add(float64(n))
}

func (m *metrics) rpc(message string, took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.requests.WithLabelValues(message, outcome).Inc()
	m.latency.WithLabelValues(message).Observe(took.Seconds())
}
