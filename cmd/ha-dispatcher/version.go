package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of the formats that it writes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return printJSON(os.Stdout, map[string]any{
					"version": version, "go": runtime.Version(), "commands": fsm.CommandVersion, "snapshot": fsm.SnapshotVersion,
				})
			}
			fmt.Printf("ha-dispatcher %s (%s; command set %d, snapshot format %d)\n", version, runtime.Version(), fsm.CommandVersion, fsm.SnapshotVersion)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return c
}
