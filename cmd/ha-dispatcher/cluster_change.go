package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// change makes a verb that changes the cluster and prints it afterwards.
func change(use, short, long string, args cobra.PositionalArgs, flags func(*cobra.Command),
	do func(context.Context, *client.Client, []string) (*api.Cluster, error)) *cobra.Command {
	var cf clientFlags
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			return withClient(&cf, func(cl *client.Client) error {
				out, err := do(c.Context(), cl, args)
				if err != nil {
					return err
				}
				if cf.json {
					return printJSON(os.Stdout, out)
				}
				return printMembers(out)
			})
		},
	}
	cf.register(c)
	if flags != nil {
		flags(c)
	}
	return c
}

func newJoin() *cobra.Command {
	nonVoter := false
	return change("join NODE-ID RAFT-ADDRESS", "Take a node into the cluster",
		`Start the new node first, with its --node-id and --raft-addr, an empty data directory and
'--peers none': it then waits to be joined. Then ask any member to take it in. The verb
returns when the node has caught up.`,
		cobra.ExactArgs(2),
		func(c *cobra.Command) {
			c.Flags().BoolVar(&nonVoter, "non-voter", false, "it gets the log and has no vote")
		},
		func(ctx context.Context, c *client.Client, args []string) (*api.Cluster, error) {
			return c.Join(ctx, args[0], args[1], !nonVoter)
		})
}

func newRemove() *cobra.Command {
	return change("remove NODE-ID", "Take a node out of the cluster",
		"A node that is not coming back still counts towards the majority until it is removed.",
		cobra.ExactArgs(1), nil,
		func(ctx context.Context, c *client.Client, args []string) (*api.Cluster, error) {
			return c.Remove(ctx, args[0])
		})
}

func newTransfer() *cobra.Command {
	return change("transfer [NODE-ID]", "Hand leadership to another node",
		"Without a node, to whoever is best placed.", cobra.MaximumNArgs(1), nil,
		func(ctx context.Context, c *client.Client, args []string) (*api.Cluster, error) {
			return c.Transfer(ctx, firstOf(args...))
		})
}

func newResetFramework() *cobra.Command {
	return change("reset-framework", "Go on with a new framework id after Mesos has removed the old one",
		`Mesos removes a framework that stayed away for longer than its failover timeout, or that
somebody tore down, and ends its tasks. Drivers that were running are LOST by this; supervised
ones start again under the new id. It is refused while the framework is not removed.`,
		cobra.NoArgs, nil,
		func(ctx context.Context, c *client.Client, _ []string) (*api.Cluster, error) {
			return c.ResetFramework(ctx)
		})
}

func newSnapshot() *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "Save the whole state to a file, or restore it"}
	c.AddCommand(newSnapshotSave(), newSnapshotRestore())
	return c
}

func newSnapshotSave() *cobra.Command {
	var cf clientFlags
	var offline string
	c := &cobra.Command{
		Use:   "save FILE",
		Short: "Save the whole state; the file holds secrets of submissions",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if offline != "" {
				return exportOffline(offline, args[0])
			}
			return withClient(&cf, func(cl *client.Client) error {
				return writeWhole(args[0], func(f *os.File) error { return cl.SaveSnapshot(c.Context(), f) })
			})
		},
	}
	cf.registerServers(c)
	c.Flags().StringVar(&offline, "offline", "", "data directory of a stopped node to save from, instead of asking a server")
	return c
}

func newSnapshotRestore() *cobra.Command {
	var cf clientFlags
	yes := false
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the whole state by a saved one",
		Long: `Every driver that is not in the file is forgotten; its task goes on in Mesos, and nobody
looks after it. Wants --yes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !yes {
				return usageError("this replaces the state of the whole cluster; say --yes if that is meant")
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			return withClient(&cf, func(cl *client.Client) error { return cl.RestoreSnapshot(c.Context(), f) })
		},
	}
	cf.registerServers(c)
	c.Flags().BoolVar(&yes, "yes", false, "it is meant")
	return c
}

// writeWhole leaves the whole file there, or none: a snapshot that was cut short
// must not be taken for one.
func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".snapshot-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return os.Rename(f.Name(), path)
}
