package raftstore

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Every node holds one idle connection to every other member. It tells who is
// there (hello), that it is well (an echo now and then), and above all when
// its process dies: the kernel closes the connection at once.

// hello is what a node says about itself when such a connection opens.
type hello struct {
	ID          string  `json:"id"`
	Incarnation string  `json:"incarnation"`
	Version     uint32  `json:"version"`
	Profile     Profile `json:"profile"`
	Applied     uint64  `json:"applied"`
}

const (
	maxHello  = 4096
	echoEvery = time.Second
	// silentAfter is when a member counts as unhealthy, and its connection is
	// opened anew. It is never a reason to start an election.
	silentAfter = 4 * time.Second
)

func (s *Store) hello() hello {
	return hello{s.cfg.NodeID, s.incarnation, s.cfg.Version, s.cfg.Profile, s.AppliedIndex()}
}

// serveLiveness says hello and then returns every byte that comes.
func (s *Store) serveLiveness(conn net.Conn, _ string) {
	b, err := json.Marshal(s.hello())
	if err != nil {
		return
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		return
	}
	var echo [1]byte
	for {
		if _, err := io.ReadFull(conn, echo[:]); err != nil {
			return
		}
		if _, err := conn.Write(echo[:]); err != nil {
			return
		}
	}
}

// greetMember opens a liveness connection.
func (s *Store) greetMember(ctx context.Context, p Peer) (net.Conn, hello, error) {
	var h hello
	conn, err := s.mux.dial(ctx, kindLiveness, p.Addr, p.ID)
	if err != nil {
		return nil, h, err
	}
	deadline := time.Now().Add(handshakeTimeout)
	if d, ok := ctx.Deadline(); ok {
		deadline = d
	}
	conn.SetReadDeadline(deadline)
	var n [2]byte
	if _, err = io.ReadFull(conn, n[:]); err == nil {
		b := make([]byte, binary.BigEndian.Uint16(n[:]))
		if len(b) > maxHello {
			err = errors.New("hello too long")
		} else if _, err = io.ReadFull(conn, b); err == nil {
			err = json.Unmarshal(b, &h)
		}
	}
	if err == nil && p.ID != "" && h.ID != p.ID {
		err = fmt.Errorf("%w: %s answers at %s, expected %s", ErrWrongNode, h.ID, p.Addr, p.ID)
	}
	if err != nil {
		conn.Close()
		return nil, h, err
	}
	conn.SetReadDeadline(time.Time{})
	return conn, h, nil
}

// mesh keeps the liveness connections in line with the membership.
type mesh struct {
	s       *Store
	changed chan struct{}

	mu      sync.Mutex
	members map[string]*memberState
}

// memberState is what is known of another member. It outlives connections.
type memberState struct {
	peer    Peer
	cancel  context.CancelFunc
	hello   hello // the last one heard; empty before the first
	contact time.Time
	up      bool
	problem string
}

func newMesh(s *Store) *mesh {
	return &mesh{s: s, changed: make(chan struct{}, 1), members: map[string]*memberState{}}
}

// nudge makes the mesh look at the membership again. It never blocks.
func (m *mesh) nudge() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *mesh) run() {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		cancel()
		wg.Wait()
	}()
	m.nudge()
	for {
		select {
		case <-m.changed:
			m.reconcile(ctx, &wg)
		case <-m.s.stopped:
			return
		}
	}
}

func (m *mesh) reconcile(ctx context.Context, wg *sync.WaitGroup) {
	want := map[string]Peer{}
	for _, srv := range m.s.servers() {
		if string(srv.ID) != m.s.cfg.NodeID {
			want[string(srv.ID)] = Peer{string(srv.ID), string(srv.Address)}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, st := range m.members {
		if want[id] != st.peer {
			st.cancel()
			delete(m.members, id)
		}
	}
	for id, p := range want {
		if m.members[id] != nil {
			continue
		}
		cctx, cancel := context.WithCancel(ctx)
		st := &memberState{peer: p, cancel: cancel}
		m.members[id] = st
		wg.Go(func() { m.keep(cctx, st) })
	}
}

// keep holds a connection to one member until ctx ends.
func (m *mesh) keep(ctx context.Context, st *memberState) {
	backoff := time.Millisecond
	for ctx.Err() == nil {
		dctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		conn, h, err := m.s.greetMember(dctx, st.peer)
		cancel()
		if ctx.Err() != nil {
			if conn != nil {
				conn.Close()
			}
			return
		}
		m.judge(st, h, err)
		if err == nil {
			backoff = time.Millisecond
			// Calls that are in a hurry, such as after a crash, find a
			// connection. If it fails they will say so.
			_, _ = m.s.peers.get(ctx, st.peer, false)
			m.hold(ctx, st, conn)
			continue // at once: whether it answers now is the question
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, time.Second)
	}
}

// judge records the result of a dial. If we knew the process that was there,
// then a refused dial, or another process answering, proves that it is dead.
func (m *mesh) judge(st *memberState, h hello, err error) {
	m.mu.Lock()
	known := st.hello
	st.problem = ""
	if err != nil {
		st.up, st.problem = false, err.Error()
	} else {
		st.up, st.contact, st.hello = true, time.Now(), h
		if !h.Profile.sameTimers(m.s.cfg.Profile) {
			st.problem = fmt.Sprintf("%v: here %v, there %v", ErrTimersDiffer, m.s.cfg.Profile, h.Profile)
		}
	}
	problem := st.problem
	m.mu.Unlock()
	if err == nil && problem != "" {
		m.s.log.Error("raftstore: member runs with other timers", "member", st.peer.ID, "problem", problem)
	}
	dead := known.Incarnation != "" &&
		(errors.Is(err, syscall.ECONNREFUSED) || err == nil && h.Incarnation != known.Incarnation)
	if dead {
		m.s.detector.died(st.peer)
	}
}

// hold sends an echo now and then until the connection breaks.
func (m *mesh) hold(ctx context.Context, st *memberState, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(echoEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				conn.SetWriteDeadline(time.Now().Add(silentAfter))
				if _, err := conn.Write([]byte{0}); err != nil {
					conn.Close()
					return
				}
			}
		}
	})
	var b [1]byte
	for {
		conn.SetReadDeadline(time.Now().Add(silentAfter))
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			break
		}
		m.mu.Lock()
		st.contact = time.Now()
		m.mu.Unlock()
	}
	m.mu.Lock()
	st.up = false
	m.mu.Unlock()
	close(quit)
	conn.Close()
	wg.Wait()
}

// get returns a copy of what is known of a member.
func (m *mesh) get(id string) (memberState, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.members[id]
	if st == nil {
		return memberState{}, false
	}
	return *st, true
}
