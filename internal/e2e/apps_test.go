package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

// hosted is an application that the nodes of a cluster host, as its driver sees
// it over HTTP.
type hosted struct {
	*cluster
	t      *testing.T
	client *client.Client
	id     string
}

// host registers an application at a cluster that was started with --backends.
func host(t *testing.T, c *cluster, a api.Application) *hosted {
	t.Helper()
	var servers []string
	for i := range c.nodes() {
		servers = append(servers, c.rest(i))
	}
	cl, err := client.New(client.Config{Servers: servers, RetryFor: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	h := &hosted{cluster: c, t: t, client: cl}
	st, _, err := cl.RegisterApp(t.Context(), a, "", 30*time.Second)
	h.do(err)
	if st.ApplicationID == "" {
		t.Fatalf("mesos does not know the application: %+v", st)
	}
	h.id = st.ID
	return h
}

func (h *hosted) do(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hosted) scale(n int64) {
	h.t.Helper()
	h.do(h.client.SetAppTotals(h.t.Context(), h.id, api.AppTotals{Totals: []api.ProfileTotal{{Total: n}}}))
}

// running waits until exactly n executors live and run, and returns their ids.
func (h *hosted) running(n int) (ids []string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprint(n, " executors"), func() string {
		list, err := h.client.AppExecutors(h.t.Context(), h.id)
		if err != nil {
			return err.Error()
		}
		ids = ids[:0]
		live := 0
		for _, e := range list.Executors {
			if e.EndedAt == nil {
				live++
			}
			if e.State == "RUNNING" {
				ids = append(ids, e.ID)
			}
		}
		if live != n || len(ids) != n {
			return fmt.Sprintf("%d live, %d run", live, len(ids))
		}
		return ""
	})
	return ids
}

func (h *hosted) killLeader() (was int) {
	h.t.Helper()
	was = h.ready(h.t)
	h.do(h.Signal(was, syscall.SIGKILL, true))
	return was
}

// TestAHostedApplicationOutlivesTheLeader: its executors are processes that do
// nothing, and none of them is started twice.
func TestAHostedApplicationOutlivesTheLeader(t *testing.T) {
	onEachMesos(t, func(t *testing.T, opts devcluster.Options) {
		opts.NodeArgs = append(opts.NodeArgs, "--backends")
		c := start(t, opts)
		c.ready(t)
		home := filepath.Join(c.dir, "spark")
		script := fmt.Sprintf("#!/bin/sh\necho \"$$ $*\" >> %s/started\nexec sleep 100000\n", home)
		if err := errors.Join(os.MkdirAll(filepath.Join(home, "bin"), 0o755),
			os.WriteFile(filepath.Join(home, "bin", "spark-class"), []byte(script), 0o755)); err != nil {
			t.Fatal(err)
		}
		app := api.Application{
			ID: "pi", Name: "pi", DriverURL: "spark://CoarseGrainedScheduler@127.0.0.1:7000", SparkHome: home,
			Properties: map[string]string{
				"spark.dynamicAllocation.enabled": "true", "spark.executor.cores": "1", "spark.executor.memory": "512m",
			},
		}
		h := host(t, c, app)
		h.scale(3)
		h.running(3)
		before := startedExecutors(t, home, 3)

		dead := h.killLeader()
		h.scale(5)
		h.do(h.client.KillExecutors(t.Context(), "pi", "1"))
		eventually(t, "executor 1 to end", func() string {
			if syscall.Kill(before["1"], 0) == nil {
				return "it lives"
			}
			return ""
		})
		ids := h.running(5)
		after := startedExecutors(t, home, 6)
		for id, pid := range before {
			if after[id] != pid || id != "1" && syscall.Kill(pid, 0) != nil {
				t.Errorf("executor %s was process %d; of %v run %v", id, pid, after, ids)
			}
		}
		h.restart(t, dead)
		if st, known, err := h.client.RegisterApp(t.Context(), app, "", 0); err != nil || !known || st.ID != "pi" {
			t.Errorf("registered again: %+v, %v, %v", st, known, err)
		}
		h.do(h.client.StopApp(t.Context(), "pi", "done"))
		eventually(t, "the end of the application", func() string {
			st, err := h.client.App(t.Context(), "pi")
			if err != nil {
				return err.Error()
			}
			if !st.Over() || st.Live > 0 {
				return st.State
			}
			return ""
		})
		eventually(t, "the processes to end", func() string {
			for id, pid := range startedExecutors(t, home, 6) {
				if syscall.Kill(pid, 0) == nil {
					return "executor " + id + " lives"
				}
			}
			return ""
		})
	})
}

// startedExecutors waits until the script has noted n executors, and returns their
// processes.
func startedExecutors(t *testing.T, home string, n int) map[string]int {
	t.Helper()
	pids := make(map[string]int)
	eventually(t, fmt.Sprint(n, " processes"), func() string {
		data, _ := os.ReadFile(filepath.Join(home, "started"))
		lines := strings.Count(string(data), "\n")
		clear(pids)
		for line := range strings.Lines(string(data)) {
			words := strings.Fields(line)
			if i := slices.Index(words, "--executor-id"); i >= 0 && i+1 < len(words) {
				pids[words[i+1]], _ = strconv.Atoi(words[0])
			}
		}
		if lines > len(pids) {
			t.Fatalf("an executor was started twice:\n%s", data)
		}
		if lines < n {
			return fmt.Sprint(lines, " are noted")
		}
		return ""
	})
	return pids
}

// TestARealSparkDriverOnAHostedBackend: a job of a real Spark 3.5 whose executors
// come from the nodes, over HTTP, while they are scaled, one of them is killed, and
// the leader dies by kill -9.
func TestARealSparkDriverOnAHostedBackend(t *testing.T) {
	spark := sparkfixture.Require(t)
	job := startJob(t, spark, 1500, 20)
	c := start(t, devcluster.Options{NodeArgs: []string{"--backends"}})
	c.ready(t)
	home := ""
	for _, v := range spark.Env() {
		if dir, found := strings.CutPrefix(v, "JAVA_HOME="); found {
			home = dir
		}
	}
	h := host(t, c, api.Application{
		Name: "CoarseJob", DriverURL: "spark://CoarseGrainedScheduler@127.0.0.1:" + job.port,
		SparkVersion: "3.5.1", SparkHome: spark.Home(), FailoverTimeoutMs: (10 * time.Minute).Milliseconds(),
		Properties: map[string]string{
			"spark.dynamicAllocation.enabled": "true", "spark.executor.cores": "1", "spark.executor.memory": "600m",
			"spark.executor.extraJavaOptions": backend.JavaModuleOptions + " -XX:TieredStopAtLevel=1",
			"spark.executorEnv.JAVA_HOME":     home, "spark.executorEnv.SPARK_LOCAL_IP": "127.0.0.1",
		},
	})
	h.scale(2)
	job.executors(2)
	job.progress(20)

	before := executorPIDs(t, job.port)
	h.killLeader()
	job.progress(50)
	if after := executorPIDs(t, job.port); !maps.Equal(after, before) {
		t.Errorf("executors were %v and are %v", before, after)
	}
	h.scale(3)
	job.executors(3)
	h.do(h.client.KillExecutors(t.Context(), h.id, "0"))
	eventually(t, "another executor in its place", func() string {
		if pids := executorPIDs(t, job.port); len(pids) != 3 || pids["0"] != 0 || pids["1"] != before["1"] {
			return fmt.Sprint(pids)
		}
		return ""
	})
	job.executors(3)
	job.finish()
	h.do(h.client.StopApp(t.Context(), h.id, "the job is done"))
	eventually(t, "all executors to end", func() string {
		if pids := executorPIDs(t, job.port); len(pids) > 0 {
			return fmt.Sprint(pids)
		}
		return ""
	})
}

// executorPIDs are the JVMs that registered, or will, with the driver at a port.
func executorPIDs(t *testing.T, port string) map[string]int {
	t.Helper()
	pids := make(map[string]int)
	for _, p := range processesOf(t, "CoarseGrainedExecutorBackend\x00--driver-url\x00spark://CoarseGrainedScheduler@127.0.0.1:"+port) {
		words := strings.Fields(p)
		for i, w := range words {
			if w == "--executor-id" {
				pids[words[i+1]], _ = strconv.Atoi(words[0])
			}
		}
	}
	return pids
}

// sparkJob is a running CoarseJob, the driver of the tests of package backend.
type sparkJob struct {
	t     *testing.T
	dir   string
	port  string
	tasks int

	mu  sync.Mutex
	out bytes.Buffer
}

func (j *sparkJob) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(p)
}

// startJob starts the driver and waits until executors can register with it.
func startJob(t *testing.T, spark *sparkfixture.Spark, tasks, millis int) *sparkJob {
	t.Helper()
	j := &sparkJob{t: t, dir: t.TempDir(), tasks: tasks}
	classes, jar := t.TempDir(), filepath.Join(t.TempDir(), "job.jar")
	for _, args := range [][]string{
		{"javac", "-nowarn", "-proc:none", "-cp", filepath.Join(spark.Home(), "jars", "*"), "-d", classes, "../../backend/testdata/CoarseJob.java"},
		{"jar", "--create", "--file", jar, "-C", classes, "."},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		for _, v := range spark.Env() {
			if home, found := strings.CutPrefix(v, "JAVA_HOME="); found {
				cmd = exec.Command(filepath.Join(home, "bin", args[0]), args[1:]...)
			}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	args := []string{"--class", "CoarseJob", "--driver-memory", "600m"}
	for _, conf := range []string{
		"spark.master=spark://127.0.0.1:1", "spark.ui.enabled=false", "spark.driver.host=127.0.0.1", "spark.driver.bindAddress=127.0.0.1",
		"spark.task.maxFailures=100", "spark.local.dir=" + t.TempDir(), "spark.log.level=WARN",
		"spark.network.timeout=60s", "spark.executor.heartbeatInterval=2s", "spark.locality.wait=0",
	} {
		args = append(args, "--conf", conf)
	}
	cmd := spark.Command(ctx, append(args, jar, j.dir, strconv.Itoa(tasks), strconv.Itoa(millis))...)
	cmd.Stdout, cmd.Stderr = j, j
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		cancel()
		<-exited
		if t.Failed() {
			j.mu.Lock()
			defer j.mu.Unlock()
			t.Logf("the driver said:\n%s", j.out.String())
		}
	})
	j.port = j.await("driver", func(s string) bool { return s != "" })
	return j
}

func (j *sparkJob) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(j.dir, name))
	return string(data)
}

func (j *sparkJob) await(name string, ok func(string) bool) (text string) {
	j.t.Helper()
	eventually(j.t, name+" of the job", func() string {
		if text = j.read(name); ok(text) {
			return ""
		}
		return "it is " + strconv.Quote(text)
	})
	return text
}

// executors waits until so many have registered with the driver.
func (j *sparkJob) executors(n int) {
	j.t.Helper()
	j.await("executors", func(s string) bool { return s == strconv.Itoa(n) })
}

// progress waits until another n tasks are done.
func (j *sparkJob) progress(n int) {
	j.t.Helper()
	done, _ := strconv.Atoi(j.read("done"))
	j.await("done", func(s string) bool {
		now, _ := strconv.Atoi(s)
		return now >= min(done+n, j.tasks-2)
	})
}

// finish lets the job end and checks what it computed.
func (j *sparkJob) finish() {
	j.t.Helper()
	if r := j.read("result"); r != "" {
		j.t.Fatalf("the job ended before it was let: %s", r)
	}
	if err := os.WriteFile(filepath.Join(j.dir, "finish"), nil, 0o600); err != nil {
		j.t.Fatal(err)
	}
	want := strconv.Itoa(j.tasks * (j.tasks - 1) / 2)
	if got := j.await("result", func(s string) bool { return s != "" }); got != want {
		j.t.Errorf("the job computed %s, want %s", got, want)
	}
}
