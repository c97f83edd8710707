package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
	"github.com/ha-dispatcher/ha-dispatcher/internal/scale"
)

// Nodes of this section write a snapshot after as many entries, looked at more
// often than by default, so that a short load meets some. What a snapshot does is
// the same.
const (
	snapshotEntries  = 4000
	snapshotInterval = 2 * time.Second
	// calmRequests are too few for a snapshot, on top of what a restored state
	// brings with it.
	calmRequests = snapshotEntries * 3 / 4
	// windowsTried bounds how often the load is repeated, each time twice as long,
	// until a whole snapshot of the leader lies in it.
	windowsTried = 4
)

// besideSnapshots measures submissions without and with snapshots that the nodes
// take on their own, at two sizes.
func besideSnapshots(ctx context.Context, s *settings) ([]*table, error) {
	t, err := s.besideSnapshots(ctx, few, scale.Drivers{Finished: s.retained, Queued: s.queued})
	return []*table{t}, err
}

func (s *settings) besideSnapshots(ctx context.Context, sizes ...scale.Drivers) (*table, error) {
	t := &table{
		name: "scale-submit", title: "Submissions while the nodes take snapshots on their own",
		header: []string{"drivers", "snapshots ended (of the leader)", "the leader's, s", "a second", "p50 ms", "p99 ms", "worst ms", "a second, to without", "p50", "p99", "worst"},
	}
	c, err := s.startCrowd(ctx, "--snapshot-entries", fmt.Sprint(snapshotEntries), "--snapshot-interval", snapshotInterval.String())
	if err != nil {
		return t, err
	}
	defer c.close()
	for _, size := range sizes {
		var plain *loadgen.Stats
		for _, snapshots := range []bool{false, true, false} {
			if _, _, err := c.fill(ctx, size); err != nil {
				return t, err
			}
			r, seen, err := c.window(ctx, s, snapshots)
			if err != nil {
				return t, err
			}
			if plain == nil {
				plain = r.Submit
			}
			l, was := r.Submit.Latency, plain.Latency
			t.row(size.Finished+size.Queued, fmt.Sprintf("%d (%d)", seen.all, seen.leader), seconds(seen.longest),
				fmt.Sprintf("%.0f", r.Submit.PerSecond), fmt.Sprintf("%.2f", l.P50), fmt.Sprintf("%.2f", l.P99), fmt.Sprintf("%.1f", l.Max),
				ratio(r.Submit.PerSecond, plain.PerSecond), ratio(l.P50, was.P50), ratio(l.P99, was.P99), ratio(l.Max, was.Max))
		}
	}
	t.note("16 clients at the leader, on the processors of all three nodes. The nodes write a snapshot after %d entries (8192 by default), looked at every %v (30 s). "+
		"Counted are those that began and ended within the load; the time is that of the leader's longest, from its first byte to its name. "+
		"The lines without are %d submissions to a state just restored.", snapshotEntries, snapshotInterval, calmRequests)
	return t, nil
}

// window is one load, with a whole snapshot of the leader in it or without any.
func (c *crowd) window(ctx context.Context, s *settings, snapshots bool) (*loadgen.Report, *snapshotsSeen, error) {
	cfg := loadgen.Config{Servers: []string{c.rest(c.lead)}, Clients: 16}
	if !snapshots {
		cfg.Count = calmRequests
		return c.watched(ctx, cfg)
	}
	cfg.Duration = 5 * s.seconds
	end := c.profile(s.pprof, fmt.Sprintf("snapshot-%d", c.drivers.Finished), c.lead)
	defer end()
	for range windowsTried {
		r, seen, err := c.watched(ctx, cfg)
		if err != nil || seen.leader > 0 {
			return r, seen, err
		}
		cfg.Duration *= 2
	}
	return nil, nil, fmt.Errorf("no snapshot of the leader began and ended within %v", cfg.Duration/2)
}

// watched runs a load and looks at what snapshots are written meanwhile.
func (c *crowd) watched(ctx context.Context, cfg loadgen.Config) (*loadgen.Report, *snapshotsSeen, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	type result struct {
		seen *snapshotsSeen
		err  error
	}
	done := make(chan result, 1)
	go func() {
		seen, err := c.watchSnapshots(watching)
		done <- result{seen, err}
	}()
	r, err := load(ctx, cfg)
	stop()
	w := <-done
	return r, w.seen, errors.Join(err, w.err)
}

// snapshotsSeen are snapshots that began and ended while somebody looked.
type snapshotsSeen struct {
	all, leader int
	longest     time.Duration // of the leader

	known map[string]snapshotSeen // by path without .tmp
}

type snapshotSeen struct {
	began time.Time // zero: before the first look
	over  bool
}

// watchSnapshots looks into the directories of the nodes until ctx ends.
func (c *crowd) watchSnapshots(ctx context.Context) (*snapshotsSeen, error) {
	seen := &snapshotsSeen{known: make(map[string]snapshotSeen)}
	for began := (time.Time{}); ; began = time.Now() {
		for i, n := range c.Info().Nodes {
			if err := seen.look(filepath.Join(c.dir, n.ID, "snapshots"), i == c.lead, began); err != nil {
				return seen, err
			}
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			return seen, nil
		}
	}
}

// look counts what has ended since the last look. Raft writes a snapshot under a
// name that ends with .tmp, and renames it.
func (s *snapshotsSeen) look(dir string, leader bool, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name, writing := strings.CutSuffix(e.Name(), ".tmp")
		path := filepath.Join(dir, name)
		one, known := s.known[path]
		if !known {
			one.began = now
		}
		if !writing && !one.over {
			one.over = true
			if !one.began.IsZero() {
				s.all++
				if leader {
					s.leader++
					s.longest = max(s.longest, now.Sub(one.began))
				}
			}
		}
		s.known[path] = one
	}
	return nil
}

func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}
