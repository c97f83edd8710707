package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func newLogs() *cobra.Command {
	var cf clientFlags
	var f struct {
		mesos   string
		attempt int
		stderr  bool
		follow  bool
	}
	c := &cobra.Command{
		Use:   "logs DRIVER-ID",
		Short: "Print what a driver wrote, from its sandbox on the agent",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withClient(&cf, func(cl *client.Client) error {
				name := "stdout"
				if f.stderr {
					name = "stderr"
				}
				return logs(c.Context(), cl, args[0], f.attempt, name, f.mesos, f.follow)
			})
		},
	}
	cf.registerServers(c)
	fl := c.Flags()
	fl.BoolVar(&f.stderr, "stderr", false, "print stderr instead of stdout")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on until the driver has ended")
	fl.IntVar(&f.attempt, "attempt", -1, "number of the attempt (default: the latest)")
	fl.StringVar(&f.mesos, "mesos", "", "URL of the Mesos master (default: the one that the cluster is subscribed to)")
	return c
}

func logs(ctx context.Context, c *client.Client, id string, number int, name, mesosURL string, follow bool) error {
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	secure, _, err := mesosHTTP()
	if err != nil {
		return err
	}
	defer secure.CloseIdleConnections()
	box := mesosutil.Sandbox{Master: firstOf(mesosURL, cluster.Framework.Master), Client: secure}
	var offset int64
	for {
		d, err := c.Get(ctx, id)
		if err != nil {
			return err
		}
		a := pickAttempt(d, number)
		if a == nil {
			if d.FinishedAt == nil && follow {
				if !sleep(ctx, time.Second) {
					return ctx.Err()
				}
				continue
			}
			return noAttempt(d, number)
		}
		file := mesosutil.TaskFile{FrameworkID: frameworkOf(a, cluster.Framework.ID), AgentID: a.AgentID, TaskID: a.TaskID, Name: name}
		if offset, err = box.Copy(ctx, os.Stdout, file, offset); err != nil && !follow {
			return err
		}
		if !follow || a.EndedAt != nil {
			return err
		}
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

func noAttempt(d *api.Driver, number int) error {
	if number < 0 || len(d.Attempts) == 0 {
		return fmt.Errorf("%s is %s: no attempt of it was started", d.ID, d.State)
	}
	return fmt.Errorf("%s has no attempt %d; 'ha-dispatcher status %s' lists those that are known", d.ID, number, d.ID)
}

// frameworkOf is the framework that launched an attempt, which need not be the
// present one: a driver registers with it and its own task id behind it.
func frameworkOf(a *api.Attempt, present string) string {
	if id, found := strings.CutSuffix(a.FrameworkID, "-"+a.TaskID); found {
		return id
	}
	return present
}

func pickAttempt(d *api.Driver, number int) *api.Attempt {
	if len(d.Attempts) == 0 {
		return nil
	}
	if number < 0 {
		return &d.Attempts[len(d.Attempts)-1]
	}
	for i := range d.Attempts {
		if d.Attempts[i].Number == number {
			return &d.Attempts[i]
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
