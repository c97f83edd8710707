package raftstore

import (
	"fmt"
	"slices"
	"sync"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	promsink "github.com/hashicorp/go-metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one store. They exist even without a Registerer.
type metrics struct {
	proposals   *prometheus.CounterVec
	proposeTime prometheus.Histogram
	diskWrite   prometheus.Histogram
	diskStalls  prometheus.Counter
	readRounds  prometheus.Counter
	terms       prometheus.Counter
	takeovers   prometheus.Counter
	unregister  func()
}

func newMetrics(cfg Config, s *Store) (*metrics, error) {
	name := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "ha_dispatcher", Subsystem: "raftstore", Name: n, Help: help,
			ConstLabels: prometheus.Labels{"node": cfg.NodeID}}
	}
	histogram := func(n, help string) prometheus.Histogram {
		o := name(n, help)
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: o.Namespace, Subsystem: o.Subsystem,
			Name: o.Name, Help: o.Help, ConstLabels: o.ConstLabels, Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)})
	}
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(name(n, help)))
	}
	gauge := func(n, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(name(n, help)), f)
	}
	m := &metrics{
		proposals: prometheus.NewCounterVec(prometheus.CounterOpts(name("proposals_total",
			"Commands proposed on this node, by outcome and way (local, forwarded).")), []string{"outcome", "way"}),
		proposeTime: histogram("propose_seconds", "Time from Propose to its answer."),
		diskWrite:   histogram("disk_write_seconds", "Time of one append to the raft log."),
		diskStalls:  counter("disk_stalls_total", "Writes to the raft log that missed their deadline."),
		readRounds:  counter("read_rounds_total", "Leadership checks made for linearizable reads; many reads share one."),
		terms:       counter("leaderships_total", "Times this node became leader."),
		takeovers:   counter("crash_takeovers_total", "Elections started because the leader's process was proved dead."),
		unregister:  func() {},
	}
	if cfg.Registerer == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.proposals, m.proposeTime, m.diskWrite, m.diskStalls, m.readRounds, m.terms, m.takeovers,
		gauge("applied_index", "Last log index applied to the state machine.", func() float64 { return float64(s.AppliedIndex()) }),
		gauge("leader", "1 while this node leads.", func() float64 {
			if s.IsLeader() {
				return 1
			}
			return 0
		}),
	}
	for i, c := range all {
		if err := cfg.Registerer.Register(c); err != nil {
			unregisterAll(cfg.Registerer, all[:i])
			return nil, fmt.Errorf("raftstore: register metrics: %w", err)
		}
	}
	release, err := raftMetrics.attach(cfg.Registerer)
	if err != nil {
		unregisterAll(cfg.Registerer, all)
		return nil, err
	}
	m.unregister = func() {
		release()
		unregisterAll(cfg.Registerer, all)
	}
	return m, nil
}

func unregisterAll(r prometheus.Registerer, cs []prometheus.Collector) {
	for _, c := range cs {
		r.Unregister(c)
	}
}

// raftMetrics carries hashicorp/raft's own metrics. go-metrics has one global
// destination per process, so this is global too: each Registerer in use gets
// the metrics of all stores of the process.
var raftMetrics = &sinkHub{}

type sinkHub struct {
	mu     sync.RWMutex
	sinks  []gometrics.MetricSink
	byReg  map[prometheus.Registerer]*sharedSink
	global bool
}

type sharedSink struct {
	sink  *promsink.PrometheusSink
	users int
}

// attach sends raft's metrics to reg until release is called.
func (h *sinkHub) attach(reg prometheus.Registerer) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.global {
		cfg := gometrics.DefaultConfig("ha_dispatcher")
		cfg.EnableHostname, cfg.EnableRuntimeMetrics = false, false
		if _, err := gometrics.NewGlobal(cfg, h); err != nil {
			return nil, fmt.Errorf("raftstore: raft metrics: %w", err)
		}
		h.global, h.byReg = true, map[prometheus.Registerer]*sharedSink{}
	}
	s := h.byReg[reg]
	if s == nil {
		sink, err := promsink.NewPrometheusSinkFrom(promsink.PrometheusOpts{Registerer: reg, Expiration: time.Hour})
		if err != nil {
			return nil, fmt.Errorf("raftstore: raft metrics: %w", err)
		}
		s = &sharedSink{sink: sink}
		h.byReg[reg] = s
		h.sinks = append(slices.Clone(h.sinks), sink)
	}
	s.users++
	return sync.OnceFunc(func() { h.detach(reg) }), nil
}

func (h *sinkHub) detach(reg prometheus.Registerer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.byReg[reg]
	if s.users--; s.users > 0 {
		return
	}
	reg.Unregister(s.sink)
	delete(h.byReg, reg)
	h.sinks = slices.DeleteFunc(slices.Clone(h.sinks), func(x gometrics.MetricSink) bool { return x == gometrics.MetricSink(s.sink) })
}

func (h *sinkHub) each(f func(gometrics.MetricSink)) {
	h.mu.RLock()
	sinks := h.sinks
	h.mu.RUnlock()
	for _, s := range sinks {
		f(s)
	}
}

func (h *sinkHub) SetGauge(key []string, val float32) { h.SetGaugeWithLabels(key, val, nil) }
func (h *sinkHub) SetGaugeWithLabels(key []string, val float32, l []gometrics.Label) {
	h.each(func(s gometrics.MetricSink) { s.SetGaugeWithLabels(key, val, l) })
}
func (h *sinkHub) EmitKey(key []string, val float32) {
	h.each(func(s gometrics.MetricSink) { s.EmitKey(key, val) })
}
func (h *sinkHub) IncrCounter(key []string, val float32) { h.IncrCounterWithLabels(key, val, nil) }
func (h *sinkHub) IncrCounterWithLabels(key []string, val float32, l []gometrics.Label) {
	h.each(func(s gometrics.MetricSink) { s.IncrCounterWithLabels(key, val, l) })
}
func (h *sinkHub) AddSample(key []string, val float32) { h.AddSampleWithLabels(key, val, nil) }
func (h *sinkHub) AddSampleWithLabels(key []string, val float32, l []gometrics.Label) {
	h.each(func(s gometrics.MetricSink) { s.AddSampleWithLabels(key, val, l) })
}
