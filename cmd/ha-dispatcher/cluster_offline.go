package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// inspectOffline prints what a stopped node knows.
func inspectOffline(dataDir string, asJSON bool) error {
	info, err := raftstore.Inspect(dataDir)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(os.Stdout, info)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tVOTER\tRAFT")
	for _, m := range info.Members {
		fmt.Fprintf(w, "%s\t%t\t%s\n", m.ID, m.Voter, m.Addr)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nnode %s: term %d, log entries %d to %d, snapshot at entry %d (%d bytes)\n",
		info.NodeID, info.Term, info.FirstIndex, info.LastIndex, info.SnapshotIndex, info.SnapshotSize)
	return nil
}

// exportOffline saves the state of a stopped node.
func exportOffline(dataDir, file string) error {
	return writeWhole(file, func(f *os.File) error {
		return raftstore.ExportSnapshot(dataDir, node.MachineName, dispatcher.Machine{State: fsm.New()}, f)
	})
}

func newRecover() *cobra.Command {
	var dataDir, peers string
	yes := false
	c := &cobra.Command{
		Use:   "recover --offline DIR --peers id=raftaddr,… --yes",
		Short: "Give a stopped node a new membership by force, when the majority is lost for good",
		Long: `For the day on which so many nodes are lost that no majority is left. Stop all survivors,
run this on each with the same --peers (or on the best one alone, and join fresh nodes
later), then start them. Entries that were never acknowledged may come to count.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := parsePeers(peers)
			if err != nil {
				return err
			}
			if dataDir == "" || len(list) == 0 || !yes {
				return usageError("--offline, --peers and --yes are wanted")
			}
			var members []raftstore.Peer
			for _, p := range list {
				members = append(members, raftstore.Peer{ID: p.ID, Addr: p.Raft})
			}
			if err := raftstore.RecoverPeers(dataDir, dispatcher.Machine{State: fsm.New()}, members); err != nil {
				return err
			}
			fmt.Printf("%s: the members are now %s\n", dataDir, strings.ReplaceAll(peers, ",", ", "))
			return nil
		},
	}
	c.Flags().StringVar(&dataDir, "offline", "", "data directory of the stopped node")
	c.Flags().StringVar(&peers, "peers", "", "the members from now on")
	c.Flags().BoolVar(&yes, "yes", false, "it is meant")
	return c
}
