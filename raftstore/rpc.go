package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore/internal/wire"
)

// Calls between stores: net/rpc with gob, many at a time on one connection per
// pair of nodes. Every call has the same request and reply; the reply carries
// a code, so that an error is the same one on both sides.

type (
	request = wire.Request
	reply   = wire.Reply
)

// Codes are part of the wire protocol; never renumber.
const (
	codeOK = iota
	codeFailed
	codeUnknown
	codeNotLeader
	codeNoLeader
	codeClosed
	codeTooLarge
	codeTimersDiffer
	codeWrongNode
	codeDiskStalled
	codeUnknownMember
	codeDeadline
)

var codeErrors = map[int]error{
	codeNoLeader: ErrNoLeader, codeClosed: ErrClosed, codeTooLarge: ErrTooLarge,
	codeTimersDiffer: ErrTimersDiffer, codeWrongNode: ErrWrongNode, codeDiskStalled: ErrDiskStalled,
	codeUnknownMember: ErrUnknownMember, codeDeadline: context.DeadlineExceeded,
}

func fail(r *reply, err error) {
	var nl *NotLeaderError
	r.Detail = err.Error()
	switch {
	case errors.Is(err, ErrOutcomeUnknown):
		r.Code = codeUnknown
		return
	case errors.As(err, &nl):
		r.Code, r.LeaderID, r.LeaderAddr = codeNotLeader, nl.LeaderID, nl.LeaderAddr
		return
	}
	r.Code = codeFailed
	for c, e := range codeErrors {
		if errors.Is(err, e) {
			r.Code = c
		}
	}
}

func replyError(r *reply) error {
	switch r.Code {
	case codeOK:
		return nil
	case codeUnknown:
		return unknown(errors.New(r.Detail))
	case codeNotLeader:
		return &NotLeaderError{r.LeaderID, r.LeaderAddr}
	}
	if e := codeErrors[r.Code]; e != nil {
		return &remoteError{r.Detail, e}
	}
	return errors.New(r.Detail)
}

// remoteError keeps the text of the other node and the identity of the error.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// service is what peers may call. None of its methods forwards.
type service struct{ s *Store }

func (v *service) Propose(q *request, r *reply) error {
	return v.run(q, r, func(ctx context.Context) (err error) {
		if len(q.Data) > v.s.cfg.MaxCommandBytes {
			return ErrTooLarge
		}
		if !v.s.IsLeader() {
			return v.s.notLeader()
		}
		r.Data, err = v.s.proposeLocal(ctx, q.Data)
		return err
	})
}

func (v *service) ReadIndex(q *request, r *reply) error {
	return v.run(q, r, func(ctx context.Context) (err error) {
		if !v.s.IsLeader() {
			return v.s.notLeader()
		}
		r.Index, err = v.s.reads.join(ctx, v.s, true)
		return err
	})
}

func (v *service) Join(q *request, r *reply) error {
	return v.run(q, r, func(ctx context.Context) error { return v.s.joinLocal(ctx, Peer{q.PeerID, q.PeerAddr}, q.Voter) })
}

func (v *service) Remove(q *request, r *reply) error {
	return v.run(q, r, func(ctx context.Context) error { return v.s.removeLocal(ctx, q.PeerID) })
}

func (v *service) Transfer(q *request, r *reply) error {
	return v.run(q, r, func(ctx context.Context) error { return v.s.transferLocal(ctx, q.PeerID) })
}

// Position tells how long this node's log is; see detector.go.
func (v *service) Position(_ *request, r *reply) error {
	p := v.s.position()
	r.Index, r.Term = p.index, p.term
	return nil
}

// run gives a call its context and puts its error into the reply.
func (v *service) run(q *request, r *reply, f func(context.Context) error) error {
	if !v.s.gate.enter() {
		fail(r, ErrClosed)
		return nil
	}
	defer v.s.gate.leave()
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if q.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, q.Timeout)
	}
	defer cancel()
	if err := f(ctx); err != nil {
		fail(r, err)
	}
	return nil
}

func (s *Store) serveRPC(conn net.Conn, _ string) {
	srv := rpc.NewServer()
	if err := srv.RegisterName("Store", &service{s}); err != nil {
		panic(err) // a method of service has the wrong shape
	}
	srv.ServeConn(conn)
}

// peerClients keeps one connection to each node we call.
type peerClients struct {
	s    *Store
	mu   sync.Mutex
	byID map[string]*peerClient
}

type peerClient struct {
	addr   string
	client *rpc.Client
	closed bool // by us, so calls under way fail like calls never sent
}

func newPeerClients(s *Store) *peerClients {
	return &peerClients{s: s, byID: map[string]*peerClient{}}
}

// call asks a peer. An error after the request may have left is
// ErrOutcomeUnknown; before, ErrNoLeader.
func (c *peerClients) call(ctx context.Context, p Peer, method string, q request) (reply, error) {
	if d, ok := ctx.Deadline(); ok {
		q.Timeout = max(time.Until(d), time.Millisecond)
	}
	toLeader := method != "Position"
	for range 2 {
		pc, err := c.get(ctx, p, toLeader)
		if err != nil {
			return reply{}, fmt.Errorf("%w: cannot reach %s at %s: %w", ErrNoLeader, p.ID, p.Addr, err)
		}
		r, err := c.await(ctx, p, toLeader, pc.client.Go("Store."+method, &q, &reply{}, make(chan *rpc.Call, 1)))
		if errors.Is(err, rpc.ErrShutdown) {
			c.drop(p.ID, pc)
			if !pc.isClosed(c) {
				continue // the connection was found dead before anything was sent
			}
			err = unknown(ErrClosed)
		}
		return r, err
	}
	return reply{}, fmt.Errorf("%w: connection to %s at %s keeps breaking", ErrNoLeader, p.ID, p.Addr)
}

// await waits for an answer. If it was to come from the leader, it also gives
// up soon after another node has become leader: one that is cut off would
// never answer.
func (c *peerClients) await(ctx context.Context, p Peer, toLeader bool, call *rpc.Call) (reply, error) {
	var deposed <-chan time.Time
	for {
		_, _, changed := c.s.leadership.watch()
		if toLeader && deposed == nil && c.s.deposed(p.ID) {
			t := time.NewTimer(c.s.cfg.Profile.Lease / 2)
			defer t.Stop()
			deposed = t.C
		}
		select {
		case done := <-call.Done:
			return result(done)
		case <-ctx.Done():
			return reply{}, unknown(ctx.Err())
		case <-deposed:
			return reply{}, unknown(fmt.Errorf("%s is no longer the leader and does not answer", p.ID))
		case <-c.s.closing:
			return reply{}, unknown(ErrClosed)
		case <-changed:
		}
	}
}

func result(done *rpc.Call) (reply, error) {
	if errors.Is(done.Error, rpc.ErrShutdown) {
		return reply{}, rpc.ErrShutdown
	}
	if done.Error != nil {
		return reply{}, unknown(done.Error)
	}
	r := *done.Reply.(*reply)
	return r, replyError(&r)
}

// deposed says whether another node than id is known to lead.
func (s *Store) deposed(id string) bool {
	m, _, ok := s.Leader()
	return ok && m.ID != id
}

// untilDeposed ends with ctx, or as soon as another node than id leads.
func (s *Store) untilDeposed(ctx context.Context, id string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.bg.Go(func() {
		for {
			_, _, changed := s.leadership.watch()
			if s.deposed(id) || s.waitChange(ctx, changed) != nil {
				cancel()
				return
			}
		}
	})
	return ctx, cancel
}

// get returns the connection to p, a new one if need be.
func (c *peerClients) get(ctx context.Context, p Peer, toLeader bool) (*peerClient, error) {
	c.mu.Lock()
	pc := c.byID[p.ID]
	c.mu.Unlock()
	if pc != nil && pc.addr == p.Addr {
		return pc, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if toLeader {
		ctx, cancel = c.s.untilDeposed(ctx, p.ID)
		defer cancel()
	}
	conn, err := c.s.mux.dial(ctx, kindRPC, p.Addr, p.ID)
	if err != nil {
		return nil, err
	}
	fresh := &peerClient{addr: p.Addr, client: rpc.NewClient(conn)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.byID[p.ID]; now != nil && now != pc && now.addr == p.Addr {
		fresh.client.Close() // somebody else was faster
		return now, nil
	}
	if pc != nil {
		pc.closed = true
		pc.client.Close()
	}
	if c.byID == nil {
		fresh.client.Close()
		return nil, io.ErrClosedPipe
	}
	c.byID[p.ID] = fresh
	return fresh, nil
}

func (c *peerClients) drop(id string, pc *peerClient) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] == pc {
		delete(c.byID, id)
	}
}

func (p *peerClient) isClosed(c *peerClients) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.closed
}

func (c *peerClients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pc := range c.byID {
		pc.closed = true
		pc.client.Close()
	}
	c.byID = nil
}
