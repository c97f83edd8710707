package zkconn_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkconn"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestASilentServerIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = zkconn.Dial(t.Context(), zkconn.Config{Servers: []string{l.Addr().String()}, Wait: 100 * time.Millisecond})
	if !errors.Is(err, zkconn.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := zkconn.Dial(ctx, zkconn.Config{Servers: []string{l.Addr().String()}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRequestsEndWithTheContext(t *testing.T) {
	server := zkfixture.Require(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := zkconn.Dial(ctx, zkconn.Config{Servers: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Get("/nothing"); !errors.Is(err, zkconn.ErrNoNode) {
		t.Errorf("got %v", err)
	}
	server.Freeze()
	defer server.Thaw()
	answered := make(chan error, 1)
	go func() {
		_, _, err := c.Children("/")
		answered <- err
	}()
	cancel()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("a frozen server answered")
		}
	case <-time.After(30 * time.Second):
		t.Error("the request did not end")
	}
	c.Close()
}
