package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
)

// crowd is a cluster of three processes with a prepared state, and a Mesos whose
// agents exist in name only.
type crowd struct {
	*cluster
	mesos   *scale.Mesos
	drivers scale.Drivers
	last    string // id of the driver submitted last
	lead    int
}

func (s *settings) startCrowd(ctx context.Context, nodeArgs ...string) (_ *crowd, err error) {
	m, err := scale.StartMesos()
	if err != nil {
		return nil, err
	}
	c, err := startCluster(ctx, s, devcluster.Options{
		MesosURL: m.URL(), NodeArgs: append([]string{"--pprof", "--profile", "wan"}, nodeArgs...),
		// An agent that is held for a driver that has waited for long is an offer
		// without an answer.
		Conf: []string{"spark.mesos.dispatcher.holdAfter=0"},
	})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	out := &crowd{cluster: c, mesos: m}
	if out.lead, err = c.leader(ctx); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

func (c *crowd) close() {
	c.cluster.close()
	_ = c.mesos.Close()
}

func (c *crowd) operator(i int) (*client.Client, error) {
	return client.New(client.Config{Servers: []string{c.rest(i)}})
}

// prepared is a state to fill clusters with.
type prepared struct {
	drivers scale.Drivers
	archive []byte
	last    string
}

// states are those made already, each of which takes seconds.
var states []*prepared

func prepare(d scale.Drivers) (*prepared, error) {
	for _, p := range states {
		if p.drivers == d {
			return p, nil
		}
	}
	state, err := scale.State(d)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	if err := scale.Archive(&archive, state); err != nil {
		return nil, err
	}
	p := &prepared{drivers: d, archive: archive.Bytes()}
	state.View().Before(0, func(d *driver) bool { p.last = d.ID; return false })
	states = append(states, p)
	return p, nil
}

// fill gives the cluster a prepared state, and waits until all nodes have it.
func (c *crowd) fill(ctx context.Context, d scale.Drivers) (took time.Duration, size int, err error) {
	p, err := prepare(d)
	if err != nil {
		return 0, 0, err
	}
	c.drivers, c.last, size = d, p.last, len(p.archive)
	op, err := c.operator(c.lead)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := op.RestoreSnapshot(ctx, bytes.NewReader(p.archive)); err != nil {
		return 0, 0, fmt.Errorf("restore %d drivers: %w", d.Finished+d.Queued, err)
	}
	for i := range c.Info().Nodes {
		if err := c.known(ctx, i, c.last); err != nil {
			return 0, 0, err
		}
	}
	took = time.Since(began)
	c.lead, err = c.leader(ctx)
	return took, size, err
}

// known waits until a node, asked alone, knows a driver.
func (c *crowd) known(ctx context.Context, node int, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		_, status, err := fetch(ctx, c.rest(node)+"/v1/drivers/"+id+"?consistency=stale")
		if err == nil && status == http.StatusOK {
			return nil
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			return fmt.Errorf("node %d does not know driver %s: %w (HTTP %d)", node, id, errors.Join(ctx.Err(), err), status)
		}
	}
}

// atScale measures a whole cluster at three sizes, and the largest one further.
func atScale(ctx context.Context, s *settings) ([]*table, error) {
	cycles := &table{
		name: "scale-cycle", title: "One offer cycle: every agent offers at once, and everything queued is placed",
		header: []string{"retained", "queued", "agents", "placed", "ms to the last ACCEPT", "to the first", "CPU of all nodes, ms", "n log n", "ms grew by", "CPU grew by", "nothing fits: ms", "grew by"},
	}
	tables := []*table{cycles}
	var was *cycle
	for _, part := range []int{4, 2, 1} {
		size := scale.Drivers{Finished: s.retained / part, Queued: s.queued / part}
		more, now, err := s.oneSize(ctx, size, s.agents/part, part == 1)
		tables = append(tables, more...)
		if err != nil {
			return tables, fmt.Errorf("%d retained, %d queued: %w", size.Finished, size.Queued, err)
		}
		now.row(cycles, was)
		was = now
	}
	cycles.note("Three processes; the agents exist in name only and take whatever they are given. n is drivers queued and agents together; " +
		"the column n log n is what it grew by from the line above. Nothing fits: the same offers, too small for any driver, until the last is declined.")
	return tables, nil
}

// cycle is one line of the first table.
type cycle struct {
	drivers     scale.Drivers
	agents      int
	placed      int
	first, last time.Duration
	cpu         time.Duration
	futile      time.Duration
}

func (c *cycle) row(t *table, was *cycle) {
	cells := []any{
		c.drivers.Finished, c.drivers.Queued, c.agents, c.placed, milliseconds(c.last), milliseconds(c.first), milliseconds(c.cpu),
	}
	if was == nil {
		t.row(append(cells, "", "", "", milliseconds(c.futile), "")...)
		return
	}
	nLogN := func(c *cycle) float64 {
		n := float64(c.drivers.Queued + c.agents)
		return n * math.Log(n)
	}
	grew := func(now, before time.Duration) string { return ratio(float64(now), float64(before)) }
	t.row(append(cells, ratio(nLogN(c), nLogN(was)), grew(c.last, was.last), grew(c.cpu, was.cpu), milliseconds(c.futile), grew(c.futile, was.futile))...)
}

func (s *settings) oneSize(ctx context.Context, d scale.Drivers, agents int, whole bool) (tables []*table, _ *cycle, err error) {
	c, err := s.startCrowd(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	if whole {
		if tables, err = c.everything(ctx, d); err != nil {
			return tables, nil, err
		}
	} else if _, _, err := c.fill(ctx, d); err != nil {
		return nil, nil, err
	}
	out, err := c.offerCycle(ctx, s, agents)
	return tables, out, err
}

// offerCycle lets all agents offer too little, and then just enough.
func (c *crowd) offerCycle(ctx context.Context, s *settings, agents int) (*cycle, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out := &cycle{drivers: c.drivers, agents: agents}
	var futile []time.Duration
	for range 3 {
		a, err := c.mesos.Offer(ctx, scale.Offering{Agents: agents, CPUs: scale.Cores / 2.0, MemMiB: scale.MemMiB})
		if err != nil {
			return nil, err
		}
		futile = append(futile, a.Last)
	}
	out.futile = median(futile)
	each := (c.drivers.Queued + agents - 1) / agents
	before := c.cpu()
	stop := c.profile(s.pprof, fmt.Sprintf("cycle-%d", agents), c.lead)
	a, err := c.mesos.Offer(ctx, scale.RoomFor(agents, each))
	stop()
	if err != nil {
		return nil, err
	}
	out.first, out.last, out.cpu = a.First, a.Last, c.cpu()-before
	out.placed = a.Tasks
	if a.Tasks < c.drivers.Queued*9/10 {
		return nil, fmt.Errorf("%d drivers were placed on %d agents, of %d on %d", a.Tasks, a.Accepted, c.drivers.Queued, agents)
	}
	return out, nil
}

// profile writes a CPU profile of a node until stop is called, if there is a
// directory for it.
func (c *crowd) profile(dir, name string, node int) (stop func()) {
	if dir == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, _, err := fetch(context.Background(), c.Info().Nodes[node].WebUI+"/debug/pprof/profile?seconds=5")
		if err == nil {
			err = os.WriteFile(dir+"/"+name+".pprof", raw, 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}()
	return func() { <-done }
}
