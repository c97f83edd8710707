package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func newSubmit() *cobra.Command {
	var cf clientFlags
	var f struct {
		command, name, class, memory, queue, key string
		cores                                    float64
		supervise, wait                          bool
		conf, env                                []string
	}
	c := &cobra.Command{
		Use:   "submit [flags] [APP-RESOURCE [ARG…]]",
		Short: "Submit a driver: a Spark application, or any shell command",
		Long: `Submits a driver and prints its id. Asking again after an error is safe: the request
carries a key, and the servers know it.

  ha-dispatcher submit --command 'date; sleep 5' --wait
  ha-dispatcher submit --class org.example.App --memory 2g http://repo/app.jar arg1 arg2`,
		RunE: func(c *cobra.Command, args []string) error {
			r := api.CreateRequest{SparkProperties: map[string]string{}, EnvironmentVariables: map[string]string{}, MainClass: f.class}
			switch {
			case f.command != "" && len(args) > 0:
				return usageError("--command takes no application resource")
			case f.command == "" && len(args) == 0:
				return usageError("an application resource is wanted, or --command")
			case f.command != "":
				r.SparkProperties["spark.mesos.dispatcher.command"] = f.command
			default:
				r.AppResource, r.AppArgs = args[0], args[1:]
			}
			set := func(key, value string) {
				if value != "" {
					r.SparkProperties[key] = value
				}
			}
			for _, kv := range f.conf {
				k, v, err := pair("--conf", kv, "KEY=VALUE")
				if err != nil {
					return err
				}
				r.SparkProperties[k] = v
			}
			for _, kv := range f.env {
				k, v, err := pair("--env", kv, "NAME=VALUE")
				if err != nil {
					return err
				}
				r.SparkProperties["spark.mesos.driverEnv."+k] = v
			}
			set("spark.app.name", firstOf(f.name, r.SparkProperties["spark.app.name"], f.class, nameOfCommand(f.command), r.AppResource))
			set("spark.driver.memory", f.memory)
			set("spark.mesos.dispatcher.queue", f.queue)
			if c.Flags().Changed("cores") {
				set("spark.driver.cores", strconv.FormatFloat(f.cores, 'f', -1, 64))
			}
			if f.supervise {
				set("spark.driver.supervise", "true")
			}
			return submit(c.Context(), &cf, r, firstOf(f.key, client.NewKey()), f.wait)
		},
	}
	cf.register(c)
	fl := c.Flags()
	fl.StringVar(&f.command, "command", "", "run this shell command instead of a Spark application")
	fl.StringVar(&f.name, "name", "", "name of the application")
	fl.StringVar(&f.class, "class", "", "main class")
	fl.StringVar(&f.memory, "memory", "", "memory of the driver, such as 1g (default 1g)")
	fl.Float64Var(&f.cores, "cores", 0, "cores of the driver (default 1)")
	fl.StringVar(&f.queue, "queue", "", "queue")
	fl.BoolVar(&f.supervise, "supervise", false, "start it again when it fails")
	fl.StringArrayVar(&f.conf, "conf", nil, "Spark property KEY=VALUE")
	fl.StringArrayVar(&f.env, "env", nil, "environment of the driver NAME=VALUE")
	fl.StringVar(&f.key, "idempotency-key", "", "key under which to ask again safely (default: a new one)")
	fl.BoolVar(&f.wait, "wait", false, "wait until the driver has ended; exit code 1 unless it FINISHED")
	return c
}

// nameOfCommand names a driver after its command. A name is shown everywhere,
// so what looks like a secret stays out of it.
func nameOfCommand(command string) string {
	if sparkconf.RedactValue(sparkconf.DefaultRedaction, "", command) != command || sparkconf.RedactURL(command) != command {
		return "command"
	}
	return command
}

func submit(ctx context.Context, cf *clientFlags, r api.CreateRequest, key string, wait bool) error {
	c, err := cf.client()
	if err != nil {
		return err
	}
	defer c.Close()
	reply, err := c.Submit(ctx, r, key)
	if err != nil {
		return failed(fmt.Errorf("%w (asked with --idempotency-key %s)", err, key))
	}
	for _, w := range reply.Warnings {
		fmt.Fprintln(os.Stderr, "warning:", w)
	}
	if wait {
		return await(ctx, c, cf, reply.SubmissionID, os.Stdout)
	}
	if cf.json {
		return printJSON(os.Stdout, reply)
	}
	fmt.Println(reply.SubmissionID)
	return nil
}

// await waits until a driver has ended and says what it does meanwhile.
func await(ctx context.Context, c *client.Client, cf *clientFlags, id string, out io.Writer) error {
	var last string
	for {
		d, err := c.Get(ctx, id)
		if err != nil {
			return failed(err)
		}
		if d.State != last && !cf.json {
			fmt.Fprintf(os.Stderr, "%s %s\n", id, d.State)
		}
		last = d.State
		if d.FinishedAt != nil {
			if cf.json {
				err = printJSON(out, d)
			} else {
				_, err = fmt.Fprintln(out, id)
			}
			if err == nil && d.State != "FINISHED" {
				err = &exitError{exitFailed, fmt.Errorf("%s ended as %s: %s", id, d.State, d.Reason)}
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
