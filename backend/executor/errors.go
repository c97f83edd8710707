package executor

import "errors"

// Errors of this package. Run returns those of mesosutil.ExecutorDriver as well:
// mesosutil.ErrAgentLost, ErrExecutorUnknown, ErrExecutorRefused and
// ErrUnauthorized.
var (
	// ErrConfig: Run does not accept its configuration.
	ErrConfig = errors.New("invalid executor configuration")
	// ErrCommand: the data of a task is no Command. The task fails.
	ErrCommand = errors.New("the task's data is no command")
)
