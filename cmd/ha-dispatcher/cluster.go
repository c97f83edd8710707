package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// newCluster is what operators do with the nodes.
func newCluster() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "See and change the cluster of nodes"}
	c.AddCommand(newMembers(), newHealth(), newJoin(), newRemove(), newTransfer(), newSnapshot(), newResetFramework(), newRecover())
	return c
}

func newMembers() *cobra.Command {
	var cf clientFlags
	var offline string
	c := &cobra.Command{
		Use:   "members",
		Short: "List the nodes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if offline != "" {
				return inspectOffline(offline, cf.json)
			}
			return withClient(&cf, func(cl *client.Client) error {
				out, err := cl.Cluster(c.Context())
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
	c.Flags().StringVar(&offline, "offline", "", "data directory of a stopped node to ask instead of a server")
	return c
}

func printMembers(c *api.Cluster) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tROLE\tHEALTHY\tRAFT\tREST\tVERSION\tPROBLEM")
	for _, n := range c.Nodes {
		role := "follower"
		switch {
		case n.ID == c.Leader:
			role = "leader"
		case !n.Voter:
			role = "non-voter"
		}
		fmt.Fprintf(w, "%s\t%s\t%t\t%s\t%s\t%s\t%s\n", n.ID, role, n.Healthy, n.Raft, n.REST, n.Version, n.Problem)
	}
	return w.Flush()
}

func newHealth() *cobra.Command {
	var cf clientFlags
	c := &cobra.Command{
		Use:   "health",
		Short: "Tell whether the cluster can take submissions, and survive the loss of a node",
		Long: `Exit code 0: all nodes are well and Mesos is subscribed. 1: something is wrong, but
submissions are taken. 3: no submission is taken.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withClient(&cf, func(cl *client.Client) error { return health(c.Context(), cl, cf.json) })
		},
	}
	cf.register(c)
	return c
}

func health(ctx context.Context, c *client.Client, asJSON bool) error {
	cl, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	voters, well := 0, 0
	problems := []string{} // a list in JSON, even without any
	for _, n := range cl.Nodes {
		if n.Voter {
			voters++
			if n.Healthy {
				well++
			}
		}
		if !n.Healthy {
			problems = append(problems, fmt.Sprintf("%s is not healthy: %s (last heard of %s)", n.ID, n.Problem, n.LastContact.Format(time.DateTime)))
		}
	}
	if cl.Leader == "" {
		problems = append(problems, "no leader is known")
	}
	if cl.Framework.State != "SUBSCRIBED" {
		problems = append(problems, "the framework is "+cl.Framework.State)
	}
	spare := well - (voters/2 + 1)
	if asJSON {
		err = printJSON(os.Stdout, map[string]any{
			"leader": cl.Leader, "framework": cl.Framework, "voters": voters, "healthyVoters": well, "canLose": max(spare, 0), "problems": problems,
		})
	} else {
		fmt.Printf("leader %s, framework %s %s, %d of %d voters healthy, can lose %d\n", cl.Leader, cl.Framework.ID, cl.Framework.State, well, voters, max(spare, 0))
		for _, p := range problems {
			fmt.Println("problem:", p)
		}
	}
	switch {
	case err != nil:
		return err
	case cl.Leader == "" || cl.Framework.ID == "" || cl.Framework.State == string(fsm.FrameworkRemoved):
		return &exitError{exitUnavailable, errors.New("no submission is taken")}
	case len(problems) > 0:
		return &exitError{exitFailed, nil}
	}
	return nil
}
