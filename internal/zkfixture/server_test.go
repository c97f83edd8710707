package zkfixture_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAServerKeepsItsDataOverACrash(t *testing.T) {
	server := zkfixture.Require(t)
	write := func(path string) {
		t.Helper()
		c, err := zkconn.Dial(t.Context(), zkconn.Config{Servers: []string{server.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Create(path, []byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	write("/a")
	server.Kill()
	if _, err := zkconn.Dial(t.Context(), zkconn.Config{Servers: []string{server.Addr()}, Wait: 50 * time.Millisecond}); !errors.Is(err, zkconn.ErrUnreachable) {
		t.Errorf("a killed server: %v", err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	write("/b")
	c, err := zkconn.Dial(t.Context(), zkconn.Config{Servers: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if data, _, err := c.Get("/a"); err != nil || string(data) != "kept" {
		t.Errorf("got %q, %v", data, err)
	}
	if err := server.Restart(t.Context()); err == nil {
		t.Error("a running server was started again")
	}
}

func TestAMissingServerIsUnavailable(t *testing.T) {
	t.Setenv(zkfixture.JarsEnv, t.TempDir())
	if _, err := zkfixture.Start(t.Context(), t.TempDir()); !errors.Is(err, fixture.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
