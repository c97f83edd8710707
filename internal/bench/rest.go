package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

var clientCounts = []int{1, 8, 64}

// series is the measurements of one kind, a value for each round.
type series struct {
	rate, p50, p99 []float64
	cpu            []float64 // µs of all nodes for one request
}

func (s *series) add(st *loadgen.Stats) {
	s.rate = append(s.rate, st.PerSecond)
	s.p50 = append(s.p50, st.Latency.P50)
	s.p99 = append(s.p99, st.Latency.P99)
}

func (s *series) cells() []any {
	return []any{fmt.Sprintf("%.0f", median(s.rate)), fmt.Sprintf("%.2f", median(s.p50)), fmt.Sprintf("%.2f", median(s.p99))}
}

// kinds of requests, in the order in which a round measures them.
var kinds = []struct {
	name     string
	status   bool
	stale    bool
	follower bool
}{
	{name: "submit to the leader"},
	{name: "submit to a follower", follower: true},
	{name: "status at the leader", status: true},
	{name: "status at a follower", status: true, follower: true},
	{name: "status at a follower, stale allowed", status: true, follower: true, stale: true},
}

const warmUp = 2000 // submissions before anything is measured

// restRates measures submissions and status reads of three processes.
func restRates(ctx context.Context, s *settings) ([]*table, error) {
	t := &table{
		name: "rest", title: "REST, three processes on this machine",
		header: []string{"request", "clients", "a second", "p50 ms", "p99 ms", "CPU of all nodes, µs each", "lost"},
	}
	results := make(map[string]*series)
	lost := make(map[string]int)
	for range s.rounds {
		if err := restRound(ctx, s, results, lost); err != nil {
			return nil, err
		}
	}
	for _, k := range kinds {
		for _, clients := range clientCounts {
			key := fmt.Sprint(k.name, clients)
			missing := "–"
			if !k.status {
				missing = fmt.Sprint(lost[key])
			}
			cells := append([]any{k.name, clients}, results[key].cells()...)
			t.row(append(cells, fmt.Sprintf("%.0f", median(results[key].cpu)), missing)...)
		}
	}
	t.note("Median of %d rounds of %v each, on a new cluster each round; kept connections, 8 properties, drivers stay in the queue. "+
		"Reads are linearizable unless stale is said. Lost: acknowledged, and NOT_FOUND afterwards.", s.rounds, s.seconds)
	return []*table{t}, nil
}

func restRound(ctx context.Context, s *settings, results map[string]*series, lost map[string]int) (err error) {
	c, err := startCluster(ctx, s, devcluster.Options{})
	if err != nil {
		return err
	}
	defer c.close()
	leader, err := c.leader(ctx)
	if err != nil {
		return err
	}
	at := map[bool]string{false: c.rest(leader), true: c.rest((leader + 1) % 3)}
	warm, err := load(ctx, loadgen.Config{Servers: []string{at[false]}, Clients: 8, Count: warmUp})
	if err != nil {
		return err
	}
	for _, k := range kinds {
		for _, clients := range clientCounts {
			cfg := loadgen.Config{Servers: []string{at[k.follower]}, Clients: clients, Duration: s.seconds, Stale: k.stale}
			if k.status {
				cfg.Mode, cfg.IDs = loadgen.Status, warm.IDs
			}
			before := c.cpu()
			r, err := load(ctx, cfg)
			if err != nil {
				return fmt.Errorf("%s, %d clients: %w", k.name, clients, err)
			}
			used := c.cpu() - before
			key := fmt.Sprint(k.name, clients)
			if results[key] == nil {
				results[key] = &series{}
			}
			st := r.Submit
			if k.status {
				st = r.Status
			}
			results[key].add(st)
			results[key].cpu = append(results[key].cpu, float64(used.Microseconds())/float64(max(1, st.OK)))
			if k.status {
				continue
			}
			missing, err := missing(ctx, cfg, r)
			if err != nil {
				return err
			}
			lost[key] += missing
		}
	}
	if now, err := c.leader(ctx); err != nil || now != leader {
		return errors.Join(err, errors.New("the leader changed while rates were measured: the machine is too busy"))
	}
	return nil
}

// missing asks for all that was acknowledged.
func missing(ctx context.Context, cfg loadgen.Config, r *loadgen.Report) (int, error) {
	v, err := loadgen.Verify(ctx, cfg, r.IDs)
	if err != nil {
		return 0, err
	}
	if v.Failed > 0 || v.Duplicates > 0 {
		return v.Lost, fmt.Errorf("%d ids were not answered, %d were given out twice", v.Failed, v.Duplicates)
	}
	return v.Lost, nil
}
