package netns_test

import (
	"bufio"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/e2e/netns"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func requireNetwork(t *testing.T, hosts int) *netns.Network {
	t.Helper()
	n, err := netns.New(hosts)
	fixture.Require(t, netns.Name, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestAHostIsReachedCutOffAndReachedAgain(t *testing.T) {
	n := requireNetwork(t, 2)
	words := append(n.Command(0), "ip", "-4", "-o", "addr")
	out, err := exec.Command(words[0], words[1:]...).Output()
	if err != nil || !strings.Contains(string(out), n.Addr(0)) || strings.Contains(string(out), n.Gateway()+"/") {
		t.Fatalf("addresses inside: %v\n%s", err, out)
	}
	// A closed port of a host that is there refuses at once; one that is cut off
	// does not answer.
	refuses := func() bool {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(n.Addr(0), "9"), 500*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err != nil && strings.Contains(err.Error(), "refused")
	}
	eventually := func(want bool, what string) {
		t.Helper()
		for range 40 {
			if refuses() == want {
				return
			}
		}
		t.Errorf("the host is not %s", what)
	}
	eventually(true, "there")
	if err := n.Cut(0); err != nil {
		t.Fatal(err)
	}
	eventually(false, "cut off")
	if err := n.Mend(0); err != nil {
		t.Fatal(err)
	}
	eventually(true, "there again")
}

func TestForward(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		c.Write([]byte("echo " + line))
		c.Close()
	}()
	f, err := netns.Forward("127.0.0.1", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("hello\n"))
	if got, err := bufio.NewReader(c).ReadString('\n'); got != "echo hello\n" {
		t.Errorf("%q %v", got, err)
	}
}
