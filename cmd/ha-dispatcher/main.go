// Command ha-dispatcher is Spark's cluster dispatcher for Mesos, replicated over
// several nodes. See `ha-dispatcher help` and docs/.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes for scripts.
const (
	exitOK          = 0
	exitFailed      = 1 // it was tried and did not work
	exitUsage       = 2 // wrong words on the command line
	exitUnavailable = 3 // no server or no leader; nothing was done
	exitUnknown     = 4 // the outcome is unknown
)

// version is set by the Makefile.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// stopSignals end the program in good order. A hang-up is one of them, as for a
// JVM, unless nohup has it ignored.
func stopSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var silent *exitError
	if errors.As(err, &silent) {
		if silent.err != nil {
			fmt.Fprintln(stderr, "Error:", silent.err)
		}
		return silent.code
	}
	fmt.Fprintln(stderr, "Error:", err)
	return exitFailed
}

// exitError ends the program with a code; err may be nil where all is said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "ha-dispatcher",
		Short: "Spark's Mesos cluster dispatcher, replicated over several nodes",
		Long: `ha-dispatcher takes drivers from spark-submit --deploy-mode cluster and runs them on
Apache Mesos. Three nodes keep working when any one of them dies, without ZooKeeper.

  ha-dispatcher dev                      three nodes and a small Mesos on this machine
  ha-dispatcher submit --command 'date'  a driver that is no Spark job
  spark-submit --master mesos://HOST:7077 --deploy-mode cluster …`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exitError{exitUsage, fmt.Errorf("%s\nSee '%s --help'", sparkFlagError(err), c.CommandPath())}
	})
	root.AddCommand(commands()...)
	strictWords(root)
	return root
}

// sparkFlagError says an unknown option in the words that upstream's users know.
func sparkFlagError(err error) string {
	text := err.Error()
	if name, found := strings.CutPrefix(text, "unknown flag: "); found {
		return fmt.Sprintf("Unrecognized option: '%s'", name)
	}
	if i := strings.LastIndex(text, " in "); strings.HasPrefix(text, "unknown shorthand flag") && i >= 0 {
		return fmt.Sprintf("Unrecognized option: '%s'", text[i+4:])
	}
	return text
}
