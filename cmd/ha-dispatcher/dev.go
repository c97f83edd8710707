package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
)

func newDev() *cobra.Command {
	var o devcluster.Options
	var backends bool
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine: a small Mesos and three nodes",
		Long: `Starts a small Mesos and some nodes, each as a process of its own on loopback, writes
DIR/dev.json as soon as a leader is subscribed, prints "ready", and stops all of them
when it is stopped itself. Kill a node and see the others go on.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if backends {
				o.NodeArgs = append(o.NodeArgs, "--backends")
			}
			temporary := o.DataDir == ""
			if temporary {
				dir, err := os.MkdirTemp("", "ha-dispatcher-dev-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				o.DataDir = dir
			}
			return runDev(c.Context(), o)
		},
	}
	fl := c.Flags()
	fl.IntVar(&o.Nodes, "nodes", 3, "number of nodes")
	fl.IntVar(&o.Agents, "agents", 2, "number of agents of the small Mesos")
	fl.IntVar(&o.Port, "port", 7077, "REST port of the first node; node k has it plus 10(k-1)")
	fl.IntVar(&o.WebUIPort, "webui-port", 8081, "port of the first node's pages; node k has it plus 10(k-1)")
	fl.StringVar(&o.DataDir, "data-dir", "", "directory of everything (default: a temporary one, removed at the end)")
	fl.StringVar(&o.MesosURL, "mesos", "", "URL of a Mesos to use instead of the small one")
	fl.IntVar(&o.MesosPort, "mesos-port", 0, "port of the small Mesos; 0 takes any")
	fl.StringVar(&o.Resources, "resources", "", "resources of each agent, such as 'cpus:4;mem:4096'")
	fl.StringVar(&o.Attributes, "attributes", "", "attributes of each agent, such as 'rack:a'")
	fl.StringArrayVar(&o.Conf, "conf", nil, "property KEY=VALUE for the nodes")
	fl.BoolVar(&backends, "backends", false, "let the nodes host the scheduler backends of applications in client mode")
	fl.StringVar(&o.PropertiesFile, "properties-file", "", "file of spark.* properties for the nodes")
	return c
}

func runDev(ctx context.Context, o devcluster.Options) error {
	fmt.Fprintln(os.Stderr, "starting a cluster on this machine …")
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cluster, err := devcluster.Start(starting, o)
	if err != nil {
		return err
	}
	defer cluster.Close()
	info := cluster.Info()
	fmt.Printf("mesos      %s\n", info.Mesos.URL)
	for _, n := range info.Nodes {
		fmt.Printf("node %-5s rest %s  pages %s  pid %d\n", n.ID, n.REST, n.WebUI, n.PID)
	}
	fmt.Println("ready")
	seen := make(map[string]bool)
	for {
		name, ended := cluster.Ended(ctx, seen)
		if !ended {
			fmt.Fprintln(os.Stderr, "stopping …")
			return nil
		}
		seen[name] = true
		fmt.Fprintf(os.Stderr, "%s has ended; its log is %s\n", name, cluster.LogFile(name))
	}
}
