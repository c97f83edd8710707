package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func newList() *cobra.Command {
	var cf clientFlags
	var o client.ListOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List drivers, the latest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Limit < 0 {
				return usageError("--limit %d: a number from 0 is wanted", o.Limit)
			}
			return withClient(&cf, func(cl *client.Client) error { return list(c.Context(), cl, o, cf.json) })
		},
	}
	cf.register(c)
	fl := c.Flags()
	fl.StringSliceVar(&o.States, "state", nil, "only these states, such as RUNNING,QUEUED")
	fl.StringVar(&o.Queue, "queue", "", "only this queue")
	fl.StringVar(&o.Text, "search", "", "only with this text in id, name, main class or user")
	fl.IntVar(&o.Limit, "limit", 100, "at most so many; 0: all")
	fl.BoolVar(&o.Stale, "stale", false, "what any node knows will do, even without a leader")
	return c
}

func list(ctx context.Context, c *client.Client, o client.ListOptions, asJSON bool) error {
	limit := o.Limit
	o.Limit = min(limit, 1000)
	drivers := []api.Summary{}
	for d, err := range c.Drivers(ctx, o) {
		if err != nil {
			return err
		}
		if drivers = append(drivers, d); limit > 0 && len(drivers) >= limit {
			break
		}
	}
	if asJSON {
		return printJSON(os.Stdout, drivers)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tSUBMITTED\tATTEMPTS\tAGENT\tNAME")
	for _, d := range drivers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", d.ID, d.State, d.SubmittedAt.Local().Format(time.DateTime), d.AttemptCount, d.AgentHost, plain(d.Name))
	}
	return w.Flush()
}
