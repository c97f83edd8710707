package shuffle

import (
	"errors"
	"fmt"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/blocks"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registry"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

func unsupported(text string) error {
	return errors.New("java.lang.UnsupportedOperationException: " + text)
}

// fail answers an RPC with an error text. Spark sends a Java stack trace there;
// we send the class that Spark would throw and the message, and no paths.
func (c *conn) fail(requestID int64, err error) error {
	return c.out.frame(wire.Frame{Type: wire.RPCFailure, RequestID: requestID, Error: err.Error()})
}

// rpc answers a request with a response or a failure, and keeps the connection
// either way: the framing is intact whatever the body was.
func (c *conn) rpc(f wire.Frame) error {
	start := time.Now()
	m, err := wire.DecodeMessage(f.Body)
	if err != nil {
		err = fmt.Errorf("java.lang.IllegalArgumentException: %w", err)
		c.s.failed(c, "undecodable", err)
		return c.fail(f.RequestID, err)
	}
	reply, err := c.receive(m)
	kind := m.Tag().String()
	c.s.metrics.rpc(kind, time.Since(start), err)
	c.s.access.rpc(c, m, time.Since(start), err)
	if err != nil {
		c.s.failed(c, kind, err)
		return c.fail(f.RequestID, err)
	}
	var body []byte
	if reply != nil {
		body = wire.AppendMessage(nil, reply)
	}
	return c.out.frame(wire.Frame{Type: wire.RPCResponse, RequestID: f.RequestID, Body: body})
}

// oneWay handles a message that nobody waits for; what fails is logged only.
func (c *conn) oneWay(body []byte) {
	m, err := wire.DecodeMessage(body)
	kind := "undecodable"
	if err == nil {
		kind = m.Tag().String()
		_, err = c.receive(m)
	}
	if err != nil {
		c.s.failed(c, kind, err)
	}
}

// receive does what a message asks for. A nil reply is an empty response.
func (c *conn) receive(m wire.Message) (wire.Message, error) {
	switch m := m.(type) {
	case wire.OpenBlocks:
		return c.openBlocks(m)
	case wire.FetchShuffleBlocks:
		return c.fetchShuffleBlocks(m)
	case wire.RegisterExecutor:
		return nil, c.registerExecutor(m)
	case wire.RegisterDriver:
		return nil, c.registerDriver(m)
	case wire.Heartbeat:
		return nil, c.heartbeat(m)
	case wire.RemoveBlocks:
		return c.removeBlocks(m)
	case wire.GetLocalDirs:
		return c.localDirs(m)
	case wire.DiagnoseCorruption:
		return c.diagnose(m)
	}
	switch m.Tag() {
	case wire.TagFinalizeShuffleMerge, wire.TagFetchShuffleBlockChunks, wire.TagPushBlockStream:
		return nil, unsupported("Cannot handle shuffle block merge")
	case wire.TagRemoveShuffleMerge:
		return nil, unsupported("Cannot handle merged shuffle remove")
	}
	return nil, unsupported("Unexpected message: " + m.Tag().String())
}

// authorize holds an authenticated connection to its own application. Unlike
// Spark's service we ask this of drivers' messages too: whoever could register
// another application's driver could let it expire.
func (c *conn) authorize(app string) error {
	if c.appID != "" && c.appID != app {
		c.s.metrics.refused.WithLabelValues("not_authorized").Inc()
		return fmt.Errorf("java.lang.SecurityException: Client for %s not authorized for application %.100s.", c.appID, app)
	}
	return nil
}

func (c *conn) openBlocks(m wire.OpenBlocks) (wire.Message, error) {
	if err := c.authorize(m.AppID); err != nil {
		return nil, err
	}
	s, err := newNamedStream(m)
	if err != nil {
		return nil, err
	}
	return c.opened(s)
}

func (c *conn) fetchShuffleBlocks(m wire.FetchShuffleBlocks) (wire.Message, error) {
	if err := c.authorize(m.AppID); err != nil {
		return nil, err
	}
	s, err := newShuffleStream(m)
	if err != nil {
		return nil, err
	}
	return c.opened(s)
}

func (c *conn) opened(s *stream) (wire.Message, error) {
	handle, err := c.open(s)
	if err != nil {
		return nil, err
	}
	return handle, nil
}

func (c *conn) registerExecutor(m wire.RegisterExecutor) error {
	if err := c.authorize(m.AppID); err != nil {
		return err
	}
	replaced, err := c.s.registry.RegisterExecutor(m.AppID, m.ExecID, m.LocalDirs, int(m.SubDirs), m.ShuffleManager)
	if err != nil {
		return fmt.Errorf("java.lang.RuntimeException: %w", err)
	}
	if replaced != nil {
		c.s.store.Forget(replaced.Location)
	}
	c.s.log.Info("Registered executor", "app", m.AppID, "executor", m.ExecID, "dirs", m.LocalDirs, "sub_dirs", m.SubDirs,
		"shuffle_manager", m.ShuffleManager, "remote", c.remote)
	return nil
}

func (c *conn) registerDriver(m wire.RegisterDriver) error {
	if err := c.authorize(m.AppID); err != nil {
		return err
	}
	known, err := c.s.registry.RegisterDriver(m.AppID, m.HeartbeatTimeoutMs)
	if err != nil {
		return fmt.Errorf("java.lang.RuntimeException: %w", err)
	}
	c.s.log.Info("Received registration request from app", "app", m.AppID, "remote", c.remote,
		"heartbeat_timeout_ms", m.HeartbeatTimeoutMs, "already_registered", known)
	return nil
}

func (c *conn) heartbeat(m wire.Heartbeat) error {
	if err := c.authorize(m.AppID); err != nil {
		return err
	}
	if !c.s.registry.Heartbeat(m.AppID) {
		return fmt.Errorf("Received ShuffleServiceHeartbeat from an unknown app (remote address %s, appId '%.100s').", c.remote, m.AppID)
	}
	c.s.metrics.heartbeats.Inc()
	return nil
}

func (c *conn) executor(app, exec string) (*registry.Executor, error) {
	if err := c.authorize(app); err != nil {
		return nil, err
	}
	e, ok := c.s.registry.Executor(app, exec)
	if !ok {
		return nil, notRegistered(app, exec)
	}
	e.Touch(c.s.now())
	return e, nil
}

func (c *conn) removeBlocks(m wire.RemoveBlocks) (wire.Message, error) {
	e, err := c.executor(m.AppID, m.ExecID)
	if err != nil {
		return nil, err
	}
	n, err := blocks.Remove(e.Location, m.BlockIDs)
	if err != nil {
		c.s.log.Warn("Failed to delete blocks", "app", m.AppID, "executor", m.ExecID, "removed", n, "of", len(m.BlockIDs), "err", err)
	}
	return wire.BlocksRemoved{N: int32(n)}, nil
}

func (c *conn) localDirs(m wire.GetLocalDirs) (wire.Message, error) {
	if err := c.authorize(m.AppID); err != nil {
		return nil, err
	}
	reply, size := wire.LocalDirs{ExecIDs: m.ExecIDs}, int64(0)
	for _, id := range m.ExecIDs {
		e, err := c.executor(m.AppID, id)
		if err != nil {
			return nil, err
		}
		for _, d := range e.Location.Dirs {
			size += int64(len(d)) + 4
		}
		if size > c.s.cfg.MaxRequestBytes { // one executor may be asked for a million times
			return nil, fmt.Errorf("java.lang.IllegalArgumentException: the answer would exceed %d bytes; ask for fewer executors", c.s.cfg.MaxRequestBytes)
		}
		reply.Dirs = append(reply.Dirs, e.Location.Dirs)
	}
	return reply, nil
}

func (c *conn) diagnose(m wire.DiagnoseCorruption) (wire.Message, error) {
	e, err := c.executor(m.AppID, m.ExecID)
	if err != nil {
		return nil, err
	}
	id := blocks.ShuffleID{Shuffle: m.ShuffleID, Map: m.MapID, Reduce: m.ReduceID}
	verdict, err := c.s.store.Diagnose(e.Location, id, m.Algorithm, m.Checksum)
	if err != nil {
		return nil, fmt.Errorf("java.lang.RuntimeException: %w", err)
	}
	c.s.log.Warn("corrupt shuffle block diagnosed", "app", m.AppID, "executor", m.ExecID, "shuffle", m.ShuffleID,
		"map", m.MapID, "reduce", m.ReduceID, "algorithm", m.Algorithm, "cause", verdict)
	return wire.CorruptionCause{Cause: wire.Cause(verdict)}, nil
}
