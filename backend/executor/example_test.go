package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ha-dispatcher/ha-dispatcher/backend/executor"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// An executor that runs commands is this program, started by an agent. Started
// by anybody else it says what it misses.
func ExampleRun() {
	cfg, err := mesosutil.ExecutorConfigFromEnv(os.Getenv)
	if errors.Is(err, mesosutil.ErrExecutorConfig) {
		fmt.Println("not started by a Mesos agent")
		return
	}
	err = executor.Run(context.Background(), executor.Config{Mesos: cfg}, executor.Commands{Dir: cfg.Sandbox})
	fmt.Println(err)
	// Output: not started by a Mesos agent
}

// What a scheduler puts into the data of a task.
func ExampleParseCommand() {
	c, err := executor.ParseCommand([]byte(`{"argv": ["/bin/date", "-u"], "timeout": "30s"}`))
	fmt.Println(c.Argv, c.Timeout, err)
	_, err = executor.ParseCommand([]byte(`date`))
	fmt.Println(errors.Is(err, executor.ErrCommand))
	// Output:
	// [/bin/date -u] 30s <nil>
	// true
}
