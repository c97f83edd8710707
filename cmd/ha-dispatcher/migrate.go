package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmaster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmigrate"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

type migrateFlags struct {
	client     clientFlags
	from, dir  string
	mesos      string
	quarantine string
	dryRun     bool
	force      bool
}

func newMigrate() *cobra.Command {
	var f migrateFlags
	c := &cobra.Command{
		Use:   "migrate --from-zookeeper zk://HOST:2181[,…][/CHROOT]",
		Short: "Take over the framework and the drivers of Spark's own dispatcher",
		Long: `Reads what Spark's dispatcher keeps in ZooKeeper (spark.deploy.recoveryMode=ZOOKEEPER)
and hands it to a new cluster, whose nodes run with
--conf spark.mesos.dispatcher.awaitMigration=true. Nothing in ZooKeeper is changed.

Stop the old dispatcher first; its drivers run on meanwhile. --dry-run tells what would
be done. Running it again is harmless. Drivers that have finished are not in ZooKeeper.
See docs/migration.md.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context()) },
	}
	f.client.register(c)
	fl := c.Flags()
	fl.StringVar(&f.from, "from-zookeeper", "", "zk://[USER:PASSWORD@]HOST:PORT[,…][/CHROOT] of the old dispatcher (spark.deploy.zookeeper.url)")
	fl.StringVar(&f.dir, "zk-dir", zkmigrate.DefaultDir, "its directory there (spark.deploy.zookeeper.dir)")
	fl.StringVar(&f.mesos, "mesos", "", "Mesos master, as for serve --master: asked whether the old dispatcher is still connected")
	fl.StringVar(&f.quarantine, "quarantine", "", "go on without the drivers that cannot be taken over, and write them to this file (JSON; may hold secrets)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "change nothing")
	fl.BoolVar(&f.force, "force", false, "go on although the old dispatcher seems to be alive")
	return c
}

func (f *migrateFlags) run(ctx context.Context) error {
	if f.from == "" {
		return usageError("--from-zookeeper is required: spark.deploy.zookeeper.url of the old dispatcher, with zk:// in front")
	}
	source, err := zkmigrate.ParseSource(f.from, f.dir)
	if err != nil {
		return usageError("--from-zookeeper: %v", err)
	}
	o := zkmigrate.Options{Source: source, DryRun: f.dryRun, Force: f.force, Partial: f.quarantine != "", Progress: progressTo(os.Stderr)}
	if f.quarantine != "" {
		o.Quarantined = f.keep
	}
	if f.mesos != "" {
		master, err := mesosutil.ParseMaster(f.mesos)
		if err != nil {
			return usageError("--mesos: %v", err)
		}
		o.Connected = func(ctx context.Context, id string) (bool, error) { return askMesos(ctx, master, id) }
	}
	return withClient(&f.client, func(cl *client.Client) error {
		report, err := zkmigrate.Run(ctx, o, cl)
		print := func() error { return report.WriteText(os.Stdout) }
		if f.client.json {
			print = func() error { return printJSON(os.Stdout, report) }
		}
		if report.FrameworkID != "" {
			err = errors.Join(err, print())
		}
		if errors.Is(err, zkmigrate.ErrQuarantine) {
			err = fmt.Errorf("%w. Make them possible (see the reasons; a queue is declared by --conf spark.mesos.dispatcher.queue.NAME=PRIORITY "+
				"on every node), or go on without them by --quarantine FILE", err)
		}
		return err
	})
}

// progressTo says how far a step is, once a second: a short one passes in silence.
func progressTo(w io.Writer) func(step string, done, total int) {
	var current string
	var said time.Time
	return func(step string, done, total int) {
		if done > 0 && step != current {
			current, said = step, time.Now()
		}
		if done > 0 && time.Since(said) < time.Second {
			return
		}
		said = time.Now()
		fmt.Fprintf(w, "%d of %d drivers %s\n", done, total, step)
	}
}

// keep writes the drivers that are left behind. The file is not overwritten: it
// may be the only record of an earlier run.
func (f *migrateFlags) keep(q []zkmigrate.Quarantined) error {
	raw, err := json.MarshalIndent(q, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(f.quarantine, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(raw, '\n'))
	return errors.Join(err, file.Sync(), file.Close())
}

func askMesos(ctx context.Context, m mesosutil.Master, frameworkID string) (bool, error) {
	c, scheme, err := mesosHTTP()
	if err != nil {
		return false, err
	}
	defer c.CloseIdleConnections()
	if m.Scheme != "" {
		scheme = m.Scheme
	}
	hosts := slices.Clone(m.Hosts)
	for i, h := range hosts {
		hosts[i] = scheme + "://" + h
	}
	if m.ZooKeeper {
		d, err := zkmaster.New(m, zkmaster.Options{HTTPS: scheme == "https"})
		if err != nil {
			return false, err
		}
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		if hosts, err = d.Detect(ctx, nil); err != nil {
			return false, err
		}
	}
	return zkmigrate.AskMesos(c, hosts...)(ctx, frameworkID)
}

// mesosHTTP is how to ask Mesos, and the scheme of masters that are named without
// one: TLS as for the nodes, by libprocess's variables.
func mesosHTTP() (c *http.Client, scheme string, err error) {
	secure, err := (&node.Config{Logger: slog.Default()}).MesosTLS()
	if secure != nil {
		scheme = "https"
	} else {
		scheme = "http"
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: secure, Proxy: http.ProxyFromEnvironment}}, scheme, err
}
