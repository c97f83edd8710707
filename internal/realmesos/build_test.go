package realmesos

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func TestBuildFailureNamesWhatIsMissing(t *testing.T) {
	exit := func(script string) error {
		return exec.CommandContext(t.Context(), "/bin/sh", "-c", script).Run()
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for rule, tc := range map[string]struct {
		ctx         context.Context
		err         error
		unavailable bool
		says        string
	}{
		"no root":              {t.Context(), exit("exit 10"), true, "needs root"},
		"no PyPI":              {t.Context(), exit("exit 11"), true, "access to PyPI"},
		"compiler fails":       {t.Context(), exit("exit 1"), false, "build failed"},
		"no shell":             {t.Context(), errors.New("not found"), false, "not found"},
		"caller lost patience": {canceled, exit("exit 10"), false, "interrupted"},
	} {
		t.Run(rule, func(t *testing.T) {
			err := buildFailure(tc.ctx, tc.err, "noise\nneeds root to install packages: g++\n")
			if errors.Is(err, ErrUnavailable) != tc.unavailable || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBuildersAtOnceShareOneBuild(t *testing.T) {
	Require(t)
	var group sync.WaitGroup
	dirs := make([]string, 4)
	for i := range dirs {
		group.Go(func() {
			if programs, err := Build(t.Context()); err != nil {
				t.Error(err)
			} else {
				dirs[i] = programs.Dir()
			}
		})
	}
	group.Wait()
	for _, dir := range dirs {
		if dir != dirs[0] {
			t.Errorf("built in %q", dirs)
		}
	}
}

func TestStragglersAreKnownByTheirEnvironment(t *testing.T) {
	for rule, tc := range map[string]struct {
		environ string
		want    bool
	}{
		"marked":             {"A=b\x00" + workEnv + "=/w/x\x00", true},
		"marked for another": {workEnv + "=/w/xy\x00", false},
		"sandbox within":     {"MESOS_SANDBOX=/w/x/agent-0/slaves/1\x00", true},
		"longer name":        {"MESOS_SANDBOX=/w/xy/agent-0\x00", false},
		"other variable":     {"PWD=/w/x\x00", false},
		"zombie":             {"", false},
	} {
		if got := belongs([]byte(tc.environ), "/w/x"); got != tc.want {
			t.Errorf("%s: %v", rule, got)
		}
	}
}
