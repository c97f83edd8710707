package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func newExecutor() *cobra.Command {
	var f struct {
		killGrace time.Duration
		maxTasks  int
		logFormat string
	}
	c := &cobra.Command{
		Use:   "executor",
		Short: "Run tasks that are commands, started by a Mesos agent",
		Long: `A Mesos executor, for tests and for work that is not Spark: an agent starts it as the
command of an ExecutorInfo of type CUSTOM, with the MESOS_* variables that say where to
connect. It runs every task whose data is a command, as JSON, until it is told to shut down:

  {"argv": ["/bin/date", "-u"], "env": {"TZ": "UTC"}, "timeout": "30s"}
  {"shell": "sort < in > out"}

Output goes to tasks/ID/stdout and stderr below the sandbox. When the agent is restarted
tasks run on, if the framework checkpoints.

Exit codes: 0 after the agent's SHUTDOWN, or SIGTERM; 1 the agent refuses it; 2 the
environment is not an agent's; 3 the agent is lost.`,
		Example: `  # as ExecutorInfo of a task, in the JSON of the scheduler API
  "executor": {"type": "CUSTOM", "executor_id": {"value": "commands"},
    "command": {"shell": false, "value": "/usr/bin/ha-dispatcher", "arguments": ["ha-dispatcher", "executor"]}}`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := mesosutil.ExecutorConfigFromEnv(os.Getenv)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			if f.logFormat == "json" {
				log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
			}
			err = executor.Run(c.Context(), executor.Config{Mesos: cfg, KillGrace: f.killGrace, MaxTasks: f.maxTasks, Logger: log},
				executor.Commands{Dir: cfg.Sandbox})
			switch {
			case errors.Is(err, context.Canceled):
				return nil // SIGTERM, and all is told to the agent
			case errors.Is(err, executor.ErrConfig):
				return &exitError{exitUsage, err}
			case errors.Is(err, mesosutil.ErrAgentLost):
				return &exitError{exitUnavailable, err}
			}
			return err
		},
	}
	fl := c.Flags()
	fl.DurationVar(&f.killGrace, "kill-grace", 3*time.Second, "time between SIGTERM and SIGKILL where neither task nor KILL says")
	fl.IntVar(&f.maxTasks, "max-tasks", 1000, "tasks that run at a time; more fail at once")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	return c
}
