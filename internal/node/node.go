package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

const commandVersion = fsm.CommandVersion

// Node is one running node.
type Node struct {
	cfg     Config
	state   *fsm.State
	store   *raftstore.Store
	service *dispatcher.Service
	leader  *dispatcher.Leader
	host    *host.Host // nil without Config.Backends

	rest    *rest.Server
	restLn  net.Listener
	web     *http.Server
	webLn   net.Listener
	cancel  context.CancelFunc
	workers *errgroup.Group
	closing sync.Once
	closed  chan struct{}
}

// ErrPortInUse says that another program listens on an address of this node.
var ErrPortInUse = errors.New("port in use")

// Start starts a node. It returns when the node serves; whether there is a
// leader, and whether Mesos answers, is told by Ready.
func Start(ctx context.Context, cfg Config) (_ *Node, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, state: fsm.New(), closed: make(chan struct{})}
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()
	dc, err := cfg.dispatcherConfig()
	if err != nil {
		return nil, err
	}
	webTLS, err := cfg.WebTLS.Load(cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	if n.restLn, err = listen(cfg.RESTAddr); err != nil {
		return nil, err
	}
	undo = append(undo, func() { n.restLn.Close() })
	if n.webLn, err = listen(cfg.WebUIAddr); err != nil {
		return nil, err
	}
	undo = append(undo, func() { n.webLn.Close() })
	if dc.NewMesos == nil {
		dc.NewMesos = cfg.mesosFactory(n.WebURL())
		// What is wrong with it is to show now, not when this node comes to lead.
		if _, err := dc.NewMesos("", nil); err != nil {
			return nil, fmt.Errorf("mesos: %w", err)
		}
	}

	rc := cfg.raftConfig()
	if cfg.Tune != nil {
		cfg.Tune(&dc, &rc)
	}
	if n.store, err = raftstore.Open(ctx, rc, dispatcher.Machine{State: n.state}); err != nil {
		return nil, err
	}
	undo = append(undo, n.store.Crash)
	n.service = dispatcher.NewService(dc, n.store, n.state)
	if n.leader, err = dispatcher.NewLeader(n.service); err != nil {
		return nil, err
	}
	if cfg.Backends {
		if n.host, err = n.newHost(); err != nil {
			return nil, err
		}
		cfg.REST.Applications = &applications{n}
	}
	if n.rest, err = rest.New(cfg.REST, restDispatcher{n.service, n.store}, cfg.Logger, cfg.Registry); err != nil {
		return nil, err
	}
	pages, err := n.webHandler()
	if err != nil {
		return nil, err
	}
	n.web = &http.Server{Handler: pages, TLSConfig: webTLS, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	n.run()
	return n, nil
}

func listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s: stop the other program or choose another port", ErrPortInUse, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

func (n *Node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.workers = new(errgroup.Group)
	n.workers.Go(func() error {
		err := n.store.RunWhileLeader(ctx, n.leader)
		if ctx.Err() == nil {
			n.cfg.Logger.Error("this node can lead no longer", "error", err)
		}
		return nil
	})
	if n.host != nil {
		n.workers.Go(func() error {
			if err := n.host.Run(ctx); ctx.Err() == nil {
				n.cfg.Logger.Error("this node can host applications no longer", "error", err)
			}
			return nil
		})
	}
	n.workers.Go(func() error { return n.announce(ctx) })
	n.workers.Go(func() error { return ignoreClosed(n.rest.Serve(n.restLn)) })
	n.workers.Go(func() error { return ignoreClosed(n.serveWeb()) })
}

func (n *Node) serveWeb() error {
	if n.web.TLSConfig != nil {
		return n.web.ServeTLS(n.webLn, "", "")
	}
	return n.web.Serve(n.webLn)
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// announce tells the cluster how this node is reached, and again when a state
// was restored that does not know it, such as that of another cluster.
func (n *Node) announce(ctx context.Context) error {
	self := &fsm.Node{
		Id: n.cfg.ID, RaftAddr: n.cfg.RaftAddr, RestUrl: n.RESTURL(), WebuiUrl: n.WebURL(),
		Version: n.cfg.Version, CommandVersion: commandVersion,
	}
	if n.cfg.RaftAdvertise != "" {
		self.RaftAddr = n.cfg.RaftAdvertise
	}
	for ctx.Err() == nil {
		restarted := n.state.Feed().Restarted()
		err := n.service.Announce(ctx, self)
		if err == nil {
			select {
			case <-restarted:
			case <-ctx.Done():
			}
			continue
		}
		if ctx.Err() == nil {
			n.cfg.Logger.Debug("not announced yet", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

// RESTURL is where clients reach this node.
func (n *Node) RESTURL() string { return n.publicURL(n.cfg.REST.TLS, n.restLn) }

// WebURL is where the pages of this node are.
func (n *Node) WebURL() string { return n.publicURL(n.cfg.WebTLS, n.webLn) }

func (n *Node) publicURL(secure rest.TLSConfig, ln net.Listener) string {
	scheme := "http"
	if secure.CertFile != "" {
		scheme = "https"
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return ""
	}
	return scheme + "://" + net.JoinHostPort(n.cfg.PublicHost, port)
}

// ID of the node.
func (n *Node) ID() string { return n.cfg.ID }

// Store is the replicated log.
func (n *Node) Store() *raftstore.Store { return n.store }

// State is the replicated state.
func (n *Node) State() *fsm.State { return n.state }

// Service is what the node offers.
func (n *Node) Service() *dispatcher.Service { return n.service }

// LeaderStatus is how the node gets on with Mesos while it leads.
func (n *Node) LeaderStatus() dispatcher.LeaderStatus { return n.leader.Status() }

// Done is closed when the node has stopped.
func (n *Node) Done() <-chan struct{} { return n.closed }

// Close stops the node in good order. ctx bounds the wait for clients.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	n.closing.Do(func() {
		defer close(n.closed)
		ctx, cancel := context.WithTimeout(ctx, n.cfg.StopWait)
		defer cancel()
		if n.store.IsLeader() {
			if err := n.store.Transfer(ctx, ""); err != nil {
				n.cfg.Logger.Info("leadership was not handed over", "error", err)
			}
		}
		errs = append(errs, n.rest.Shutdown(ctx), n.web.Shutdown(ctx))
		n.rest.Close() // what did not end in time
		n.web.Close()
		n.cancel()
		errs = append(errs, n.store.Close(ctx))
		errs = append(errs, n.workers.Wait())
	})
	return errors.Join(errs...)
}

// Crash stops the node as SIGKILL would: nothing is handed over, finished or
// flushed. It is for tests.
func (n *Node) Crash() {
	n.closing.Do(func() {
		defer close(n.closed)
		n.store.Crash()
		n.rest.Close()
		n.web.Close()
		n.cancel()
		_ = n.workers.Wait() // the errors of a crash are of no interest
	})
}
