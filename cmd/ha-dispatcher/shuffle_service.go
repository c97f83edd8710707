package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
)

type shuffleFlags struct {
	host, dataDir, logFormat, readyFile string
	port, webuiPort                     int
	verbose                             bool
	conf                                propertyFlags
}

func newShuffleService() *cobra.Command {
	var f shuffleFlags
	c := &cobra.Command{
		Use:   "shuffle-service",
		Short: "Run the external shuffle service of one agent host",
		Long: `Serves the shuffle files of executors on this host, in place of Spark's
MesosExternalShuffleService and with the same protocol. Applications use it with
spark.shuffle.service.enabled=true. It must see the executors' local directories under
their own paths and run as their user or as root. See docs/shuffle.md.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	fl := c.Flags()
	fl.StringVar(&f.host, "host", "", "address to listen on (default: all)")
	fl.IntVar(&f.port, "port", 7337, "port for executors and drivers; goes before spark.shuffle.service.port; 0 takes any")
	fl.IntVar(&f.webuiPort, "webui-port", 7338, "port of /healthz and /metrics; 0 takes any, -1 none")
	fl.StringVar(&f.dataDir, "data-dir", "ha-dispatcher-shuffle", "directory of the registrations, which survive a restart")
	fl.StringVar(&f.conf.file, "properties-file", "", propertiesUsage)
	fl.StringArrayVar(&f.conf.conf, "conf", nil, confUsage)
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.StringVar(&f.readyFile, "ready-file", "", "file to write the addresses to (JSON) as soon as it serves")
	fl.BoolVar(&f.verbose, "verbose", false, "log more")
	return c
}

func (f *shuffleFlags) config(c *cobra.Command) (shuffle.Config, error) {
	props, _, err := f.conf.load()
	if err != nil {
		return shuffle.Config{}, err
	}
	cfg, err := shuffle.FromProperties(props.Map())
	if err != nil {
		return cfg, &exitError{exitUsage, err}
	}
	port := strconv.Itoa(f.port)
	if _, configured, err := net.SplitHostPort(cfg.Addr); err == nil && !c.Flags().Changed("port") {
		port = configured
	}
	cfg.Addr, cfg.DataDir = net.JoinHostPort(f.host, port), f.dataDir
	if f.webuiPort >= 0 {
		cfg.HTTPAddr = net.JoinHostPort(f.host, strconv.Itoa(f.webuiPort))
	}
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if f.verbose {
		opts.Level = slog.LevelDebug
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, opts))
	if f.logFormat == "json" {
		cfg.Log = slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return cfg, nil
}

func (f *shuffleFlags) run(c *cobra.Command) error {
	cfg, err := f.config(c)
	if err != nil {
		return err
	}
	s, err := shuffle.New(cfg)
	if err != nil {
		return err
	}
	addresses := map[string]any{"addr": s.Addr().String(), "pid": os.Getpid()}
	if s.HTTPAddr() != nil {
		addresses["http"] = s.HTTPAddr().String()
	}
	if f.readyFile != "" {
		raw, _ := json.Marshal(addresses)
		if err := writeAtomically(f.readyFile, append(raw, '\n')); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	fmt.Printf("shuffle service at %v, health and metrics at %v\nready\n", addresses["addr"], addresses["http"])
	return errors.Join(s.Serve(c.Context()), s.Close())
}
