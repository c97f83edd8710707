package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func newStatus() *cobra.Command {
	var cf clientFlags
	c := &cobra.Command{
		Use:   "status DRIVER-ID",
		Short: "Show one driver with all of its attempts",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withClient(&cf, func(cl *client.Client) error {
				d, err := cl.Get(c.Context(), args[0])
				if err != nil {
					return err
				}
				if cf.json {
					return printJSON(os.Stdout, d)
				}
				return printDriver(os.Stdout, d)
			})
		},
	}
	cf.register(c)
	return c
}

func printDriver(out io.Writer, d *api.Driver) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%s\n", name, plain(fmt.Sprint(value))) }
	row("id", d.ID)
	row("state", d.State)
	if d.Reason != "" {
		row("reason", d.Reason)
	}
	row("name", d.Name)
	row("queue", d.Queue)
	row("cores, memory", fmt.Sprintf("%g, %d MiB", d.Cores, d.MemMiB))
	row("supervised", d.Supervise)
	row("submitted", d.SubmittedAt.Local().Format(time.DateTime))
	if d.NextRetryAt != nil {
		row("next attempt", d.NextRetryAt.Local().Format(time.DateTime))
	}
	if d.FinishedAt != nil {
		row("ended", d.FinishedAt.Local().Format(time.DateTime))
	}
	if err := w.Flush(); err != nil || len(d.Attempts) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nATTEMPT\tTASK\tAGENT\tSTARTED\tENDED\tSTATUS")
	for _, a := range d.Attempts {
		status := ""
		if a.Status != nil {
			status = a.Status.State + " " + plain(a.Status.Message)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", a.Number, a.TaskID, a.AgentHost, clock(a.StartedAt), clock(a.EndedAt), status)
	}
	return w.Flush()
}

func clock(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.TimeOnly)
}
