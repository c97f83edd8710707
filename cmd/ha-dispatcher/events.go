package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
)

func newEvents() *cobra.Command {
	var cf clientFlags
	var since uint64
	c := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens, as it happens",
		Long:  "Follows what happens, as it happens, until it is stopped. With --json each line is an object.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("since") {
				since = client.FromNow
			}
			return withClient(&cf, func(cl *client.Client) error {
				for e, err := range cl.Events(c.Context(), since) {
					if err != nil {
						if c.Context().Err() != nil {
							return nil
						}
						return err
					}
					if cf.json {
						if err := printLine(os.Stdout, e); err != nil {
							return err
						}
						continue
					}
					fmt.Printf("%s  %-9s %-10s %s  %s → %s  %s\n", e.At.Local().Format("15:04:05.000"), e.Type, e.Event, e.ID, e.From, e.To, plain(e.Reason))
				}
				return nil
			})
		},
	}
	cf.register(c)
	c.Flags().Uint64Var(&since, "since", 0, "number of the last change known (default: from now on)")
	return c
}
