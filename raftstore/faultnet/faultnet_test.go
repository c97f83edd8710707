package faultnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore/faultnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair connects node a to an echo server on node b.
func pair(t *testing.T) (*faultnet.Net, raftstore.Transport, net.Conn) {
	t.Helper()
	fn := faultnet.New(&raftstore.MemNetwork{})
	ln, err := fn.Node("b").Listen("b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	conn, err := fn.Node("a").Dial(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return fn, fn.Node("a"), conn
}

func echo(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestCutIsSilent(t *testing.T) {
	for name, cut := range map[string]func(*faultnet.Net){
		"both ways":   func(n *faultnet.Net) { n.Cut("a", "b") },
		"there":       func(n *faultnet.Net) { n.CutOneWay("a", "b") },
		"back":        func(n *faultnet.Net) { n.CutOneWay("b", "a") },
		"isolated":    func(n *faultnet.Net) { n.Isolate("b") },
		"both of two": func(n *faultnet.Net) { n.Isolate("a"); n.Isolate("b") },
	} {
		t.Run(name, func(t *testing.T) {
			fn, a, conn := pair(t)
			if err := echo(conn); err != nil {
				t.Fatal(err)
			}
			cut(fn)
			if err := echo(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("want silence until the deadline, got %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := a.Dial(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial through a cut: %v", err)
			}
			fn.Heal()
			if err := echo(conn); err == nil {
				t.Error("a connection that lost bytes goes on")
			}
			again, err := a.Dial(t.Context(), "b")
			if err != nil || echo(again) != nil {
				t.Fatalf("after heal: %v", err)
			}
			again.Close()
		})
	}
}

func Example() {
	network := faultnet.New(&raftstore.MemNetwork{})
	ln, _ := network.Node("b").Listen("b")
	defer ln.Close()

	network.Isolate("b")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := network.Node("a").Dial(ctx, "b")
	fmt.Println(err)
	// Output: context deadline exceeded
}
