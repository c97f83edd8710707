package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
)

func newKill() *cobra.Command {
	var cf clientFlags
	c := &cobra.Command{
		Use:   "kill DRIVER-ID…",
		Short: "End drivers, whatever they are doing",
		Long:  "Ends drivers, whatever they are doing. With --json each driver that was killed is a line.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withClient(&cf, func(cl *client.Client) error {
				var errs []error
				for _, id := range args {
					reply, err := cl.Kill(c.Context(), id, client.NewKey())
					if err != nil {
						errs = append(errs, fmt.Errorf("%s: %w", id, err))
						continue
					}
					if cf.json {
						errs = append(errs, printLine(os.Stdout, reply))
					} else {
						fmt.Printf("%s: %s\n", id, reply.Message)
					}
				}
				return errors.Join(errs...)
			})
		},
	}
	cf.register(c)
	return c
}
