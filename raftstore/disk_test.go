package raftstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// disk is a node's disk that can be made to hang or to fail.
type disk struct {
	mu   sync.Mutex
	hang chan struct{} // not nil: writes wait until it is closed
	fail error
	late bool // fail after the write was done
}

func (d *disk) write(_ raftstore.DiskOp, do func() error) error {
	d.mu.Lock()
	hang, fail, late := d.hang, d.fail, d.late
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if fail != nil && !late {
		return fail
	}
	if err := do(); err != nil {
		return err
	}
	return fail
}

func (d *disk) set(hang bool, fail error, late bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hang != nil {
		close(d.hang)
		d.hang = nil
	}
	if hang {
		d.hang = make(chan struct{})
	}
	d.fail, d.late = fail, late
}

func withDisks(t *testing.T, disks *[]*disk, regs *[]*prometheus.Registry) option {
	t.Cleanup(func() {
		for _, d := range *disks {
			d.set(false, nil, false)
		}
	})
	return func(_ int, cfg *raftstore.Config) {
		d := &disk{}
		*disks = append(*disks, d)
		cfg.Hooks.Disk = d.write
		cfg.DiskDeadline = 100 * time.Millisecond
		if regs != nil {
			reg := prometheus.NewRegistry()
			*regs = append(*regs, reg)
			cfg.Registerer = reg
		}
	}
}

// TestStalledDiskGivesLeadershipAway: heartbeats go on while a disk hangs, so
// without the deadline the leader would stay, and serve nobody.
func TestStalledDiskGivesLeadershipAway(t *testing.T) {
	var disks []*disk
	var regs []*prometheus.Registry
	c := newCluster(t, 3, withDisks(t, &disks, &regs))
	l := c.leader()
	c.propose(l, "before")
	waitMesh(t, c)
	disks[index(c, l)].set(true, nil, false)
	_, err := l.store.Propose(timeout(t, 10*time.Second), []byte("stuck"))
	if !errors.Is(err, raftstore.ErrOutcomeUnknown) || !errors.Is(err, raftstore.ErrDiskStalled) {
		t.Errorf("propose on a leader with a stalled disk: %v", err)
	}
	eventually(t, "another leader", func() bool {
		for _, nd := range c.nodes {
			if nd != l && nd.store.Status().Ready {
				return true
			}
		}
		return false
	})
	for _, nd := range c.nodes {
		if nd != l {
			c.propose(nd, "after")
		}
	}
	if n := metric(t, regs[index(c, l)], "ha_dispatcher_raftstore_disk_stalls_total"); n < 1 {
		t.Error("the stall was not counted")
	}
	disks[index(c, l)].set(false, nil, false)
	c.sameState()
	for _, cmd := range l.list.all() {
		if string(cmd) == "stuck" {
			t.Error("a command that only a stalled disk took was applied")
		}
	}
	// What was written late has left nothing behind that a restart would find.
	c.crash(l)
	c.open(l)
	c.propose(l, "restarted")
	c.sameState()
}

func TestFailingDiskGivesLeadershipAway(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			var disks []*disk
			c := newCluster(t, 3, withDisks(t, &disks, nil))
			l := c.leader()
			waitMesh(t, c)
			broken := errors.New("I/O error")
			disks[index(c, l)].set(false, broken, late)
			_, err := l.store.Propose(timeout(t, 10*time.Second), []byte("x"))
			if !errors.Is(err, raftstore.ErrOutcomeUnknown) || !errors.Is(err, broken) {
				t.Errorf("propose on a failing disk: %v", err)
			}
			eventually(t, "another node to acknowledge", func() bool {
				for _, nd := range c.nodes {
					if nd != l {
						if _, err := nd.store.Propose(timeout(t, time.Second), []byte("y")); err == nil {
							return true
						}
					}
				}
				return false
			})
			// A node whose disk is broken can be closed.
			c.crash(l)
			disks[index(c, l)].set(false, nil, false)
			c.open(l)
			c.sameState()
		})
	}
}

func TestSlowFollowerDiskHoldsNobodyUp(t *testing.T) {
	var disks []*disk
	c := newCluster(t, 3, withDisks(t, &disks, nil))
	l := c.leader()
	waitMesh(t, c)
	f := c.followers()[0]
	disks[index(c, f)].set(true, nil, false)
	for i := range 20 {
		if _, err := l.store.Propose(timeout(t, 5*time.Second), fmt.Append(nil, i)); err != nil {
			t.Fatalf("propose %d: %v", i, err)
		}
	}
	disks[index(c, f)].set(false, nil, false)
	c.sameState()
}

// TestStopWithHangingDisk: a stop gives up on a disk that hangs, and the files
// are released when it comes back.
func TestStopWithHangingDisk(t *testing.T) {
	var disks []*disk
	c := newCluster(t, 1, withDisks(t, &disks, nil))
	nd := c.leader()
	disks[0].set(true, nil, false)
	if _, err := nd.store.Propose(timeout(t, 10*time.Second), []byte("x")); !errors.Is(err, raftstore.ErrOutcomeUnknown) {
		t.Errorf("propose: %v", err)
	}
	if err := nd.store.Close(t.Context()); !errors.Is(err, raftstore.ErrDiskStalled) {
		t.Errorf("close with a hanging disk: %v", err)
	}
	nd.store = nil
	disks[0].set(false, nil, false)
	eventually(t, "the directory to be free", func() bool {
		s, err := raftstore.Open(t.Context(), nd.cfg, &list{})
		if err == nil {
			s.Crash()
		}
		return err == nil
	})
}
