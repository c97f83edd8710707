package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/internal/loadgen"
)

func newBench() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench --server http://HOST:PORT [flags]",
		Short: "Measure a server that speaks Spark's REST protocol",
		Long: `Sends submissions, status queries or both, for a number of requests or a time, prints
rates and latencies, and asks for every acknowledged submission again: those that the
server does not know are lost. The drivers that it submits cannot run anywhere (their
jar does not exist); use it on a cluster of its own.

  ha-dispatcher bench --clients 64 --count 2000
  ha-dispatcher bench --mode mixed --status-share 0.8 --duration 10s --rate 500 --json

Exit code 1 if an acknowledged submission was lost or nothing was answered.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context()) },
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.cfg.Servers, "server", []string{"http://127.0.0.1:7077"}, "base URLs; client k begins with the k-th, and goes on to the next when a connection breaks")
	fl.BoolVar(&f.cfg.AnyHost, "any-host", false, "allow servers that are not on this machine")
	fl.StringVar((*string)(&f.cfg.Mode), "mode", string(loadgen.Submit), "submit, status (of ids submitted just before) or mixed")
	fl.IntVar(&f.cfg.Clients, "clients", 8, "clients at once")
	fl.IntVar(&f.cfg.Count, "count", 0, "number of requests (default 2000 where there is no --duration)")
	fl.DurationVar(&f.cfg.Duration, "duration", 0, "how long to run")
	fl.Float64Var(&f.cfg.Rate, "rate", 0, "mean requests a second of all clients, at random times (default: as fast as answered)")
	fl.Uint64Var(&f.cfg.Seed, "seed", 1, "seed of the random times")
	fl.BoolVar(&f.cfg.CloseConnections, "close", false, "use a connection for each request, as spark-submit does")
	fl.IntVar(&f.cfg.Properties, "properties", 8, "Spark properties in a submission")
	fl.StringArrayVar(&f.conf, "conf", nil, "property KEY=VALUE of each submission")
	fl.BoolVar(&f.cfg.IdempotencyKeys, "idempotency-keys", false, "send an Idempotency-Key with each submission")
	fl.Float64Var(&f.cfg.StatusShare, "status-share", 0.5, "with --mode mixed: part of the requests that ask for a status")
	fl.BoolVar(&f.cfg.Stale, "stale", false, "ask for statuses that may be a moment old (consistency=stale)")
	fl.StringVar(&f.tokenFile, "token-file", "", "file with the bearer token to send")
	fl.DurationVar(&f.cfg.Timeout, "timeout", 30*time.Second, "limit of one request")
	fl.BoolVar(&f.noVerify, "no-verify", false, "do not ask for the acknowledged submissions afterwards")
	fl.BoolVar(&f.json, "json", false, "print the report as JSON")
	return c
}

type benchFlags struct {
	cfg            loadgen.Config
	conf           []string
	tokenFile      string
	noVerify, json bool
}

// statusIDs is how many drivers --mode status submits to ask for.
const statusIDs = 200

func (f *benchFlags) run(ctx context.Context) error {
	if err := f.complete(); err != nil {
		return err
	}
	if f.cfg.Mode == loadgen.Status {
		before := f.cfg
		before.Mode, before.Count, before.Rate, before.Duration = loadgen.Submit, statusIDs, 0, 0
		r, err := loadgen.Run(ctx, before)
		if err != nil {
			return usageError("%v", err)
		}
		if f.cfg.IDs = r.IDs; len(r.IDs) == 0 {
			return fmt.Errorf("no driver could be submitted to ask for: %s", r.Submit.FirstError)
		}
	}
	r, err := loadgen.Run(ctx, f.cfg)
	if err != nil {
		return usageError("%v", err)
	}
	if !f.noVerify && len(r.IDs) > 0 {
		if r.Verified, err = loadgen.Verify(ctx, f.cfg, r.IDs); err != nil {
			return err
		}
	}
	if err := f.print(r); err != nil {
		return err
	}
	return benchVerdict(r)
}

func (f *benchFlags) complete() error {
	if f.cfg.Count == 0 && f.cfg.Duration == 0 {
		f.cfg.Count = 2000
	}
	f.cfg.Extra = make(map[string]string)
	for _, kv := range f.conf {
		k, v, found := strings.Cut(kv, "=")
		if !found {
			return usageError("--conf %s: KEY=VALUE is wanted", kv)
		}
		f.cfg.Extra[k] = v
	}
	if f.tokenFile != "" {
		raw, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return fmt.Errorf("token file: %w", err)
		}
		f.cfg.Token = strings.TrimSpace(string(raw))
	}
	return nil
}

func (f *benchFlags) print(r *loadgen.Report) error {
	if !f.json {
		return r.WriteTable(os.Stdout)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func benchVerdict(r *loadgen.Report) error {
	answered := 0
	var first string
	for _, s := range []*loadgen.Stats{r.Submit, r.Status} {
		if s != nil {
			answered += s.OK
			first = firstOf(first, s.FirstError)
		}
	}
	switch {
	case r.Verified != nil && r.Verified.Lost > 0:
		return fmt.Errorf("%d of %d acknowledged submissions are lost", r.Verified.Lost, r.Verified.Acknowledged)
	case answered == 0:
		return fmt.Errorf("no request succeeded: %s", first)
	}
	return nil
}
