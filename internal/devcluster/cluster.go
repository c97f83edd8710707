package devcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options say what to start.
type Options struct {
	Binary  string // of ha-dispatcher; default this very program
	DataDir string // required; kept
	Nodes   int    // default 3
	// Port and WebUIPort are those of the first node; node k listens on them plus
	// 10(k-1), and for the other nodes on the REST port plus 1. 0 takes free ones.
	Port, WebUIPort int

	// MesosURL is a Mesos that runs already; empty: an embedded one.
	MesosURL   string
	MesosPort  int // of the embedded one; 0 takes a free one
	Agents     int // default 2
	Resources  string
	Attributes string

	Conf           []string // KEY=VALUE for the nodes
	PropertiesFile string
	NodeArgs       []string // more flags for the nodes
	// Place puts node k, from 0, elsewhere than on 127.0.0.1: its host, and the
	// words before the program, such as "ip netns exec n1". The embedded Mesos
	// cannot be reached from there.
	Place func(k int) (host string, before []string)
	Env   []string
	// Awaiting tells that the nodes will wait for a migration: then Start returns
	// when they serve, and WaitReady can be called after it.
	Awaiting bool
}

// Cluster is a running one.
type Cluster struct {
	opts  Options
	mesos *process
	nodes []*process
	info  Info
}

// Info is what dev.json holds.
type Info struct {
	Mesos MesosInfo  `json:"mesos"`
	Nodes []NodeInfo `json:"nodes"`
}

// MesosInfo tells where Mesos is; PID is 0 where it is not ours.
type MesosInfo struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// NodeInfo tells where a node is.
type NodeInfo struct {
	ID    string `json:"id"`
	PID   int    `json:"pid"`
	REST  string `json:"rest"`
	WebUI string `json:"webui"`
	Raft  string `json:"raft"`
}

// Start starts Mesos and the nodes, and waits until a leader is subscribed. On
// an error nothing is left running.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.startMesos(ctx); err != nil {
		return nil, err
	}
	if err := c.planNodes(); err != nil {
		return nil, err
	}
	for i := range c.nodes {
		if err := c.StartNode(i); err != nil {
			return nil, err
		}
	}
	// A node that ended at once, for want of its port perhaps, must not be taken
	// for ready because whoever has the port answers.
	for _, p := range c.nodes {
		if err := c.await(ctx, p, c.readyFile(p.name), &struct{}{}); err != nil {
			return nil, err
		}
	}
	if !c.opts.Awaiting {
		if _, err := c.WaitReady(ctx); err != nil {
			return nil, err
		}
	}
	return c, c.writeInfo()
}

func (o *Options) complete() error {
	if o.DataDir == "" {
		return errors.New("a data directory is required")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return err
	}
	o.DataDir = dir
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Agents == 0 {
		o.Agents = 2
	}
	if o.Nodes < 1 || o.Nodes > 9 || o.Agents < 1 {
		return fmt.Errorf("%d nodes and %d agents: 1 to 9 nodes and at least one agent are wanted", o.Nodes, o.Agents)
	}
	return os.MkdirAll(o.DataDir, 0o700)
}

func (c *Cluster) startMesos(ctx context.Context) error {
	if c.opts.MesosURL != "" {
		c.info.Mesos.URL = c.opts.MesosURL
		return nil
	}
	ready := c.readyFile("mesos")
	os.Remove(ready)
	args := []string{
		c.opts.Binary, "mesos", "--host", "127.0.0.1", "--port", strconv.Itoa(c.opts.MesosPort),
		"--agents", strconv.Itoa(c.opts.Agents), "--work-dir", filepath.Join(c.opts.DataDir, "mesos"), "--ready-file", ready,
	}
	if c.opts.Resources != "" {
		args = append(args, "--resources", c.opts.Resources)
	}
	if c.opts.Attributes != "" {
		args = append(args, "--attributes", c.opts.Attributes)
	}
	c.mesos = &process{name: "mesos", args: args, log: c.logFile("mesos"), env: c.opts.Env}
	if err := c.mesos.start(); err != nil {
		return err
	}
	if err := c.await(ctx, c.mesos, ready, &c.info.Mesos); err != nil {
		return err
	}
	c.info.Mesos.PID = c.mesos.pid()
	return nil
}

// readyFile is what a process writes when it serves.
func (c *Cluster) readyFile(name string) string {
	return filepath.Join(c.opts.DataDir, name+".json")
}

func (c *Cluster) logFile(name string) string {
	return filepath.Join(c.opts.DataDir, "log", name+".log")
}

// await waits until a process has written its ready file.
func (c *Cluster) await(ctx context.Context, p *process, path string, into any) error {
	for {
		if raw, err := os.ReadFile(path); err == nil {
			return json.Unmarshal(raw, into)
		}
		select {
		case <-p.ended():
			return fmt.Errorf("%s ended at its start:\n%s", p.name, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, ctx.Err(), tail(p.log))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// tail is the end of a log, for error messages.
func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// planNodes chooses the addresses of all nodes, which must be known before the
// first one starts.
func (c *Cluster) planNodes() error {
	var peers []string
	for k := range c.opts.Nodes {
		ports, err := c.ports(k)
		if err != nil {
			return err
		}
		host, _ := c.place(k)
		id := fmt.Sprintf("n%d", k+1)
		c.info.Nodes = append(c.info.Nodes, NodeInfo{
			ID: id, REST: "http://" + host + ":" + ports[0], WebUI: "http://" + host + ":" + ports[1], Raft: host + ":" + ports[2],
		})
		peers = append(peers, id+"="+host+":"+ports[2])
	}
	master := strings.TrimPrefix(strings.TrimPrefix(c.info.Mesos.URL, "http://"), "mesos://")
	for k, n := range c.info.Nodes {
		host, before := c.place(k)
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(n.REST, "http://"))
		_, web, _ := net.SplitHostPort(strings.TrimPrefix(n.WebUI, "http://"))
		args := append(slices.Clone(before), []string{
			c.opts.Binary, "serve", "--node-id", n.ID, "--data-dir", filepath.Join(c.opts.DataDir, n.ID),
			"--host", host, "--port", port, "--webui-port", web, "--master", "mesos://" + master,
			"--peers", strings.Join(peers, ","), "--ready-file", c.readyFile(n.ID),
		}...)
		for _, kv := range c.opts.Conf {
			args = append(args, "--conf", kv)
		}
		if c.opts.PropertiesFile != "" {
			args = append(args, "--properties-file", c.opts.PropertiesFile)
		}
		args = append(args, c.opts.NodeArgs...)
		c.nodes = append(c.nodes, &process{name: n.ID, args: args, log: c.logFile(n.ID), env: c.opts.Env})
	}
	return nil
}

// place tells the host of node k, and the words before its program.
func (c *Cluster) place(k int) (host string, before []string) {
	if c.opts.Place == nil {
		return "127.0.0.1", nil
	}
	return c.opts.Place(k)
}

// ports of node k: REST, web pages, other nodes.
func (c *Cluster) ports(k int) ([3]string, error) {
	var out [3]string
	if c.opts.Port != 0 {
		out[0] = strconv.Itoa(c.opts.Port + 10*k)
		out[2] = strconv.Itoa(c.opts.Port + 10*k + 1)
	}
	if c.opts.WebUIPort != 0 {
		out[1] = strconv.Itoa(c.opts.WebUIPort + 10*k)
	}
	for i := range out {
		if out[i] != "" {
			continue
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return out, err
		}
		defer ln.Close() // after all are chosen, so that no port is chosen twice
		_, out[i], _ = net.SplitHostPort(ln.Addr().String())
	}
	return out, nil
}

// StartNode starts node i, or starts it again on its data.
func (c *Cluster) StartNode(i int) error {
	os.Remove(c.readyFile(c.nodes[i].name))
	if err := c.nodes[i].start(); err != nil {
		return err
	}
	c.info.Nodes[i].PID = c.nodes[i].pid()
	return nil
}

// Kill sends SIGKILL to node i and waits for its end.
func (c *Cluster) Kill(i int) error { return c.Signal(i, syscall.SIGKILL, true) }

// Signal sends a signal to node i; wait: until it has ended.
func (c *Cluster) Signal(i int, sig syscall.Signal, wait bool) error {
	if err := c.nodes[i].signal(sig); err != nil {
		return err
	}
	if wait {
		<-c.nodes[i].ended()
	}
	return nil
}

// Running tells whether the process of node i lives.
func (c *Cluster) Running(i int) bool { return c.nodes[i].running() }

// Info of the cluster as it runs now.
func (c *Cluster) Info() Info { return c.info }

// Ended waits until a process of the cluster has ended, and names it.
func (c *Cluster) Ended(ctx context.Context, seen map[string]bool) (string, bool) {
	for {
		for _, p := range append([]*process{c.mesos}, c.nodes...) {
			if p != nil && !seen[p.name] && !p.running() {
				return p.name, true
			}
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// LogFile of a node or of "mesos".
func (c *Cluster) LogFile(name string) string { return c.logFile(name) }

// Close stops everything: the nodes in good order, then Mesos with its tasks.
func (c *Cluster) Close() {
	done := make(chan struct{})
	for _, p := range c.nodes {
		go func() {
			p.stop(15 * time.Second)
			done <- struct{}{}
		}()
	}
	for range c.nodes {
		<-done
	}
	if c.mesos != nil {
		c.mesos.stop(15 * time.Second)
	}
	os.Remove(c.infoFile())
}

func (c *Cluster) infoFile() string { return filepath.Join(c.opts.DataDir, "dev.json") }

func (c *Cluster) writeInfo() error {
	raw, err := json.MarshalIndent(c.info, "", "  ")
	if err != nil {
		return err
	}
	tmp := c.infoFile() + ".tmp"
	if err := os.WriteFile(tmp, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.infoFile())
}
