package raftstore

import (
	"io"
	"time"
)

// A snapshot of a large state is seconds of work, and nobody waits for it. At
// full speed it would keep a processor from those who wait for an answer, so it
// works for a moment and then rests. The rest grows with the work, which grows on
// a machine that is busy with other things: what is written there takes longer.
const (
	paceWork = 2 * time.Millisecond   // after so long it rests,
	paceRest = 2                      // so many times as long as it worked,
	paceMost = 100 * time.Millisecond // and at most this long
)

// pacedWriter rests between writes. After stopping is closed it fails: a node
// that stops does not wait for a snapshot.
type pacedWriter struct {
	w        io.Writer
	stopping <-chan struct{}
	since    time.Time // of the work since the last rest
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if worked := time.Since(p.since); err == nil && worked >= paceWork {
		err = p.rest(min(paceRest*worked, paceMost))
		p.since = time.Now()
	}
	return n, err
}

func (p *pacedWriter) rest(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.stopping:
		return ErrClosed
	}
}
