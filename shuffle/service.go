package shuffle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registry"
)

// Service is an external shuffle service. It listens from New on and serves
// from Serve on. Its methods are safe for concurrent use.
type Service struct {
	cfg      Config
	log      *slog.Logger
	registry *registry.Registry
	store    *blocks.Store
	metrics  *metrics
	access   *accessLog
	listener net.Listener
	web      net.Listener // nil: no HTTP
	frames   budget       // for unfinished requests: what hostile clients hoard first
	streams  budget       // for open streams; its own, so that hoarders of the other cannot stop honest clients

	streamIDs atomic.Int64
	inFlight  atomic.Int64
	removals  chan struct{} // wakes the goroutine that deletes directories

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	serves sync.WaitGroup
}

// registrationsFile is the database in the data directory.
const registrationsFile = "shuffle-registrations.db"

// New opens the registrations and starts to listen, so that clients that
// connect before Serve is called wait instead of being refused. Errors wrap
// [ErrConfig], [registry.ErrLocked], [registry.ErrVersion] or come from the network.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: cfg.Log, conns: map[net.Conn]struct{}{}, removals: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.frames.limit, s.streams.limit = cfg.MemoryBytes/2, cfg.MemoryBytes/2
	// Ids that differ from those of the process before make a client that
	// fetches from a stream of that process fail instead of getting another block.
	s.streamIDs.Store(rand.Int64N(1<<31-1) * 1000)
	s.store = blocks.NewStore(blocks.Config{IndexCacheBytes: cfg.IndexCacheBytes, OpenFiles: cfg.OpenFiles})
	if err := s.openRegistry(); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s)
	s.access = newAccessLog(s.log, cfg.AccessLogEvery)
	if err := s.listen(); err != nil {
		s.registry.Close()
		return nil, err
	}
	return s, nil
}

func (s *Service) openRegistry() (err error) {
	path := ""
	if s.cfg.DataDir != "" {
		path = filepath.Join(s.cfg.DataDir, registrationsFile)
	}
	s.registry, err = registry.Open(registry.Config{Path: path, OrphanTimeout: s.cfg.OrphanTimeout,
		OrphanUnregistered: s.cfg.OrphanUnregistered, AllowedDirs: s.cfg.AllowedDirs, MaxBytes: s.cfg.RegistrationBytes})
	if err != nil {
		return err
	}
	if aside := s.registry.SetAside(); aside != "" {
		s.log.Error("the registrations could not be read and were set aside; running executors are unknown until they restart", "file", aside)
	}
	return nil
}

func (s *Service) listen() (err error) {
	if s.listener, err = net.Listen("tcp", s.cfg.Addr); err != nil {
		return fmt.Errorf("shuffle service: %w", err)
	}
	if s.cfg.HTTPAddr == "" {
		return nil
	}
	if s.web, err = net.Listen("tcp", s.cfg.HTTPAddr); err != nil {
		s.listener.Close()
		return fmt.Errorf("shuffle service, health and metrics: %w", err)
	}
	return nil
}

// Addr is the address that Spark's clients connect to.
func (s *Service) Addr() net.Addr { return s.listener.Addr() }

// HTTPAddr is the address of /healthz and /metrics, nil if there is none.
func (s *Service) HTTPAddr() net.Addr {
	if s.web == nil {
		return nil
	}
	return s.web.Addr()
}

// Serve serves until ctx ends or Close is called, which gives nil, or until
// the listener fails. All connections and goroutines are gone when it returns.
func (s *Service) Serve(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.serves.Add(1)
	s.mu.Unlock()
	defer s.serves.Done()
	apps, executors := s.registry.Counts()
	s.log.Info("Starting shuffle service", "addr", s.Addr().String(), "auth_enabled", s.cfg.Auth != nil,
		"data_dir", s.cfg.DataDir, "restored_apps", apps, "restored_executors", executors)
	if tcp, ok := s.Addr().(*net.TCPAddr); ok && s.cfg.Auth == nil && !tcp.IP.IsLoopback() && len(s.cfg.AllowedDirs) == 0 {
		s.log.Warn("whoever reaches this port can read shuffle files and have directories deleted that look like a block manager's: " +
			"set spark.authenticate, or at least spark.shuffle.service.allowedDirs")
	}
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, s.stop)()
	g.Go(func() error { return s.accept(ctx) })
	g.Go(func() error { s.clean(ctx); return nil })
	g.Go(func() error { s.deleteDirs(ctx); return nil })
	if s.web != nil {
		g.Go(func() error { return s.serveHTTP(ctx) })
	}
	err := g.Wait()
	s.stop()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// stop ends everything that Serve waits for.
func (s *Service) stop() {
	s.listener.Close()
	if s.web != nil {
		s.web.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for nc := range s.conns {
		nc.Close()
	}
}

// Close stops serving, waits for Serve and closes the database. Registrations
// stay; clients see their connections break and come back after a restart.
func (s *Service) Close() error {
	s.stop()
	s.serves.Wait()
	s.store.Close()
	return s.registry.Close()
}

func (s *Service) now() time.Time { return time.Now() }
func (s *Service) leave()         { s.inFlight.Add(-1) }

// acceptPause is how long to wait when the process is out of descriptors.
const acceptPause = 50 * time.Millisecond

func (s *Service) accept(ctx context.Context) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		nc, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if nc != nil {
				nc.Close()
			}
			return net.ErrClosed // ends the other goroutines too
		case err != nil:
			s.log.Error("cannot accept a connection", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if !s.track(nc) {
			s.metrics.refused.WithLabelValues("connections").Inc()
			nc.Close()
			continue
		}
		if err := s.tune(nc); err != nil {
			s.log.Debug("socket buffers cannot be set", "remote", nc.RemoteAddr().String(), "err", err)
		}
		conns.Go(func() {
			defer s.untrack(nc)
			c := s.newConn(nc)
			if err := c.serve(); err != nil {
				s.ended(c, err)
			}
		})
	}
}

func (s *Service) tune(nc net.Conn) error {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	var in, out error
	if s.cfg.ReceiveBuffer > 0 {
		in = tcp.SetReadBuffer(s.cfg.ReceiveBuffer)
	}
	if s.cfg.SendBuffer > 0 {
		out = tcp.SetWriteBuffer(s.cfg.SendBuffer)
	}
	return errors.Join(in, out)
}

func (s *Service) track(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.cfg.MaxConnections {
		return false
	}
	s.conns[nc] = struct{}{}
	return true
}

func (s *Service) untrack(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
	nc.Close()
}

func (s *Service) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Ready reports whether the service accepts connections.
func (s *Service) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed
}
