// Command bench measures this project and writes tables: `make bench` and
// `make bench-peers`. What it runs are real processes on this machine; what it
// compares, it measures in turns within the same run, because two runs see two
// different machines.
//
// It needs bin/ha-dispatcher, and for the section "peer" a directory with the
// scripts of the peer systems, which it copies into the cache and sets up there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings of one run of this program.
type settings struct {
	binary  string
	peer    string // directory of the peer's scripts
	rounds  int    // of each throughput measurement; the median counts
	kills   int    // failovers of each kind
	seconds time.Duration
	drivers int // retained, for the memory

	retained, queued, agents int // of the largest state of the section scale
	pprof                    string
}

// section is one group of measurements.
type section struct {
	name string
	run  func(context.Context, *settings) ([]*table, error)
}

var sections = []section{
	{"propose", propose},
	{"rest", restRates},
	{"failover", failovers},
	{"memory", memory},
	{"scale", atScale},
	{"snapshots", besideSnapshots},
	{"peer", besidePeer},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	s := &settings{}
	only := flag.String("only", "", "sections to run, by commas: propose, rest, failover, memory, scale, snapshots, peer (default: all; peer where -peer is given)")
	write := flag.String("write", "", "Markdown file in which to replace the tables, between <!-- bench:NAME --> and <!-- /bench:NAME -->")
	flag.StringVar(&s.binary, "binary", "bin/ha-dispatcher", "the program to measure")
	flag.StringVar(&s.peer, "peer", "", "directory of the peer systems")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds of each rate; the median is shown")
	flag.IntVar(&s.kills, "kills", 9, "failovers of each kind")
	flag.DurationVar(&s.seconds, "time", 2*time.Second, "time of each rate")
	flag.IntVar(&s.drivers, "drivers", 5000, "retained drivers for the memory")
	flag.IntVar(&s.retained, "retained", 100_000, "finished drivers of the sections scale and snapshots; scale measures a quarter and a half of it, too")
	flag.IntVar(&s.queued, "queued", 20_000, "queued drivers of the sections scale and snapshots")
	flag.IntVar(&s.agents, "agents", 2_000, "agents of the section scale")
	flag.StringVar(&s.pprof, "pprof", "", "directory for profiles of the leader in the sections scale and snapshots")
	flag.Parse()
	var err error
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return err
	}
	wanted := strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	all := []*table{machine()}
	fmt.Println(all[0].markdown())
	var errs []error
	for _, sec := range sections {
		if len(wanted) > 0 && !slices.Contains(wanted, sec.name) || sec.name == "peer" && s.peer == "" {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s …\n", sec.name)
		tables, err := sec.run(ctx, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sec.name, err))
		}
		for _, t := range tables {
			fmt.Println(t.markdown())
		}
		all = append(all, tables...)
	}
	if *write != "" {
		errs = append(errs, writeTables(*write, all))
	}
	return errors.Join(errs...)
}
