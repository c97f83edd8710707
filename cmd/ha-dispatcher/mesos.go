package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func newMesos() *cobra.Command {
	var f struct {
		host, resources, attributes, workDir, readyFile string
		port, agents                                    int
		verbose                                         bool
	}
	c := &cobra.Command{
		Use:   "mesos",
		Short: "Run a small Mesos on this machine, for trying things",
		Long: `Runs a small Mesos master and some agents in one process. It speaks the v1 scheduler
API and runs tasks as ordinary processes of this user, without any isolation. It is
for laptops and tests; a cluster runs the real Mesos.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			opts := localmesos.Options{
				Addr: net.JoinHostPort(f.host, strconv.Itoa(f.port)), Agents: f.agents,
				Resources: f.resources, Attributes: f.attributes, WorkDir: f.workDir,
			}
			if !isLoopback(f.host) {
				return usageError("--host %s: only loopback is served, because whoever reaches this Mesos can run commands here", f.host)
			}
			if f.verbose {
				opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
			}
			return runMesos(c.Context(), opts, f.readyFile)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.host, "host", "127.0.0.1", "loopback address to listen on")
	fl.IntVar(&f.port, "port", 5050, "port; 0 takes any")
	fl.IntVar(&f.agents, "agents", 2, "number of agents")
	fl.StringVar(&f.resources, "resources", "", "resources of each agent (default 'cpus:4;mem:4096;disk:8192' and ports)")
	fl.StringVar(&f.attributes, "attributes", "", "attributes of each agent, such as 'rack:a;os:debian'")
	fl.StringVar(&f.workDir, "work-dir", "", "directory of the sandboxes (default: a temporary one, removed at the end)")
	fl.StringVar(&f.readyFile, "ready-file", "", "file to write the URL to (JSON) as soon as it serves")
	fl.BoolVar(&f.verbose, "verbose", false, "log what the master and the agents do")
	return c
}

func runMesos(ctx context.Context, opts localmesos.Options, readyFile string) error {
	m, err := localmesos.Start(ctx, opts)
	if err != nil {
		return err
	}
	if readyFile != "" {
		raw, _ := json.Marshal(map[string]any{"url": m.URL(), "pid": os.Getpid()})
		if err := writeAtomically(readyFile, append(raw, '\n')); err != nil {
			m.Close()
			return err
		}
	}
	fmt.Printf("mesos master at %s, sandboxes in %s\nready\n", m.URL(), m.WorkDir())
	<-ctx.Done()
	return m.Close()
}

// writeAtomically lets a reader see the whole file or none of it.
func writeAtomically(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
