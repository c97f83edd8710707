package backend

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// ShuffleRegistrar registers an application with the external shuffle service of
// an agent, so that the service keeps the application's files for as long as
// heartbeats come.
type ShuffleRegistrar interface {
	// Register registers the application with the service at addr and then sends
	// a heartbeat each interval, until ctx ends (then it returns ctx.Err()) or the
	// service loses the application (any other error). It is called again after an
	// error. timeout is how long the service is to wait for a heartbeat.
	Register(ctx context.Context, addr, appID string, timeout, interval time.Duration) error
}

// shuffles keeps the application registered with the service of each agent that
// has an executor. Spark does so in the callback of the status, once, and counts
// the agent as registered before it knows; here it is done beside the session and
// tried until it holds.
type shuffles struct {
	c      *application
	ctx    context.Context
	cancel context.CancelFunc
	hosts  map[string]bool // by agent id
	work   sync.WaitGroup
}

func newShuffles(c *application) *shuffles {
	s := &shuffles{c: c, hosts: make(map[string]bool)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// running notes an executor that runs.
func (s *shuffles) running(e *fsm.Executor) {
	set := s.c.settings
	if !set.ShuffleService || s.c.cfg.Shuffle == nil || s.hosts[e.AgentID] {
		return
	}
	s.hosts[e.AgentID] = true
	addr := net.JoinHostPort(e.Host, strconv.FormatInt(set.ShufflePort, 10))
	appID := e.FrameworkID
	s.work.Go(func() {
		for wait := 100 * time.Millisecond; s.ctx.Err() == nil; wait = min(2*wait, 30*time.Second) {
			err := s.c.cfg.Shuffle.Register(s.ctx, addr, appID, set.ShuffleTimeout, set.ShuffleHeartbeat)
			if s.ctx.Err() == nil {
				s.c.cfg.Logger.Warn("the shuffle service has not kept the application; registering again", "address", addr, "error", err)
			}
			sleep(s.ctx, wait)
		}
	})
}

func (s *shuffles) close() {
	s.cancel()
	s.work.Wait()
}
