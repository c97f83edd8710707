package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func newApps() *cobra.Command {
	var stale bool
	c := appVerb("apps", "List applications in client mode, or look at one and change it", cobra.NoArgs,
		func(ctx context.Context, cl *client.Client, _ []string, asJSON bool) error {
			list, err := cl.Apps(ctx, stale)
			if err != nil {
				return err
			}
			return show(asJSON, list.Applications, func(w io.Writer) { writeApps(w, list.Applications) })
		})
	c.Flags().BoolVar(&stale, "stale", false, "what any node knows will do, even without a leader")
	c.AddCommand(newAppStatus(), newAppExecutors(), newAppEvents(), newAppStop(), newAppScale(), newAppKill(), newAppExclude(), newAppAdmit())
	return c
}

// appVerb is a command that asks a server about applications.
func appVerb(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error) *cobra.Command {
	var cf clientFlags
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  args,
		RunE: func(c *cobra.Command, args []string) error {
			return withClient(&cf, func(cl *client.Client) error { return do(c.Context(), cl, args, cf.json) })
		},
	}
	cf.register(c)
	return c
}

// show prints v for programs, or a table for people.
func show(asJSON bool, v any, table func(w io.Writer)) error {
	if asJSON {
		return printJSON(os.Stdout, v)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func writeApps(w io.Writer, apps []api.AppStatus) {
	fmt.Fprintln(w, "ID\tSTATE\tRUNNING\tLIVE\tWANTED\tCORES\tREGISTERED\tNAME")
	for i := range apps {
		a := &apps[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%d\t%s\t%s\n", a.ID, a.State, a.Running, a.Live, wanted(a), a.Cores,
			a.RegisteredAt.Local().Format(time.DateTime), plain(a.Name))
	}
}

// unlimited is the total of an application that takes what it gets.
const unlimited = 1<<31 - 1

func wanted(a *api.AppStatus) string {
	total := int64(0)
	for _, p := range a.Totals {
		total += p.Total
	}
	return number(total)
}

func number(total int64) string {
	if total >= unlimited {
		return "any"
	}
	return fmt.Sprint(total)
}

func newAppStatus() *cobra.Command {
	return appVerb("status APP-ID", "Show how one application stands", cobra.ExactArgs(1),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			a, err := cl.App(ctx, args[0])
			if err != nil {
				return err
			}
			return show(asJSON, a, func(w io.Writer) { writeApp(w, a) })
		})
}

func writeApp(w io.Writer, a *api.AppStatus) {
	row := func(name string, value any) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, plain(fmt.Sprint(value)))
		}
	}
	row("id", a.ID)
	row("application id", a.ApplicationID)
	row("name", a.Name)
	row("user", a.User)
	row("state", a.State)
	row("reason", a.Reason)
	row("problem", a.Problem)
	row("executors", fmt.Sprintf("%d running, %d draining, %d live; %s wanted", a.Running, a.Draining, a.Live, wanted(a)))
	row("cores, gpus", fmt.Sprintf("%d, %d", a.Cores, a.GPUs))
	row("registered", a.RegisteredAt.Local().Format(time.DateTime))
	row("driver heard", fmt.Sprintf("%s; given up after %s of silence", a.HeardAt.Local().Format(time.DateTime),
		time.Duration(a.FailoverTimeoutMs)*time.Millisecond))
	if a.StoppedAt != nil {
		row("stopped", a.StoppedAt.Local().Format(time.DateTime))
	}
	row("leader", strings.TrimSpace(a.Leader+" "+a.LeaderURL))
	for _, p := range a.Totals {
		row(fmt.Sprintf("profile %d", p.Profile), number(p.Total)+" wanted")
	}
	for _, reason := range slices.Sorted(maps.Keys(a.HeldBack)) {
		row("offers declined", fmt.Sprintf("%d: %s", a.HeldBack[reason], reason))
	}
	for _, x := range a.Exclusions {
		until := "for good"
		if x.Until != nil {
			until = "until " + x.Until.Local().Format(time.DateTime)
		}
		row("excluded", strings.TrimSpace(x.Host+" "+x.AgentID)+" "+until+": "+x.Reason)
	}
}

func newAppExecutors() *cobra.Command {
	return appVerb("executors APP-ID", "List the executors that live, and the latest that are over", cobra.ExactArgs(1),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			list, err := cl.AppExecutors(ctx, args[0])
			if err != nil {
				return err
			}
			return show(asJSON, list.Executors, func(w io.Writer) {
				fmt.Fprintln(w, "ID\tSTATE\tPROFILE\tHOST\tCORES\tMIB\tLAUNCHED\tENDED\tREASON")
				for _, e := range list.Executors {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\t%s\n", e.ID, e.State, e.Profile, e.Host, e.Cores, e.MemMiB,
						clock(&e.LaunchedAt), clock(e.EndedAt), plain(e.Reason))
				}
			})
		})
}

func newAppEvents() *cobra.Command {
	var since uint64
	c := appVerb("events APP-ID", "Follow what happens to one application, until it is over", cobra.ExactArgs(1),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			// Whoever looks on must not keep an application alive.
			for e, err := range cl.AppEvents(ctx, args[0], client.AppEventsOptions{Since: since, Observer: true}) {
				switch {
				case err != nil && ctx.Err() != nil:
					return nil
				case err != nil:
					return err
				case asJSON:
					if err := printLine(os.Stdout, e); err != nil {
						return err
					}
				default:
					fmt.Println(appEventLine(&e))
				}
			}
			return nil
		})
	c.Flags().Uint64Var(&since, "since", 0, "number of the last change known; 0 begins with how things are")
	return c
}

func appEventLine(e *api.AppEvent) string {
	at, what := "            ", ""
	if !e.At.IsZero() {
		at = e.At.Local().Format("15:04:05.000")
	}
	switch {
	case e.Executor != nil:
		what = fmt.Sprintf("%s on %s  %s", e.Executor.ID, e.Executor.Host, e.Executor.State)
	case e.App != nil:
		what = fmt.Sprintf("%s  %s", e.App.ID, e.App.State)
	}
	return strings.TrimRight(fmt.Sprintf("%s  %-9s %-10s %s  %s", at, e.Type, e.Event, what, plain(e.Reason)), " ")
}
