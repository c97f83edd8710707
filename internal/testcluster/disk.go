package testcluster

import (
	"sync"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// diskMode is how a disk behaves.
type diskMode struct {
	slow time.Duration
	hang chan struct{} // writes wait until it is closed
	fail error
}

// disk stands before every write of a node to stable storage.
type disk struct {
	mu   sync.Mutex
	mode diskMode
}

func (d *disk) set(m diskMode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mode.hang != nil {
		close(d.mode.hang)
	}
	d.mode = m
}

func (d *disk) write(_ raftstore.DiskOp, write func() error) error {
	d.mu.Lock()
	m := d.mode
	d.mu.Unlock()
	if m.hang != nil {
		<-m.hang
	}
	if m.slow > 0 {
		time.Sleep(m.slow)
	}
	if m.fail != nil {
		return m.fail
	}
	return write()
}
