package testcluster_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// overBoth runs a test over loopback TCP and over the in-memory network.
func overBoth(t *testing.T, test func(t *testing.T, opts testcluster.Options)) {
	for name, memory := range map[string]bool{"tcp": false, "memory": true} {
		t.Run(name, func(t *testing.T) { test(t, testcluster.Options{Memory: memory}) })
	}
}
