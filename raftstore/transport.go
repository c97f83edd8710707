package raftstore

import (
	"sync"

	"github.com/hashicorp/raft"
)

// transport is hashicorp's network transport with one repair. When a follower
// refuses an append, raft v1.7.3 stops reading the answers of its pipeline,
// but may be about to send one more request; with the default two requests in
// flight that send then waits for ever for somebody to take the answers, and
// the follower gets no entry until the leader changes. A disk that fails or
// stalls for a moment is enough. So answers are taken off the pipeline into a
// buffer that raft cannot fill before it looks up.
type transport struct{ *raft.NetworkTransport }

func (t transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture, 256), closed: make(chan struct{})}
	go p.pump()
	return p, nil
}

type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
}

func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

func (p *pipeline) pump() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
