package testcluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/backend/host"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// hosting is a cluster that hosts applications. Their executors write their
// process id into a file and stay.
type hosting struct {
	*testcluster.T
	tb   testing.TB
	pids string // a file for each executor, with a line for each of its processes
}

func newHosting(t testing.TB, opts testcluster.Options) *hosting {
	t.Helper()
	h := &hosting{tb: t, pids: t.TempDir()}
	opts.Backends, opts.Memory = true, true
	opts.Mesos = localmesos.Options{Resources: "cpus:256;mem:262144;ports:[31000-31999]"}
	opts.TuneHost = func(_ string, hc *host.Config) {
		timing := hc.Tune
		hc.Tune = func(b *backend.Config) {
			timing(b)
			id := b.AppID
			b.Command = func(e backend.ExecutorSpec) (*mesos.CommandInfo, error) {
				line := fmt.Sprintf("echo $$ >> %s/%s-%s; exec sleep 100000", h.pids, id, e.ExecutorID)
				return &mesos.CommandInfo{Value: &line}, nil
			}
		}
	}
	h.T = testcluster.New(t, opts)
	return h
}

// call asks a node that is up, another one where that cannot be reached, and again
// where there is no leader at the moment.
func (h *hosting) call(method, path string, in, out any) int {
	h.tb.Helper()
	status := 0
	h.Until(method+" "+path, func() bool {
		for _, n := range h.Running() {
			if run := n.Inside(); run != nil {
				if status = h.ask(run.RESTURL(), method, path, in, out); status != 0 && status != http.StatusServiceUnavailable {
					return true
				}
			}
		}
		return false
	})
	return status
}

func (h *hosting) ask(server, method, path string, in, out any) int {
	h.tb.Helper()
	var body bytes.Buffer
	if in != nil {
		h.Do(json.NewEncoder(&body).Encode(in))
	}
	req, err := http.NewRequestWithContext(h.tb.Context(), method, server+path, &body)
	h.Do(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return 0
	}
	if out != nil && res.StatusCode < 300 {
		h.Do(json.Unmarshal(data, out))
	} else if res.StatusCode >= 400 {
		h.tb.Logf("%s %s: %d %s", method, path, res.StatusCode, data)
	}
	return res.StatusCode
}

func (h *hosting) ok(method, path string, in, out any) {
	h.tb.Helper()
	if status := h.call(method, path, in, out); status >= 300 {
		h.tb.Fatalf("%s %s: %d", method, path, status)
	}
}

func application(id string, props ...string) api.Application {
	a := api.Application{
		ID: id, Name: id, DriverURL: "spark://CoarseGrainedScheduler@127.0.0.1:7000", SparkHome: "/opt/spark",
		Properties: map[string]string{
			"spark.dynamicAllocation.enabled": "true", "spark.executor.cores": "1", "spark.executor.memory": "256m",
		},
	}
	for i := 0; i < len(props); i += 2 {
		a.Properties[props[i]] = props[i+1]
	}
	return a
}

func (h *hosting) register(a api.Application) (st api.AppStatus) {
	h.tb.Helper()
	h.ok("POST", "/v1/apps", a, &st)
	return st
}

func (h *hosting) scale(id string, n int64) {
	h.tb.Helper()
	h.ok("PUT", "/v1/apps/"+id+"/totals", api.AppTotals{Totals: []api.ProfileTotal{{Total: n}}}, nil)
}

func (h *hosting) status(id string) (st api.AppStatus) {
	h.tb.Helper()
	h.ok("GET", "/v1/apps/"+id, nil, &st)
	return st
}

func (h *hosting) await(id, what string, ok func(api.AppStatus) bool) (st api.AppStatus) {
	h.tb.Helper()
	h.Until(id+": "+what, func() bool {
		st = h.status(id)
		return ok(st)
	})
	return st
}

// running waits until exactly n executors live and run, and returns their
// processes.
func (h *hosting) running(id string, n int) map[string]int {
	h.tb.Helper()
	pids := make(map[string]int)
	h.await(id, fmt.Sprint(n, " executors"), func(st api.AppStatus) bool { return st.Live == n && st.Running == n })
	var list api.AppExecutors
	h.ok("GET", "/v1/apps/"+id+"/executors", nil, &list)
	for _, e := range list.Executors {
		if e.State == "RUNNING" {
			pids[e.ID] = h.pid(id, e.ID)
		}
	}
	return pids
}

// pid of an executor, of which there must be one process ever.
func (h *hosting) pid(app, executor string) (pid int) {
	h.tb.Helper()
	h.Until("the process of "+app+"-"+executor, func() bool {
		data, _ := os.ReadFile(filepath.Join(h.pids, app+"-"+executor))
		lines := strings.Fields(string(data))
		if len(lines) > 1 {
			h.tb.Fatalf("executor %s of %s was started %d times", executor, app, len(lines))
		}
		if len(lines) == 1 {
			pid, _ = strconv.Atoi(lines[0])
		}
		return pid != 0
	})
	return pid
}

func (h *hosting) gone(pids map[string]int) {
	h.tb.Helper()
	h.Until("executors to be gone", func() bool {
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	})
}

func each(ids []string, do func(id string)) {
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { do(id) })
	}
	wg.Wait()
}

// TestManyApplicationsOutliveTheLeader: each of twenty is scaled and has one of its
// executors killed while the leader dies; whatever was acknowledged is carried
// out, and executors that nobody asked about live on.
func TestManyApplicationsOutliveTheLeader(t *testing.T) {
	h := newHosting(t, testcluster.Options{})
	leader := h.Ready()
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("app-%02d", i))
	}
	var mu sync.Mutex
	before := make(map[string]map[string]int)
	each(ids, func(id string) {
		h.register(application(id))
		h.scale(id, 2)
		pids := h.running(id, 2)
		mu.Lock()
		defer mu.Unlock()
		before[id] = pids
	})
	crashed := make(chan struct{})
	go func() {
		defer close(crashed)
		leader.Crash()
	}()
	each(ids, func(id string) {
		h.scale(id, 3)
		h.ok("POST", "/v1/apps/"+id+"/kill", api.AppKill{Executors: []string{"1"}}, nil)
	})
	<-crashed
	each(ids, func(id string) {
		h.gone(map[string]int{"1": before[id]["1"]})
		after := h.running(id, 3)
		if after["0"] != before[id]["0"] || after["1"] != 0 {
			t.Errorf("%s: %v, then %v", id, before[id], after)
		}
	})
	h.Do(leader.Start(h.Ctx()))
	each(ids, func(id string) {
		h.ok("DELETE", "/v1/apps/"+id, nil, nil)
		h.await(id, "end", func(st api.AppStatus) bool { return st.State == api.AppStopped })
	})
	for _, f := range h.Mesos.Frameworks() {
		if f.Name != "testcluster" && !f.Completed {
			t.Errorf("%+v", f)
		}
	}
	h.Same()
}

// TestAClientThatStaysAway loses its executors; one that comes back in time finds
// them.
func TestAClientThatStaysAway(t *testing.T) {
	h := newHosting(t, testcluster.Options{})
	h.Ready()
	stays, goes := application("stays"), application("goes")
	stays.FailoverTimeoutMs, goes.FailoverTimeoutMs = 4000, 4000
	h.register(stays)
	h.register(goes)
	h.scale("stays", 2)
	h.scale("goes", 2)
	kept, lost := h.running("stays", 2), h.running("goes", 2)
	stop := make(chan struct{})
	var driver sync.WaitGroup
	driver.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond):
				h.call("POST", "/v1/apps/stays/heartbeat", nil, nil)
			}
		}
	})
	st := h.await("goes", "end of an application without a driver", func(st api.AppStatus) bool { return st.State == api.AppStopped })
	if !strings.Contains(st.Reason, "not heard of for 4s") || st.StoppedAt == nil {
		t.Errorf("%+v", st)
	}
	h.gone(lost)
	close(stop)
	driver.Wait()
	if again := h.register(stays); again.ID != "stays" {
		t.Errorf("%+v", again)
	}
	if after := h.running("stays", 2); !maps.Equal(after, kept) {
		t.Errorf("%v, then %v", kept, after)
	}
	if status := h.call("POST", "/v1/apps", goes, nil); status != http.StatusConflict && status != http.StatusGone {
		t.Errorf("the id of an application that is over: %d", status)
	}
}

// TestNoApplicationEndsBecauseTheClusterWasAway: all nodes are down for longer than
// the failover timeout.
func TestNoApplicationEndsBecauseTheClusterWasAway(t *testing.T) {
	h := newHosting(t, testcluster.Options{})
	h.Ready()
	a := application("app")
	a.FailoverTimeoutMs = 2000
	h.register(a)
	h.scale("app", 1)
	before := h.running("app", 1)
	for _, n := range h.Nodes() {
		n.Crash()
	}
	time.Sleep(2500 * time.Millisecond) // the timeout itself
	for _, n := range h.Nodes()[:2] {
		h.Do(n.Start(h.Ctx()))
	}
	h.ok("POST", "/v1/apps/app/heartbeat", nil, nil)
	h.register(application("another")) // although nobody has heard of the third node yet
	h.Start(h.Nodes()[2])
	if after := h.running("app", 1); !maps.Equal(after, before) {
		t.Errorf("%v, then %v", before, after)
	}
}

// TestOneApplicationDoesNotDisturbAnother: one is refused by Mesos, one asks for
// executors that no agent holds.
func TestOneApplicationDoesNotDisturbAnother(t *testing.T) {
	h := newHosting(t, testcluster.Options{})
	leader := h.Ready()
	h.register(application("huge", "spark.executor.memory", "900g"))
	h.register(application("taken", "spark.mesos.driver.frameworkId", "no-such-framework"))
	h.scale("huge", 1)
	h.scale("taken", 1)
	h.register(application("good"))
	h.scale("good", 2)
	h.running("good", 2)
	h.Until("the reason why nothing starts", func() bool {
		var st api.AppStatus
		h.ask(leader.Inside().RESTURL(), "GET", "/v1/apps/huge", nil, &st)
		return strings.Contains(st.Problem, "900") || strings.Contains(st.Problem, "MiB")
	})
	for path, a := range map[string]api.Application{
		"spark.executor.memory":          application("bad", "spark.executor.memory", "much"),
		"spark.mesos.principal.file":     application("bad", "spark.mesos.principal.file", "/etc/passwd"),
		"spark.mesos.coarse":             application("bad", "spark.mesos.coarse", "false"),
		"user":                           {Name: "n", DriverURL: "spark://a@b:1", SparkHome: "/s", User: "somebody-else"},
		"driverUrl":                      {Name: "n", DriverURL: "http://b:1", SparkHome: "/s"},
		"spark.mesos.driver.frameworkId": application("bad", "spark.mesos.driver.frameworkId", leader.Inside().State().Framework().ID),
	} {
		if status := h.call("POST", "/v1/apps", a, nil); status < 400 || status >= 500 {
			t.Errorf("%s: %d", path, status)
		}
	}
	other := application("good")
	other.DriverURL = "spark://CoarseGrainedScheduler@127.0.0.1:7001"
	if status := h.call("POST", "/v1/apps", other, nil); status != http.StatusConflict {
		t.Errorf("another driver under the same id: %d", status)
	}
}

// TestANodeRecoversApplicationsFromASnapshot: it was down while they came, and leads
// soon after.
func TestANodeRecoversApplicationsFromASnapshot(t *testing.T) {
	h := newHosting(t, testcluster.Options{Tune: func(_ string, _ *dispatcher.Config, r *raftstore.Config) {
		r.SnapshotThreshold, r.SnapshotInterval, r.TrailingLogs = 20, 50*time.Millisecond, 5
	}})
	late := h.Others(h.Ready())[0]
	late.Crash()
	before := make(map[string]map[string]int)
	for _, id := range []string{"a", "b", "c"} {
		h.register(application(id))
		h.scale(id, 2)
		before[id] = h.running(id, 2)
	}
	h.Until("snapshots", func() bool {
		for _, n := range h.Running() {
			h.scale("a", 2)
			if st := n.Inside().Store().Status(); st.SnapshotAt+20 < st.Applied || st.SnapshotAt == 0 {
				return false
			}
		}
		return true
	})
	h.Start(late)
	h.Until("the snapshot to be installed", func() bool { return late.Inside().Store().Status().Restores > 0 })
	h.Do(h.Ready().Inside().Store().Transfer(h.Ctx(), late.ID))
	h.Until("the late node to lead", late.Leads)
	for id, pids := range before {
		h.scale(id, 3)
		after := h.running(id, 3)
		for executor, pid := range pids {
			if after[executor] != pid {
				t.Errorf("%s: %v, then %v", id, pids, after)
			}
		}
	}
	h.Same()
}
