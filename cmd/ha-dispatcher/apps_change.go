package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

// committed prints that a change of an application is committed.
func committed(asJSON bool, id, text string) error {
	return show(asJSON, api.AppReceipt{ID: id, Committed: true}, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", id, text) })
}

func newAppStop() *cobra.Command {
	var reason string
	c := appVerb("stop APP-ID", "Stop an application, with its executors", cobra.ExactArgs(1),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			if err := cl.StopApp(ctx, args[0], reason); err != nil {
				return err
			}
			return committed(asJSON, args[0], "is being stopped")
		})
	c.Flags().StringVar(&reason, "reason", "stopped by an operator", "told in its status and events")
	return c
}

func newAppScale() *cobra.Command {
	var profile uint32
	c := appVerb("scale APP-ID N", "Say how many executors of a resource profile are wanted in all", cobra.ExactArgs(2),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			n, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || n < 0 || n > unlimited {
				return usageError("%s: a number from 0 to %d is wanted", args[1], unlimited)
			}
			a, err := cl.App(ctx, args[0])
			if err != nil {
				return err
			}
			t := api.AppTotals{Totals: withTotal(a.Totals, profile, n), Hosts: make(map[string]int)}
			for _, host := range a.Hosts { // they are replaced together
				t.Hosts[host] = 1
			}
			if err := cl.SetAppTotals(ctx, args[0], t); err != nil {
				return err
			}
			return committed(asJSON, args[0], fmt.Sprintf("%d executors of profile %d are wanted", n, profile))
		})
	c.Long = `Says how many executors of a resource profile are wanted in all; the other profiles stay
as they are. The application's own driver may ask for another number at any time.
Fewer than there are ends none: name those to end with 'apps kill'.`
	c.Flags().Uint32Var(&profile, "profile", 0, "resource profile; 0 is the default one")
	return c
}

// withTotal is totals with n of one profile.
func withTotal(totals []api.ProfileTotal, profile uint32, n int64) []api.ProfileTotal {
	out := slices.Clone(totals)
	for i := range out {
		if out[i].Profile == 0 { // its amounts are the application's, and cannot be asked for
			out[i] = api.ProfileTotal{Total: out[i].Total}
		}
	}
	for i := range out {
		if out[i].Profile == profile {
			out[i].Total = n
			return out
		}
	}
	return append(out, api.ProfileTotal{Profile: profile, Total: n})
}

func newAppKill() *cobra.Command {
	return appVerb("kill APP-ID EXECUTOR…", "End executors; others take their place while so many are wanted", cobra.MinimumNArgs(2),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			if err := cl.KillExecutors(ctx, args[0], args[1:]...); err != nil {
				return err
			}
			return committed(asJSON, args[0], fmt.Sprintf("%d executors are being ended", len(args)-1))
		})
}

func newAppExclude() *cobra.Command {
	var e api.AppExclude
	var duration time.Duration
	c := appVerb("exclude APP-ID HOST", "Launch no further executors on a host", cobra.ExactArgs(2),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			e.Host, e.DurationMs = args[1], duration.Milliseconds()
			if err := cl.ExcludeHost(ctx, args[0], e); err != nil {
				return err
			}
			return committed(asJSON, args[0], "launches nothing further on "+e.Host)
		})
	c.Flags().DurationVar(&duration, "for", 0, "for how long; 0: for good")
	c.Flags().StringVar(&e.Reason, "reason", "excluded by an operator", "told in its status and events")
	return c
}

func newAppAdmit() *cobra.Command {
	return appVerb("admit APP-ID HOST", "Take the exclusion of a host back", cobra.ExactArgs(2),
		func(ctx context.Context, cl *client.Client, args []string, asJSON bool) error {
			if err := cl.AdmitHost(ctx, args[0], args[1]); err != nil {
				return err
			}
			return committed(asJSON, args[0], "may launch on "+args[1])
		})
}
