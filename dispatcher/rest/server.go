package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Server answers HTTP requests for one node. It holds no state of drivers: all
// that it knows it asks its Dispatcher. Methods may be called concurrently.
type Server struct {
	cfg      Config
	backend  Dispatcher
	log      *slog.Logger
	metrics  *metrics
	auth     *authenticator
	tls      *tls.Config
	node     []string // value of the header, made once
	origins  http.CrossOriginProtection
	routes   []*route
	http     *http.Server
	conns    *connTable
	inFlight atomic.Int64
	streams  atomic.Int64
	bodies   atomic.Int64 // memory in request bodies beyond the pooled buffers
	stopping chan struct{}
	stopOnce sync.Once

	appStreams atomic.Int64
	signs      *signs // of life of applications
	router     *router
}

// New makes a server. It reads the token file and the certificates, so that
// mistakes in them show at once. Metrics are registered with reg unless that is
// nil; log nil discards.
func New(cfg Config, d Dispatcher, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	auth, err := newAuthenticator(cfg, log)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.TLS.Load(log)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, backend: d, log: log, auth: auth, tls: tlsConfig,
		node:     []string{cfg.NodeID},
		conns:    newConnTable(cfg.Limits.MaxConnections),
		stopping: make(chan struct{}),
	}
	s.signs = newSigns(cfg.Applications)
	s.router = newRouter(d.Feed)
	s.routes = s.table()
	if s.metrics, err = newMetrics(s, reg); err != nil {
		return nil, err
	}
	l := cfg.Limits
	s.http = &http.Server{
		Handler: s, TLSConfig: tlsConfig,
		ReadHeaderTimeout: l.ReadHeaderTimeout, ReadTimeout: l.ReadTimeout,
		WriteTimeout: 0, // set for each reply: a submission may wait for a leader first
		IdleTimeout:  l.IdleTimeout, MaxHeaderBytes: l.MaxHeaderBytes,
		ConnState: s.conns.changed,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(s.stopStreams)
	return s, nil
}

func (s *Server) stopStreams() {
	s.stopOnce.Do(func() { close(s.stopping) })
	s.signs.stop()
	s.router.stop()
}

// wait waits for what runs beside the requests.
func (s *Server) wait() {
	s.signs.wait()
	s.router.wait()
}

// Serve answers requests that come to ln until Shutdown or Close, and then
// returns nil. With TLS configured it speaks HTTPS. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	var err error
	if s.tls != nil {
		err = s.http.ServeTLS(ln, "", "")
	} else {
		err = s.http.Serve(ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("rest: serve: %w", err)
}

// Shutdown takes no new requests, ends the event streams and waits for the
// requests under way until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopStreams()
	defer s.wait()
	return s.http.Shutdown(ctx)
}

// Close drops all connections.
func (s *Server) Close() error {
	s.stopStreams()
	defer s.wait()
	return s.http.Close()
}

// pagesRoute stands for what GuardReads serves.
var pagesRoute = &route{name: "pages"}

// GuardReads serves next to those who may read from this server: its networks,
// tokens and client certificates decide. It is for what the same node shows on
// another port.
func (s *Server) GuardReads(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{s: s, w: w, r: r, route: pagesRoute}
		if f := s.auth.check(x); f != nil {
			f.outcome = ""
			x.fail(f)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP answers one request. It may be used with any http.Server; the
// limits on connections and the timeouts belong to Serve. Close ends what it has
// started.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{s: s, w: w, r: r}
	x.route, x.arg = s.match(r.URL.EscapedPath())
	begin := s.metrics.begin()
	defer func() {
		if p := recover(); p != nil {
			x.panicked(p)
		}
		s.metrics.end(x, begin)
		x.drain()
	}()
	h := w.Header()
	h["X-Ha-Dispatcher-Node"] = s.node
	if leader := s.backend.Leader(); leader != "" {
		h["X-Ha-Dispatcher-Leader"] = []string{leader}
	}
	if f := s.auth.check(x); f != nil {
		x.fail(f)
		return
	}
	// A page that somebody's browser shows must not submit drivers through it;
	// Spark's protocol takes any content type, so browsers would let it pass.
	if err := s.origins.Check(r); err != nil && x.access() == accessWrite {
		x.fail(&failure{
			status: http.StatusForbidden, outcome: notExecuted,
			message: "Requests from pages of other origins are not allowed.",
		})
		return
	}
	x.dispatch()
}
