package sparkfixture

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

// Versions of Spark that Find knows.
const (
	Version3 = "3.5.1" // the last line that has spark-mesos
	Version4 = "4.0.1" // can submit to spark:// URLs only
)

// MainClass is the class to name in a submission of AppJar. Its arguments are
// described in its source, src/hadispatcher/SparkPi.java.
const MainClass = "hadispatcher.SparkPi"

// ErrUnavailable matches with errors.Is what Find returns where Spark cannot be
// had; the error's text says what is missing and how to get it.
var ErrUnavailable = fixture.ErrUnavailable

// Spark is an unpacked Spark with a compiled application.
type Spark struct {
	version, home, appJar, javaHome string
}

// Version is Version3 or Version4.
func (s *Spark) Version() string { return s.version }

// Home is what SPARK_HOME should be.
func (s *Spark) Home() string { return s.home }

// SubmitPath is the path of spark-submit.
func (s *Spark) SubmitPath() string { return filepath.Join(s.home, "bin", "spark-submit") }

// AppJar is the path of the jar that holds MainClass.
func (s *Spark) AppJar() string { return s.appJar }

// Env is the environment for programs of this Spark: that of this process with
// the settings of any other Spark taken out.
func (s *Spark) Env() []string {
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "SPARK_") || strings.HasPrefix(variable, "JAVA_HOME=")
	})
	return append(env, "SPARK_HOME="+s.home, "JAVA_HOME="+s.javaHome, "SPARK_LOCAL_IP=127.0.0.1")
}

// Command prepares spark-submit with these arguments; it is killed when ctx ends.
func (s *Spark) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := fixture.Command(ctx, s.SubmitPath(), args...)
	cmd.Env = s.Env()
	return cmd
}

// Submit runs spark-submit with these arguments and returns what it printed, on
// stdout and stderr together.
func (s *Spark) Submit(ctx context.Context, args ...string) (string, error) {
	output, err := s.Command(ctx, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("spark-submit %s: %w", s.version, err)
	}
	return string(output), err
}

// required3 and required4 spare the later tests of a binary the wait for a
// registry that the first did not reach.
var (
	required3 = sync.OnceValues(func() (*Spark, error) { return Find(context.Background(), Version3) })
	required4 = sync.OnceValues(func() (*Spark, error) { return Find(context.Background(), Version4) })
)

// Require returns Version3, or skips or fails the test; HA_DISPATCHER_REQUIRE
// knows it as "spark".
func Require(t fixture.TB) *Spark {
	t.Helper()
	spark, err := required3()
	fixture.Require(t, name(Version3), err)
	return spark
}

// Require4 is Require for Version4, known as "spark4".
func Require4(t fixture.TB) *Spark {
	t.Helper()
	spark, err := required4()
	fixture.Require(t, name(Version4), err)
	return spark
}

func name(version string) string {
	if version == Version4 {
		return "spark4"
	}
	return "spark"
}
