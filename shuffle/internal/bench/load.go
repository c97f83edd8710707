package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

func signalContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// inFlight is how many chunk requests a client keeps under way.
const inFlight = 5

// sample is one measurement of one server.
type sample struct {
	blocks, bytes int64
	took          time.Duration
	p50, p99      time.Duration
	cpu           time.Duration // of the server
	machine       time.Duration // of everything, the clients included
}

func (s sample) perSecond() float64 { return float64(s.blocks) / s.took.Seconds() }
func (s sample) mbPerSecond() float64 {
	return float64(s.bytes) / s.took.Seconds() / 1e6
}
func (s sample) cpuPerGB() float64     { return s.cpu.Seconds() / (float64(s.bytes) / 1e9) }
func (s sample) machinePerGB() float64 { return s.machine.Seconds() / (float64(s.bytes) / 1e9) }

// measure alternates between the servers and keeps of each the round with the
// median throughput.
func measure(servers []*server, shuffle, size, conns int) cell {
	all := make([][]sample, len(servers))
	for range *rounds {
		for i, s := range servers {
			all[i] = append(all[i], s.load(shuffle, size, conns, *duration))
		}
	}
	c := cell{size: size, conns: conns}
	for i, s := range servers {
		slices.SortFunc(all[i], func(a, b sample) int { return int(a.perSecond() - b.perSecond()) })
		c.samples = append(c.samples, all[i][len(all[i])/2])
		c.names = append(c.names, s.name)
	}
	return c
}

func (s *server) load(shuffle, size, conns int, duration time.Duration) sample {
	clients := make([]*client, conns)
	for i := range clients {
		c, err := peer.Dial(s.addr, nil)
		check(err)
		clients[i] = &client{Client: c, bare: s.name == nameSendfile, shuffle: int32(shuffle), size: size, first: i}
	}
	var wg sync.WaitGroup
	warm := time.Now().Add(duration / 5)
	end := warm.Add(duration)
	used := make(chan sample, 2)
	for _, at := range []time.Time{warm, end} {
		time.AfterFunc(time.Until(at), func() { used <- sample{cpu: s.cpu(), machine: machineCPU()} })
	}
	for _, c := range clients {
		wg.Go(func() { c.run(warm, end) })
	}
	wg.Wait()
	before, after := <-used, <-used
	out := sample{cpu: after.cpu - before.cpu, machine: after.machine - before.machine, took: duration}
	var latencies []time.Duration
	for _, c := range clients {
		c.Close()
		out.blocks += c.blocks
		out.bytes += c.bytes
		latencies = append(latencies, c.latencies...)
	}
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		out.p50, out.p99 = latencies[n/2], latencies[n*99/100]
	}
	return out
}

// client fetches all blocks of one reducer after the other.
type client struct {
	*peer.Client
	bare      bool
	shuffle   int32
	size      int
	first     int
	blocks    int64
	bytes     int64
	latencies []time.Duration
}

func (c *client) run(warm, end time.Time) {
	for reduce := c.first; time.Now().Before(end); reduce++ {
		id, chunks := int64(c.shuffle), streamChunks
		if !c.bare {
			h, err := c.Open(c.request(reduce))
			check(err)
			id, chunks = h.StreamID, int(h.NumChunks)
		}
		c.fetch(id, chunks, warm, end)
	}
}

// streamChunks is how many blocks a stream has: many, so that the RPC that
// opens it does not count.
const streamChunks = 512

func (c *client) request(reduce int) wire.Message {
	var maps []int64
	var lists [][]int32
	perMap := streamChunks / mapsPerSize
	for m := range mapsPerSize {
		var list []int32
		for i := range perMap {
			list = append(list, int32((reduce*perMap+i)%reduces(c.size)))
		}
		maps, lists = append(maps, int64(m)), append(lists, list)
	}
	return wire.NewFetchShuffleBlocks(appID, execID, c.shuffle, maps, lists, false)
}

func (c *client) fetch(id int64, chunks int, warm, end time.Time) {
	var sent [inFlight]time.Time
	var frames []wire.Frame
	next, received := 0, 0
	for received < chunks {
		for next < chunks && next-received < inFlight {
			frames = append(frames, wire.Frame{Type: wire.ChunkFetchRequest, StreamID: id, ChunkIndex: int32(next)})
			sent[next%inFlight] = time.Now()
			next++
		}
		// Requests go out together when the replies that are here are used up.
		if len(frames) > 0 && c.Buffered() < wire.ChunkHeaderSize {
			check(c.Send(frames...))
			frames = frames[:0]
		}
		n, err := c.SkipChunk()
		check(err)
		now := time.Now()
		if now.After(warm) && now.Before(end) {
			c.blocks++
			c.bytes += n
			c.latencies = append(c.latencies, now.Sub(sent[received%inFlight]))
		}
		received++
		if now.After(end) && chunks > next { // take what is under way, ask for no more
			chunks = next
			check(c.Send(frames...))
			frames = nil
		}
	}
}
