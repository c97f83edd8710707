package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/e2e/netns"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

// settle is how long a cluster is left alone before the next blow.
const settle = 700 * time.Millisecond

// failovers measures the time from a blow against the leader to the next accepted
// submission at another node.
func failovers(ctx context.Context, s *settings) ([]*table, error) {
	t := &table{
		name: "failover", title: "From the blow to the next accepted submission, at another node",
		header: []string{"what happens to the leader", "median ms", "least", "most", "goal", "times"},
	}
	for _, f := range []struct {
		what, goal string
		measure    func(context.Context, *settings) ([]time.Duration, error)
	}{
		{"SIGKILL", "< 50", killed},
		{"stopped without a word (SIGSTOP)", "< 500", stopped},
		{"cut off the network without a word", "< 500", cutOff},
		{"told to stop (SIGTERM): longest pause of one client", "< 20", handedOver},
	} {
		took, err := f.measure(ctx, s)
		if err != nil {
			t.note("%s: %v", f.what, err)
			if ctx.Err() != nil {
				return nil, err
			}
			continue
		}
		least, most := took[0], took[0]
		for _, d := range took {
			least, most = min(least, d), max(most, d)
		}
		t.row(f.what, milliseconds(median(took)), milliseconds(least), milliseconds(most), f.goal, len(took))
	}
	t.note("Profile lan (200/200/100 ms). A client with a kept connection to a follower sends one submission after the other until one is accepted; " +
		"the time counts from before the signal, or the ip command, is given.")
	return []*table{t}, nil
}

// prober submits to one node.
type prober struct {
	http http.Client
	url  string
}

func newProber(rest string) *prober {
	return &prober{http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}, rest + "/v1/submissions/create"}
}

func (p *prober) close() { p.http.CloseIdleConnections() }

// submission of the size that spark-submit sends.
var submission = []byte(`{"action":"CreateSubmissionRequest","appArgs":["10"],"appResource":"file:///srv/jobs/app.jar",` +
	`"clientSparkVersion":"3.5.1","environmentVariables":{"SPARK_ENV":"1"},"mainClass":"org.example.App","sparkProperties":{` +
	`"spark.app.name":"probe","spark.driver.supervise":"false","spark.submit.deployMode":"cluster","spark.jars":"file:///srv/jobs/app.jar"}}`)

func (p *prober) submit(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(submission))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var r struct{ Success bool }
	if err := json.Unmarshal(raw, &r); err != nil || !r.Success {
		return fmt.Errorf("HTTP %d: %s", resp.StatusCode, raw)
	}
	return nil
}

// untilAccepted is the time from since to the next acceptance.
func (p *prober) untilAccepted(ctx context.Context, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := p.submit(ctx)
		if err == nil {
			return time.Since(since), nil
		}
		if ctx.Err() != nil {
			return 0, err
		}
	}
}

// rounds deals s.kills blows to the leaders of a cluster; recover repairs what
// blow did.
func rounds(ctx context.Context, s *settings, c *cluster,
	blow func(leader int, p *prober) (time.Duration, error), recover func(leader int) error) (all []time.Duration, err error) {
	for range s.kills {
		leader, err := c.leader(ctx)
		if err != nil {
			return nil, err
		}
		p := newProber(c.rest((leader + 1) % 3))
		if err := p.submit(ctx); err != nil {
			return nil, err
		}
		time.Sleep(settle)
		took, err := blow(leader, p)
		p.close()
		if err := errors.Join(err, recover(leader)); err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

func killed(ctx context.Context, s *settings) ([]time.Duration, error) {
	c, err := startCluster(ctx, s, devcluster.Options{})
	if err != nil {
		return nil, err
	}
	defer c.close()
	return rounds(ctx, s, c, func(leader int, p *prober) (time.Duration, error) {
		since := time.Now()
		if err := c.Signal(leader, syscall.SIGKILL, false); err != nil {
			return 0, err
		}
		return p.untilAccepted(ctx, since)
	}, func(leader int) error {
		for c.Running(leader) {
			time.Sleep(time.Millisecond)
		}
		return c.StartNode(leader)
	})
}

func stopped(ctx context.Context, s *settings) ([]time.Duration, error) {
	c, err := startCluster(ctx, s, devcluster.Options{})
	if err != nil {
		return nil, err
	}
	defer c.close()
	return rounds(ctx, s, c, func(leader int, p *prober) (time.Duration, error) {
		since := time.Now()
		if err := c.Signal(leader, syscall.SIGSTOP, false); err != nil {
			return 0, err
		}
		return p.untilAccepted(ctx, since)
	}, func(leader int) error { return c.Signal(leader, syscall.SIGCONT, false) })
}

// cutOff puts each node into a network namespace of its own.
func cutOff(ctx context.Context, s *settings) ([]time.Duration, error) {
	network, err := netns.New(3)
	if err != nil {
		return nil, err
	}
	defer func() { _ = network.Close() }()
	mesos, err := localmesos.Start(ctx, localmesos.Options{Agents: 1, Resources: tooSmall})
	if err != nil {
		return nil, err
	}
	defer func() { _ = mesos.Close() }()
	forward, err := netns.Forward(network.Gateway(), mesos.URL()[len("http://"):])
	if err != nil {
		return nil, err
	}
	defer forward.Close()
	c, err := startCluster(ctx, s, devcluster.Options{
		MesosURL: "http://" + forward.Addr(), NodeArgs: []string{"--allow-unauthenticated"},
		Place: func(k int) (string, []string) { return network.Addr(k), network.Command(k) },
	})
	if err != nil {
		return nil, err
	}
	defer c.close()
	return rounds(ctx, s, c, func(leader int, p *prober) (time.Duration, error) {
		since := time.Now()
		if err := network.Cut(leader); err != nil {
			return 0, err
		}
		return p.untilAccepted(ctx, since)
	}, network.Mend)
}

// handedOver measures the longest time between two acceptances of one client
// while the leader stops in good order. No request may fail.
func handedOver(ctx context.Context, s *settings) ([]time.Duration, error) {
	c, err := startCluster(ctx, s, devcluster.Options{})
	if err != nil {
		return nil, err
	}
	defer c.close()
	return rounds(ctx, s, c, func(leader int, p *prober) (time.Duration, error) {
		if err := c.Signal(leader, syscall.SIGTERM, false); err != nil {
			return 0, err
		}
		var longest time.Duration
		last := time.Now()
		for after := 50; after > 0; {
			if !c.Running(leader) {
				after--
			}
			if err := p.submit(ctx); err != nil {
				return 0, fmt.Errorf("a request failed during the hand-over: %w", err)
			}
			now := time.Now()
			longest, last = max(longest, now.Sub(last)), now
		}
		return longest, nil
	}, c.StartNode)
}
