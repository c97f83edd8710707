package netns

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

// Name of the fixture, as in HA_DISPATCHER_REQUIRE.
const Name = "netns"

// Network is a bridge with its hosts, numbered from 0.
type Network struct {
	bridge string
	prefix string // of the addresses, as 10.213.7.
	hosts  int
}

const maxHosts = 9

// New makes a network of that many hosts, at most 9. Close it in the end.
func New(hosts int) (*Network, error) {
	if hosts < 1 || hosts > maxHosts {
		return nil, fmt.Errorf("netns: %d hosts: 1 to %d are possible", hosts, maxHosts)
	}
	if os.Geteuid() != 0 {
		return nil, unavailable("not root", "run as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, unavailable("no ip command", "install iproute2")
	}
	// Names of interfaces have at most 15 bytes.
	n := &Network{bridge: "hd" + strconv.Itoa(os.Getpid()), hosts: hosts}
	if err := n.choosePrefix(); err != nil {
		return nil, err
	}
	if err := n.create(); err != nil {
		return nil, errors.Join(unavailable(err.Error(), "allow network namespaces (CAP_NET_ADMIN, CAP_SYS_ADMIN)"), n.Close())
	}
	return n, nil
}

func unavailable(missing, remedy string) error {
	return &fixture.UnavailableError{Name: Name, Missing: missing, Remedy: remedy}
}

// choosePrefix finds a /24 of 10.213.0.0/16 that no interface here uses.
func (n *Network) choosePrefix() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
next:
	for i := range 255 {
		n.prefix = fmt.Sprintf("10.213.%d.", (os.Getpid()+i)%255)
		for _, a := range addrs {
			if strings.HasPrefix(a.String(), n.prefix) {
				continue next
			}
		}
		return nil
	}
	return errors.New("netns: all of 10.213.0.0/16 is in use")
}

func (n *Network) create() error {
	commands := [][]string{
		{"link", "add", n.bridge, "type", "bridge"},
		{"addr", "add", n.Gateway() + "/24", "dev", n.bridge},
		{"link", "set", n.bridge, "up"},
	}
	for i := range n.hosts {
		ns, outside, inside := n.namespace(i), n.port(i), n.port(i)+"i"
		commands = append(commands, [][]string{
			{"netns", "add", ns},
			{"link", "add", outside, "type", "veth", "peer", "name", inside},
			{"link", "set", inside, "netns", ns},
			{"link", "set", outside, "master", n.bridge, "up"},
			{"-n", ns, "addr", "add", n.Addr(i) + "/24", "dev", inside},
			{"-n", ns, "link", "set", inside, "up"},
			{"-n", ns, "link", "set", "lo", "up"},
		}...)
	}
	for _, c := range commands {
		if err := ip(c...); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (n *Network) namespace(i int) string { return n.bridge + "-" + strconv.Itoa(i) }
func (n *Network) port(i int) string      { return n.bridge + "p" + strconv.Itoa(i) }

// Gateway is the address of this machine in the network.
func (n *Network) Gateway() string { return n.prefix + "1" }

// Addr is the address of host i.
func (n *Network) Addr(i int) string { return n.prefix + strconv.Itoa(10+i) }

// Command are the words before a program that runs it on host i. The process is
// that of the program itself.
func (n *Network) Command(i int) []string { return []string{"ip", "netns", "exec", n.namespace(i)} }

// Cut takes host i off the network without a word.
func (n *Network) Cut(i int) error { return ip("link", "set", n.port(i), "down") }

// Mend puts host i back.
func (n *Network) Mend(i int) error { return ip("link", "set", n.port(i), "up") }

// Close takes the network down. Processes in it keep what they have open.
func (n *Network) Close() error {
	var errs []error
	for i := range n.hosts {
		if _, err := net.InterfaceByName(n.port(i)); err == nil {
			errs = append(errs, ip("link", "del", n.port(i)))
		}
		if _, err := os.Stat("/var/run/netns/" + n.namespace(i)); err == nil {
			errs = append(errs, ip("netns", "del", n.namespace(i)))
		}
	}
	if _, err := net.InterfaceByName(n.bridge); err == nil {
		errs = append(errs, ip("link", "del", n.bridge))
	}
	return errors.Join(errs...)
}
