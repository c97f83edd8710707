package backend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend/internal/propose"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/fsm/fsmpb"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// application is what the backends of both modes are: one application on one node.
type application struct {
	cfg      Config
	settings *Settings
	m        *metrics
	created  time.Time
	newDuty  func(*session) duty // makes the part of a session that belongs to the mode

	mu       sync.Mutex
	started  bool
	stopping bool
	lead     LeaderStatus
	held     map[Reason]uint64
	problem  error
	mesos    Mesos  // of the subscription under way
	leads    uint64 // how often this node has begun to lead

	poke chan struct{} // wakes the session

	cancel context.CancelFunc
	work   sync.WaitGroup
}

func (c *application) init(cfg Config, settings *Settings, m *metrics) {
	c.cfg, c.settings, c.m, c.created, c.held = cfg, settings, m, cfg.Clock(), make(map[Reason]uint64)
	c.poke = make(chan struct{}, 1)
}

// Settings of the application. They must not be changed.
func (c *application) Settings() *Settings { return c.settings }

func (c *application) start(ctx context.Context, follow func(context.Context), register *fsmpb.RegisterApp) error {
	c.mu.Lock()
	if c.started {
		c.mu.Unlock()
		return errors.New("backend: Start was called before")
	}
	c.started = true
	run, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.mu.Unlock()

	c.work.Go(func() { follow(run) })
	if _, err := c.resolve(ctx, fsm.NumberRegisterApp, register); err != nil {
		return err
	}
	c.work.Go(func() {
		if err := c.cfg.Log.RunWhileLeader(run, &leader{application: c}); err != nil && !errors.Is(err, context.Canceled) {
			c.cfg.Logger.Error("this node leads no more", "error", err)
		}
	})
	return c.await(ctx, func(a *fsm.App) (bool, error) {
		switch a.Framework.State {
		case fsm.FrameworkSubscribed, fsm.FrameworkDisconnected:
			return true, nil
		case fsm.FrameworkRemoved, fsm.FrameworkTornDown:
			return false, ErrFrameworkRemoved
		}
		if a.Stopped {
			return false, ErrStopped
		}
		return false, nil
	})
}

// Lead acts for an application that is registered already, for as long as ctx
// lasts or until the application is over. It is for whoever runs many applications
// on one log, and must run on the leader alone, once at a time; Start does all of
// it for one.
func (c *application) Lead(ctx context.Context) {
	c.mu.Lock()
	c.held, c.problem = make(map[Reason]uint64), nil
	c.leads++
	c.mu.Unlock()
	c.setLead(LeaderStatus{Leading: true})
	defer c.setLead(LeaderStatus{})
	(&leader{application: c, ends: true}).run(ctx)
}

// wake lets the session of a leader do a step.
func (c *application) wake() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// leading counts the times that this node has begun to lead.
func (c *application) leading() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads
}

// await waits until the application on this node is as wanted.
func (c *application) await(ctx context.Context, ok func(*fsm.App) (bool, error)) error {
	feed := c.cfg.Feed
	for {
		_, _, wake := feed.Since(feed.Next(), 0)
		if a, found := c.app(); found {
			if done, err := ok(a); done || err != nil {
				return err
			}
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), c.Status().Err)
		}
	}
}

func (c *application) app() (*fsm.App, bool) { return c.cfg.State.App(c.cfg.AppID) }

func (c *application) registered() bool {
	_, found := c.app()
	return found
}

// Stop ends the application for good, on all nodes: its executors are killed, and
// once they are gone, or after spark.mesos.coarse.shutdownTimeout, its framework
// is torn down, which the leader does, whoever that is by then. Stop returns when
// that is done, and Close is done too. Later calls are ignored; after an error it may
// be called again.
func (c *application) Stop(ctx context.Context) error { return c.stop(ctx, "Stop was called") }

func (c *application) stop(ctx context.Context, reason string) error {
	c.mu.Lock()
	again := c.stopping
	c.stopping = true
	c.mu.Unlock()
	if again {
		c.cfg.Logger.Warn("Stop called multiple times, ignoring")
		return nil
	}
	_, err := c.request(ctx, fsm.NumberStopApp, &fsmpb.StopApp{AppId: c.cfg.AppID, Reason: reason})
	if err == nil {
		err = c.await(ctx, func(a *fsm.App) (bool, error) { return a.Over(), nil })
	}
	if err != nil {
		c.mu.Lock()
		c.stopping = false
		c.mu.Unlock()
		return err
	}
	c.Close()
	return nil
}

// Close ends what runs on this node and leaves the application to the others, or
// to a later Start: its executors stay. It may be called more than once.
func (c *application) Close() {
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	c.work.Wait()
}

// ApplicationID is the framework id. Before the application is registered it is a
// stand-in, with a warning in the log, as in Spark.
func (c *application) ApplicationID() string {
	if a, found := c.app(); found && a.Framework.ID != "" {
		return a.Framework.ID
	}
	c.cfg.Logger.Warn("Application ID is not initialized yet.")
	return fmt.Sprintf("spark-application-%d", c.created.UnixMilli())
}

// ofLog tells whether an error says that the log did not take a command, or not
// surely.
func ofLog(err error) bool {
	return propose.Transient(err) || errors.Is(err, raftstore.ErrOutcomeUnknown)
}

// framework is what to subscribe as.
func (c *application) framework(id string) mesosutil.DriverFramework {
	f := c.settings.Framework
	f.ID = id
	return f
}
