package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/e2e/netns"
	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

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

// The host of the leader drops off the network without a word, while clients
// submit to the other nodes, and comes back later: it must not have done
// anything in between, and must follow.
func TestLeaderIsCutOffWithoutAWord(t *testing.T) {
	net := requireNetwork(t, 3)
	dir := shortDir(t)
	mesos, err := localmesos.Start(t.Context(), localmesos.Options{Agents: 2, Resources: agentResources, WorkDir: dir + "/mesos"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mesos.Close() })
	forward, err := netns.Forward(net.Gateway(), address(mesos.URL()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forward.Close)
	c := start(t, devcluster.Options{
		DataDir: dir, MesosURL: "http://" + forward.Addr(),
		Place:    func(k int) (string, []string) { return net.Addr(k), net.Command(k) },
		NodeArgs: []string{"--allow-unauthenticated"},
	})
	s := &story{cluster: c, journal: newJournal(dir), think: 100 * time.Millisecond}
	leader := c.ready(t)
	others := []int{(leader + 1) % 3, (leader + 2) % 3}
	var gap time.Duration
	whileClientsSubmit(t, s, others, func(ctx context.Context) {
		pause(ctx, 300*time.Millisecond)
		began := time.Now()
		if err := net.Cut(leader); err != nil {
			t.Fatal(err)
		}
		gap = s.nextAcceptance(t, "after-cut", others[0], began)
		pause(ctx, 500*time.Millisecond)
		if err := net.Mend(leader); err != nil {
			t.Fatal(err)
		}
		mended := time.Now()
		c.ready(t)
		t.Logf("all nodes were ready %v after the cut was mended", time.Since(mended).Round(time.Millisecond))
		pause(ctx, 300*time.Millisecond)
	})
	s.check(t)
	t.Logf("from the cut to the next acceptance: %v", gap)
	if log := c.log(t, leader); !strings.Contains(log, "no longer leading") {
		t.Error("the node that was cut off never stepped down")
	}
}
