package zkmigrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

// killing is a cluster whose leader crashes while it works on an import. What
// became of that import its caller never learns.
type killing struct {
	t       *testcluster.T
	tb      testing.TB
	kills   int // still to come
	died    []string
	imports int // of this try
	at      int // which of them it crashes in
}

var errLost = errors.New("the answer got lost")

func (k *killing) client() *client.Client {
	var servers []string
	for _, n := range k.t.Running() {
		servers = append(servers, n.Inside().RESTURL())
	}
	c, err := client.New(client.Config{Servers: servers})
	if err != nil {
		k.tb.Fatal(err)
	}
	return c
}

func (k *killing) Cluster(ctx context.Context) (*api.Cluster, error) {
	c := k.client()
	defer c.Close()
	return c.Cluster(ctx)
}

func (k *killing) Import(ctx context.Context, r api.ImportRequest) (*api.ImportResponse, error) {
	c := k.client()
	defer c.Close()
	k.imports++
	if k.kills == 0 || k.imports <= k.at {
		return c.Import(ctx, r)
	}
	leader, err := k.t.WaitLeader(k.t.Ctx())
	k.t.Do(err)
	term := leader.Inside().Store().Status().Term
	state := leader.Inside().State()
	before := state.Counts()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = c.Import(ctx, r)
	}()
	if k.kills%2 == 0 { // else anywhere between the request and the log
		k.t.Until("the leader to have taken drivers in, or to have known them", func() bool {
			select {
			case <-answered:
				return true
			default:
				return state.Counts() != before
			}
		})
	}
	leader.Crash()
	<-answered
	// That it led is proven by the next term, which another node leads.
	next, err := k.t.WaitTerm(k.t.Ctx(), term)
	k.t.Do(err)
	if next.ID == leader.ID {
		k.tb.Errorf("%s crashed and leads", leader.ID)
	}
	k.t.Start(leader)
	k.kills--
	k.died = append(k.died, leader.ID)
	return nil, errLost
}

func TestAnImportThatLosesItsLeaderIsRepeatedAndNothingIsLostOrTwice(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{Conf: map[string]string{"spark.mesos.dispatcher.awaitMigration": "true"}})
	p := &Plan{FrameworkID: "00000000-0000-0000-0000-000000000001-0000"}
	const small, large = 20, 2*batchDrivers + 100
	for i := range small + large {
		name, command, cores := fmt.Sprintf("small-%03d", i), c.Journal.For(fmt.Sprintf("small-%03d", i), 0, 0), "0.1"
		if i >= small {
			name, command, cores = "large", "exit 1", "1000"
		}
		p.Drivers = append(p.Drivers, api.ImportDriver{
			ID: fmt.Sprintf("driver-20261122141233-%05d", i), State: "QUEUED", SubmittedMs: int64(1_795_356_704_000 + i),
			Submission: api.ImportSubmission{AppArgs: []string{}, SparkProperties: map[string]string{
				"spark.app.name": name, "spark.mesos.dispatcher.command": command, "spark.driver.cores": cores,
				"spark.driver.memory": "32m", "spark.mesos.driver.memoryOverhead": "0",
			}},
		})
	}
	k := &killing{t: c, tb: t, kills: 6}
	var r *Report
	tries := 0
	for err := errLost; err != nil; tries++ {
		if !errors.Is(err, errLost) {
			t.Logf("try %d: %v", tries, err)
		}
		if tries > 20 {
			t.Fatal("the import does not come to an end")
		}
		r = &Report{}
		r.begin(p)
		k.imports, k.at = 0, tries%3
		err = send(c.Ctx(), k, p, false, r, func(string, int, int) {})
	}
	if k.kills != 0 || len(r.Imported)+len(r.Known) != len(p.Drivers) || len(r.Known) == 0 {
		t.Fatalf("%d kills left, %d imported, %d known", k.kills, len(r.Imported), len(r.Known))
	}
	t.Logf("leaders that crashed: %v; %d tries; the last imported %d and found %d", k.died, tries, len(r.Imported), len(r.Known))

	// All of it is there, once, and in order, on every node.
	c.Do(c.WaitApplied(c.Ctx()))
	c.Same()
	var want, got []string
	for _, d := range p.Drivers {
		want = append(want, d.ID)
	}
	c.Running()[0].Inside().State().View().Waiting(func(d *fsm.Driver) bool { got = append(got, d.ID); return true })
	if !slices.Equal(got, want) {
		t.Errorf("%d drivers are queued in another order than the %d imported", len(got), len(want))
	}

	// With the import complete, what fits runs, once.
	c.Do(complete(c.Ctx(), k, p.FrameworkID, r))
	leader := c.Ready()
	for i := range small {
		c.Driver(p.Drivers[i].ID, func(d *fsm.Driver) bool { return d.State == fsm.DriverFinished })
	}
	runs, err := c.Journal.Runs()
	c.Do(err)
	if len(runs) != small {
		t.Errorf("%d runs of %d drivers", len(runs), small)
	}
	if n := leader.Inside().State().Counts(); n.Waiting != large || n.Finished != small {
		t.Errorf("%+v", n)
	}
}
