package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

// resident is what a process has in memory, in KiB.
type resident struct{ all, anonymous, file int }

func residentOf(pid int) resident {
	path := fmt.Sprintf("/proc/%d/status", pid)
	number := func(key string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(firstField(path, key), " kB"))
		return n
	}
	return resident{number("VmRSS"), number("RssAnon"), number("RssFile")}
}

const quiet = 30 * time.Second // for what is not used any more to be given back

// memory lets drivers run to their end, as processes that do nothing, and looks
// at the nodes that keep them.
func memory(ctx context.Context, s *settings) ([]*table, error) {
	c, err := startCluster(ctx, s, devcluster.Options{Resources: "cpus:64;mem:65536;disk:65536"})
	if err != nil {
		return nil, err
	}
	defer c.close()
	t := &table{
		name: "memory", title: fmt.Sprintf("Resident memory of a node with %d retained drivers of 8 properties, MiB (goal: at most 60)", s.drivers),
		header: []string{"when", "node", "VmRSS", "of it RssAnon", "of it RssFile"},
	}
	leader, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	look := func(when string) {
		for i, n := range c.Info().Nodes {
			role := "follower"
			if i == leader {
				role = "leader"
			}
			r := residentOf(n.PID)
			mib := func(k int) string { return fmt.Sprintf("%.1f", float64(k)/1024) }
			t.row(when, n.ID+" "+role, mib(r.all), mib(r.anonymous), mib(r.file))
		}
	}
	look("empty")
	cfg := loadgen.Config{
		Servers: []string{c.rest(leader)}, Clients: 4, Count: s.drivers,
		// With the four it has anyway, eight.
		Properties: 5, Extra: map[string]string{
			"spark.mesos.dispatcher.command": "true", "spark.driver.memory": "32m", "spark.mesos.driver.memoryOverhead": "16",
		},
	}
	r, err := load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := waitFinished(ctx, cfg, r.IDs); err != nil {
		return nil, err
	}
	look("all finished")
	if err := sleep(ctx, quiet); err != nil {
		return nil, err
	}
	look(fmt.Sprintf("%v later", quiet))
	for i := range c.Info().Nodes {
		if err := c.Kill(i); err != nil {
			return nil, err
		}
		if err := c.StartNode(i); err != nil {
			return nil, err
		}
		if leader, err = c.leader(ctx); err != nil {
			return nil, err
		}
	}
	if err := sleep(ctx, quiet); err != nil {
		return nil, err
	}
	look(fmt.Sprintf("each killed and started again, %v later", quiet))
	return []*table{t}, nil
}

func waitFinished(ctx context.Context, cfg loadgen.Config, ids []string) error {
	for {
		v, err := loadgen.Verify(ctx, cfg, ids)
		if err != nil || v.States["FINISHED"] == len(ids) {
			return err
		}
		if v.Lost > 0 {
			return fmt.Errorf("%d drivers are lost", v.Lost)
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return fmt.Errorf("waiting for %d drivers to finish: %w: %v", len(ids), err, v.States)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
