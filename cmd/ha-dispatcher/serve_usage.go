package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serveGroups are the flags of serve as its usage shows them. Those that no
// group lists come in the last one.
var serveGroups = []struct {
	title string
	flags []string
}{
	{"Options of Spark's dispatcher", []string{"host", "port", "webui-port", "name", "master", "zk", "properties-file", "conf", "verbose", "help"}},
	{"Replication", []string{"node-id", "data-dir", "raft-addr", "raft-advertise", "peers", "profile", "raft-cert", "raft-key", "raft-ca"}},
	{"Access", []string{"rest-cert", "rest-key", "rest-client-ca", "webui-cert", "webui-key", "auth-tokens", "auth-reads",
		"allow-unauthenticated", "allow-from", "trust-from"}},
	{"Further options", nil},
}

// serveUsage prints what users of MesosClusterDispatcher know first.
func serveUsage(c *cobra.Command) error {
	out := c.OutOrStderr()
	fmt.Fprintf(out, "Usage: MesosClusterDispatcher [options]\n  here: %s\n", c.UseLine())
	shown := map[string]bool{}
	for i, g := range serveGroups {
		group := new(cobra.Command).Flags()
		group.SortFlags = false
		for _, name := range g.flags {
			group.AddFlag(c.Flags().Lookup(name))
			shown[name] = true
		}
		if i == len(serveGroups)-1 {
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if !shown[f.Name] {
					group.AddFlag(f)
				}
			})
		}
		fmt.Fprintf(out, "\n%s:\n%s", g.title, group.FlagUsagesWrapped(120))
	}
	return nil
}
