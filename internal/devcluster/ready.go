package devcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// probes go over connections of their own: a node that was killed must not be
// found through one that is kept.
var probe = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

type readiness struct {
	Ready  bool `json:"ready"`
	Checks []struct {
		Name    string `json:"name"`
		OK      bool   `json:"ok"`
		Message string `json:"message"`
	} `json:"checks"`
}

// WaitReady waits until some node leads and is subscribed to Mesos, and all
// nodes that run say so. It returns the place of the leader.
func (c *Cluster) WaitReady(ctx context.Context) (leader int, err error) {
	var last error
	for {
		leader, err := c.ready(ctx)
		if err == nil {
			return leader, nil
		}
		// What the end of ctx broke off tells nothing about the cluster.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return -1, fmt.Errorf("the cluster is not ready: %w: %w", ctx.Err(), last)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *Cluster) ready(ctx context.Context) (int, error) {
	running := 0
	for i, n := range c.info.Nodes {
		if !c.nodes[i].running() {
			continue
		}
		running++
		var r readiness
		if err := get(ctx, n.WebUI+"/readyz", &r); err != nil {
			return -1, fmt.Errorf("%s: %w", n.ID, err)
		}
		for _, check := range r.Checks {
			if !check.OK {
				return -1, fmt.Errorf("%s: %s: %s", n.ID, check.Name, check.Message)
			}
		}
	}
	if running == 0 {
		return -1, errors.New("no node runs")
	}
	return c.Leader(ctx)
}

// Leader is the place of the node that leads, as a running node knows it.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	for i, n := range c.info.Nodes {
		if !c.nodes[i].running() {
			continue
		}
		var cl struct{ Leader string }
		if err := get(ctx, n.REST+"/v1/cluster", &cl); err != nil {
			return -1, fmt.Errorf("%s: %w", n.ID, err)
		}
		for k := range c.info.Nodes {
			if c.info.Nodes[k].ID == cl.Leader && c.nodes[k].running() {
				return k, nil
			}
		}
	}
	return -1, errors.New("no leader is known")
}

func get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := probe.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}
