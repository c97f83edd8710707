package backend

import (
	"errors"
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// The errors of this package, for errors.Is.
var (
	// ErrNotStarted: the application is not registered yet; call Start first.
	ErrNotStarted = errors.New("the application is not registered yet; call Start first")
	// ErrStopped: the application was stopped, here or on another node.
	ErrStopped = errors.New("the application is stopped")
	// ErrUnknownExecutor: the application never had an executor with this id.
	// Nothing was killed.
	ErrUnknownExecutor = errors.New("unknown executor")
	// ErrFrameworkRemoved: Mesos removed the framework of the application, and
	// its executors with it. The application cannot go on; stop it.
	ErrFrameworkRemoved = errors.New("mesos has removed the framework of the application")
	// ErrNoManager: no cluster manager takes this master URL.
	ErrNoManager = errors.New("could not parse the master URL")
	// ErrManyManagers: more than one cluster manager takes this master URL.
	ErrManyManagers = errors.New("multiple cluster managers are registered for the master URL")
	// ErrNoMasterInURL: the master URL has no mesos:// in it.
	ErrNoMasterInURL = errors.New("the master URL names no Mesos master: mesos:// is missing")
	// ErrNoFineScheduler: in fine-grained mode the task scheduler hands out the
	// tasks, and so has to be a FineScheduler.
	ErrNoFineScheduler = errors.New("fine-grained mode needs a task scheduler that hands out tasks (FineScheduler); " +
		"without one, set spark.mesos.coarse=true or leave it out")
	// ErrOtherMode: the application is registered in the log in coarse-grained mode.
	ErrOtherMode = errors.New("an application of this id is registered in coarse-grained mode; stop that one or take another id")
	// ErrOldMember: the log has members that do not know the commands of
	// fine-grained mode. Where they are not old, set raftstore.Config.Version to
	// fsm.CommandVersion on all of them.
	ErrOldMember = errors.New("a member of the log runs an older version; upgrade all of them")
	// ErrUnknownTask: the application never had a task with this id.
	ErrUnknownTask = errors.New("unknown task")
	// ErrIOEncryption is Spark's requirement, in its words.
	ErrIOEncryption = errors.New("requirement failed: I/O encryption is currently not supported in Mesos.")
)

// InvalidError says which property, or which argument of a call, cannot be used.
// It never holds a secret.
type InvalidError struct {
	Key    string
	Value  string
	Reason string
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Key, e.Reason)
	}
	return fmt.Sprintf("%s=%s: %s", e.Key, e.Value, e.Reason)
}

// invalid makes an InvalidError of the errors of the parsers; nil stays nil.
func invalid(err error, key string) error {
	var value *sparkconf.ValueError
	var parse *mesosutil.ParseError
	var already *InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return already
	case errors.As(err, &value):
		return &InvalidError{Key: value.Key, Reason: value.Error()}
	case errors.As(err, &parse):
		if parse.Key != "" {
			key = parse.Key
		}
		return &InvalidError{Key: key, Value: parse.Item, Reason: "bad " + parse.Kind + ": " + parse.Reason}
	}
	return &InvalidError{Key: key, Reason: err.Error()}
}

// OversizedError says that no agent was ever seen with room for an executor, so
// that none can start until a larger agent joins or others free one.
type OversizedError struct {
	Profile                     uint32
	Cores, MemMiB               int64   // what an executor needs
	LargestCores, LargestMemMiB float64 // the most that was seen free on one agent, each by itself
}

func (e *OversizedError) Error() string {
	return fmt.Sprintf("an executor needs %d cores and %d MiB; the most seen on one agent are %g cores and %g MiB: "+
		"lower spark.executor.cores or spark.executor.memory, or add larger agents", e.Cores, e.MemMiB, e.LargestCores, e.LargestMemMiB)
}
