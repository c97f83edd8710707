package shuffle

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// accessLog writes one line for every n-th RPC and every n-th stream that was
// fetched to its end, and all failures up to a rate, so that neither a busy
// service nor a hostile client fills the disk.
type accessLog struct {
	log      *slog.Logger
	every    int64
	seen     atomic.Int64
	failures *rate.Limiter
	dropped  atomic.Int64
}

const (
	failuresPerSecond = 10
	failureBurst      = 100
	maxLoggedError    = 500
)

func newAccessLog(log *slog.Logger, every int) *accessLog {
	return &accessLog{log: log, every: int64(every), failures: rate.NewLimiter(failuresPerSecond, failureBurst)}
}

func (a *accessLog) sampled() bool { return a.every > 0 && a.seen.Add(1)%a.every == 0 }

func (a *accessLog) rpc(c *conn, m wire.Message, took time.Duration, err error) {
	if a.sampled() {
		a.log.Info("shuffle access", "request", m.Tag().String(), "remote", c.remote, "client", c.appID, "took", took, "ok", err == nil)
	}
}

func (a *accessLog) stream(c *conn, id int64, s *stream) {
	if a.sampled() {
		a.log.Info("shuffle access", "request", "stream", "remote", c.remote, "client", c.appID, "app", s.app, "executor", s.exec,
			"stream", id, "blocks", s.total, "bytes", s.sent)
	}
}

func (a *accessLog) failure(text string, args ...any) {
	if !a.failures.Allow() {
		a.dropped.Add(1)
		return
	}
	if n := a.dropped.Swap(0); n > 0 {
		args = append(args, "failures_not_logged", n)
	}
	a.log.Warn(text, args...)
}

// failed notes a request that was answered with a failure.
func (s *Service) failed(c *conn, kind string, err error) {
	s.metrics.failures.WithLabelValues(kind).Inc()
	s.access.failure("shuffle request failed", "request", kind, "remote", c.remote, "client", c.appID, "err", shorten(err))
}

// ended notes a connection that was broken off.
func (s *Service) ended(c *conn, err error) {
	s.metrics.failures.WithLabelValues("connection").Inc()
	s.access.failure("shuffle connection closed", "remote", c.remote, "client", c.appID, "err", shorten(err))
}

func shorten(err error) string {
	text := err.Error()
	if len(text) > maxLoggedError {
		text = text[:maxLoggedError] + "…"
	}
	return text
}
