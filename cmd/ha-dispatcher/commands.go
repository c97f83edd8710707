package main

import "github.com/spf13/cobra"

// commands are the verbs, each in a file of its own name.
func commands() []*cobra.Command {
	return []*cobra.Command{newServe(), newDev(), newMesos(), newSubmit(), newStatus(), newKill(), newList(), newLogs(), newEvents(), newApps(), newCluster(), newMigrate(), newBench(), newShuffleService(), newExecutor(), newVersion()}
}
