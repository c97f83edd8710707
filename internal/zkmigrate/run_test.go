package zkmigrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/zkfixture"
)

func options(server *zkfixture.Server, dir string) Options {
	return Options{Source: Source{Servers: []string{server.Addr()}, Dir: dir}, Watch: 50 * time.Millisecond}
}

// The whole of it: tasks that the old dispatcher launched run on Mesos, its tree
// lies in a real ZooKeeper, and a new cluster takes over.
func TestAClusterTakesADispatcherOver(t *testing.T) {
	server := zkfixture.Require(t)
	mesos := startMesos(t, localmesos.Options{Resources: "cpus:2;mem:4096;disk:100"})
	end := filepath.Join(t.TempDir(), "end")
	const plain, relaunched, vanished = "driver-20261122141143-0001", "driver-20261122141229-0006", "driver-20261122141144-0002"
	framework := launchAsOld(t, mesos, map[string]string{
		plain:                   "while [ ! -e " + end + " ]; do sleep 0.05; done",
		relaunched + "-retry-1": "sleep 1000",
	})
	store(t, server, "/old/tree", moved(sample(t, "3.5.1"), strings.TrimSuffix(framework, "-0000")))
	n, c := startNode(t, mesos.Addr(), nil)
	ctx := t.Context()

	eventually(t, "the new cluster says what it waits for", func() bool {
		_, checks := n.Ready()
		return n.LeaderStatus().Err != nil && strings.Contains(n.LeaderStatus().Err.Error(), "migrate") && strings.Contains(fmt.Sprint(checks), "migrate")
	})
	// A trial changes nothing.
	o := options(server, "/old/tree")
	o.DryRun = true
	r, err := Run(ctx, o, c)
	if err != nil || len(r.Imported) != 11 || r.Complete || n.State().Counts() != (fsm.Counts{}) || n.State().Framework().ID != "" {
		t.Fatalf("trial: %+v, %v, %+v", r, err, n.State().Counts())
	}

	o.DryRun = false
	r, err = Run(ctx, o, c)
	if err != nil || !r.Complete || r.Already || r.FrameworkID != framework || len(r.Quarantine) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	want := strings.Fields("0001 0002 0003 0004 0005 0006 0007 0008 0009 0010 0011")
	if got := lines(r.Imported); !reflect.DeepEqual(got, want) {
		t.Errorf("imported %v", got)
	}
	if text := textOf(t, r); !strings.Contains(text, "taken over: 11") || !strings.Contains(text, "not in ZooKeeper") {
		t.Error(text)
	}

	// What runs is adopted, under the old framework.
	for _, id := range []string{plain, relaunched} {
		eventually(t, id+" is adopted", func() bool {
			d, _ := n.State().Driver(id)
			return d.State == fsm.DriverRunning && d.Current().Last != nil
		})
	}
	if fw := n.State().Framework(); fw.ID != framework || fw.State != fsm.FrameworkSubscribed {
		t.Errorf("%+v", fw)
	}
	if d, _ := n.State().Driver(relaunched); d.Current().TaskID != relaunched+"-retry-1" || d.Retries != 1 || d.Current().Number != 1 {
		t.Errorf("%+v", d)
	}
	// What Mesos does not know any more is tried again, as it is supervised. Its
	// two CPUs are not free.
	if d := awaitState(t, n, vanished, fsm.DriverRetrying); d.Retries != 1 || d.Current().TaskID != vanished {
		t.Errorf("%+v", d)
	}
	checkWaiting(t, n.State().View())

	// Again: nothing changes.
	before := n.State().Counts()
	r, err = Run(ctx, o, c)
	if err != nil || !r.Already || !r.Complete || len(r.Known) != 11 || len(r.Imported) != 0 || n.State().Counts() != before {
		t.Errorf("again: %+v, %v", r, err)
	}

	// The adopted driver ends, and the queue moves: a retry that is due goes ahead
	// by its own order, and whatever is launched keeps its numbering.
	if err := os.WriteFile(end, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	awaitState(t, n, plain, fsm.DriverFinished)
	eventually(t, "a waiting driver is launched", func() bool {
		launched := false
		n.State().View().After(0, func(d *fsm.Driver) bool {
			launched = launched || d.ID != plain && d.ID != relaunched && d.Current() != nil && d.Current().AgentHost != ""
			return true
		})
		return launched
	})
}

func textOf(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkWaiting looks at what waits in the tree of 3.5.1.
func checkWaiting(t *testing.T, v *fsm.View) {
	t.Helper()
	var queue []string
	v.Waiting(func(d *fsm.Driver) bool {
		queue = append(queue, d.ID[len(d.ID)-4:]+" "+d.Queue)
		return true
	})
	if want := []string{"0008 urgent", "0007 default", "0009 default", "0010 default", "0011 default"}; !reflect.DeepEqual(queue, want) {
		t.Errorf("the queue is %v, want %v", queue, want)
	}
	retries := make(map[string]int32)
	v.Retrying(func(d *fsm.Driver) bool {
		retries[d.ID[len(d.ID)-4:]] = d.Retries
		if d.NextAttempt != uint32(d.Retries) && d.Retries > 1 {
			t.Errorf("%s: next attempt %d after %d failures", d.ID, d.NextAttempt, d.Retries)
		}
		return true
	})
	if want := map[string]int32{"0002": 1, "0003": 6, "0004": 6, "0005": 2}; !reflect.DeepEqual(retries, want) {
		t.Errorf("retries %v, want %v", retries, want)
	}
	if d, _ := v.Driver("driver-20261122141146-0003"); d.WaitSeconds != 32 || d.LastStatus().Message != "Command exited with status 1" {
		t.Errorf("%+v", d)
	}
}

func TestDriversThatCannotBeTakenOverStopTheMigrationUnlessAllowed(t *testing.T) {
	server := zkfixture.Require(t)
	files := sample(t, "2.4.8")
	files[dirQueue+"/driver-bad"] = []byte("garbage")
	store(t, server, DefaultDir, files)
	// No Mesos answers there, and the queue "urgent" of one driver is not declared.
	n, c := startNode(t, "127.0.0.1:1", map[string]string{"spark.mesos.dispatcher.queue.urgent": ""})
	o := options(server, DefaultDir)
	r, err := Run(t.Context(), o, c)
	if !errors.Is(err, ErrQuarantine) || len(r.Quarantine) != 2 || r.Complete || n.State().Counts() != (fsm.Counts{}) {
		t.Fatalf("%+v, %v", r, err)
	}
	if text := textOf(t, r); !strings.Contains(text, "driver-bad  the node cannot be read") || !strings.Contains(text, "has not taken over") {
		t.Error(text)
	}
	o.Partial = true
	full := errors.New("no space")
	o.Quarantined = func([]Quarantined) error { return full }
	if r, err := Run(t.Context(), o, c); !errors.Is(err, full) || r.Complete || n.State().Counts() != (fsm.Counts{}) {
		t.Fatalf("%+v, %v", r, err)
	}
	var kept []Quarantined
	o.Quarantined = func(q []Quarantined) error { kept = q; return nil }
	r, err = Run(t.Context(), o, c)
	if err != nil || !r.Complete || len(kept) != len(r.Quarantine) || len(r.Imported) != r.Drivers-len(kept) {
		t.Fatalf("%+v, %v", r, err)
	}
	if string(kept[0].Data) != "garbage" || kept[1].Driver == nil || kept[1].Driver.Submission.SparkProperties["spark.app.name"] != "urgent one" ||
		!strings.Contains(kept[1].Reason, "queue") {
		t.Errorf("%+v", kept)
	}
}

func TestARunningDriverIsAdoptedEvenIfItCouldNotBeLaunchedHere(t *testing.T) {
	n, c := startNode(t, "127.0.0.1:1", nil)
	eventually(t, "there is a leader", func() bool { return n.Service().Leader() != "" })
	odd := api.ImportSubmission{AppResource: "http://r/a.jar", MainClass: "M", SparkProperties: map[string]string{"spark.app.name": "odd", "spark.mesos.dispatcher.queue": "gone"}}
	running := api.ImportDriver{ID: "driver-1", Submission: odd, State: "RUNNING", TaskID: "driver-1", Cores: 2, MemoryMiB: 500}
	queued := api.ImportDriver{ID: "driver-2", Submission: odd, State: "QUEUED"}
	reply, err := c.Import(t.Context(), api.ImportRequest{FrameworkID: "fw", Complete: true, Drivers: []api.ImportDriver{running, queued}})
	if err != nil || reply.Complete || reply.Drivers[0].Outcome != api.ImportImported || len(reply.Drivers[0].Warnings) == 0 ||
		reply.Drivers[1].Outcome != api.ImportRefused || !strings.Contains(reply.Drivers[1].Reason, "queue") {
		t.Fatalf("%+v, %v", reply, err)
	}
	if d, _ := n.State().Driver("driver-1"); d.State != fsm.DriverRunning || d.Cores != 2 || d.MemMiB != 500 || d.Name != "odd" {
		t.Errorf("%+v", d)
	}
}

func TestAnotherFrameworkIsRefused(t *testing.T) {
	server := zkfixture.Require(t)
	store(t, server, DefaultDir, sample(t, "3.5.1"))
	n, c := startNode(t, "127.0.0.1:1", nil)
	eventually(t, "there is a leader", func() bool { return n.Service().Leader() != "" })
	if err := n.Service().CompleteImport(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), options(server, DefaultDir), c)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "awaitMigration") || len(r.Imported) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := c.Import(t.Context(), api.ImportRequest{FrameworkID: oldUUID, Complete: true}); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("complete: %v", err)
	}
}

func TestALivingDispatcherIsNotTakenOver(t *testing.T) {
	server := zkfixture.Require(t)
	files := sample(t, "3.5.1")
	store(t, server, DefaultDir, files)
	o := options(server, DefaultDir)

	answer, status := `{"frameworks":[{"id":"x"},{"id":"`+oldUUID+`-0000","active":true,"connected":true}]}`, http.StatusOK
	master := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/master/frameworks" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer master.Close()
	o.Connected = AskMesos(master.Client(), "127.0.0.1:1", strings.TrimPrefix(master.URL, "http://"))
	if _, err := Run(t.Context(), o, noTarget{t}); !errors.Is(err, ErrAlive) {
		t.Errorf("connected to Mesos: %v", err)
	}
	for name, c := range map[string]struct {
		answer string
		status int
		alive  bool
	}{
		"not connected": {`{"frameworks":[{"id":"` + oldUUID + `-0000","active":true,"connected":false}]}`, 200, false},
		"before 1.0":    {`{"frameworks":[{"id":"` + oldUUID + `-0000","active":true}]}`, 200, true},
		"unknown":       {`{"frameworks":[]}`, 200, false},
	} {
		answer, status = c.answer, c.status
		if alive, err := o.Connected(t.Context(), oldUUID+"-0000"); err != nil || alive != c.alive {
			t.Errorf("%s: %v, %v", name, alive, err)
		}
	}
	answer, status = "no", http.StatusForbidden
	if _, err := Run(t.Context(), o, noTarget{t}); err == nil || errors.Is(err, ErrAlive) || !strings.Contains(err.Error(), "403") {
		t.Errorf("Mesos refuses: %v", err)
	}

	// Somebody writes while the tree is read.
	o.Connected = nil
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		zk := dial(t, server)
		defer zk.Close()
		for ctx.Err() == nil {
			_ = zk.Create(DefaultDir+"/"+dirQueue+"/new", nil)
			_ = zk.Delete(DefaultDir + "/" + dirQueue + "/new")
		}
	}()
	alive := false
	eventually(t, "the writer is noticed", func() bool {
		_, err := Run(ctx, o, refusing{})
		alive = errors.Is(err, ErrAlive)
		return alive
	})
	cancel()
	<-busy
}

// refusing is a cluster that does not answer.
type refusing struct{}

func (refusing) Cluster(context.Context) (*api.Cluster, error) { return nil, errors.New("down") }
func (refusing) Import(context.Context, api.ImportRequest) (*api.ImportResponse, error) {
	return nil, errors.New("down")
}

func TestNothingThereIsSaid(t *testing.T) {
	server := zkfixture.Require(t)
	if _, err := Run(t.Context(), options(server, "/nothing"), noTarget{t}); !errors.Is(err, ErrNoTree) {
		t.Errorf("got %v", err)
	}
}

// memory is a cluster that takes everything.
type memory struct {
	batches []int
	trial   int
}

func (m *memory) Cluster(context.Context) (*api.Cluster, error) { return &api.Cluster{}, nil }
func (m *memory) Import(_ context.Context, r api.ImportRequest) (*api.ImportResponse, error) {
	out := &api.ImportResponse{Complete: r.Complete}
	if r.DryRun {
		m.trial += len(r.Drivers)
	} else {
		m.batches = append(m.batches, len(r.Drivers))
	}
	if raw, _ := json.Marshal(r); len(raw) > batchBytes+batchBytes/2 {
		return nil, errors.New("too large")
	}
	for _, d := range r.Drivers {
		out.Drivers = append(out.Drivers, api.ImportOutcome{ID: d.ID, Outcome: api.ImportImported})
	}
	return out, nil
}

func TestBatchesAreBoundedInNumberAndSize(t *testing.T) {
	p := &Plan{FrameworkID: "fw"}
	for range 2*batchDrivers + 50 {
		p.Drivers = append(p.Drivers, api.ImportDriver{ID: "driver"})
	}
	for range 5 {
		p.Drivers = append(p.Drivers, api.ImportDriver{ID: "driver", Submission: api.ImportSubmission{AppArgs: []string{strings.Repeat("x", 400_000)}}})
	}
	m := &memory{}
	r := &Report{}
	var done []int
	of := 0
	if err := send(t.Context(), m, p, false, r, func(_ string, n, total int) { done = append(done, n); of = total }); err != nil {
		t.Fatal(err)
	}
	if want := []int{batchDrivers, batchDrivers, 52, 2, 1}; !reflect.DeepEqual(m.batches, want) || len(r.Imported) != of {
		t.Errorf("batches %v, %d imported", m.batches, len(r.Imported))
	}
	if len(done) != 5 || of != 2*batchDrivers+55 || done[4] != of {
		t.Errorf("progress %v of %d", done, of)
	}
}
