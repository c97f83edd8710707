package backend

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

// jobPatience is for a JVM to start on a slow and busy machine.
const jobPatience = 4 * time.Minute

// sparkJob is a running testdata/CoarseJob.java.
type sparkJob struct {
	t     *testing.T
	spark *sparkfixture.Spark
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

func javaHome(spark *sparkfixture.Spark) string {
	for _, v := range spark.Env() {
		if home, found := strings.CutPrefix(v, "JAVA_HOME="); found {
			return home
		}
	}
	return ""
}

// startJob starts the driver and waits until executors can register with it.
func startJob(t *testing.T, spark *sparkfixture.Spark, tasks, millis int) *sparkJob {
	t.Helper()
	j := &sparkJob{t: t, spark: spark, dir: t.TempDir(), tasks: tasks}
	bin, classes, jar := filepath.Join(javaHome(spark), "bin"), t.TempDir(), filepath.Join(t.TempDir(), "job.jar")
	for _, args := range [][]string{
		{"javac", "-nowarn", "-proc:none", "-cp", filepath.Join(spark.Home(), "jars", "*"), "-d", classes, "testdata/CoarseJob.java"},
		{"jar", "--create", "--file", jar, "-C", classes, "."},
	} {
		if out, err := exec.Command(filepath.Join(bin, args[0]), args[1:]...).CombinedOutput(); err != nil {
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
	began := time.Now()
	defer func() { t.Logf("driver after %v", time.Since(began).Round(time.Millisecond)) }()
	j.port = j.await("driver", func(s string) bool { return s != "" })
	return j
}

func (j *sparkJob) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(j.dir, name))
	return string(data)
}

func (j *sparkJob) await(name string, ok func(string) bool) string {
	j.t.Helper()
	for end := time.Now().Add(jobPatience); ; time.Sleep(20 * time.Millisecond) {
		if text := j.read(name); ok(text) {
			return text
		}
		if time.Now().After(end) {
			j.t.Fatalf("waited in vain for %q of the job; it is %q", name, j.read(name))
		}
	}
}

// executors waits until so many have registered with the driver.
func (j *sparkJob) executors(n int) {
	j.t.Helper()
	began := time.Now()
	defer func() { j.t.Logf("%d executors registered after %v", n, time.Since(began).Round(time.Millisecond)) }()
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
	if err := os.WriteFile(filepath.Join(j.dir, "finish"), nil, 0o644); err != nil {
		j.t.Fatal(err)
	}
	want := strconv.Itoa(j.tasks * (j.tasks - 1) / 2)
	if got := j.await("result", func(s string) bool { return s != "" }); got != want {
		j.t.Errorf("the job computed %s, want %s", got, want)
	}
}

// conf makes the backend start executors of this Spark for this driver.
func (j *sparkJob) conf(cfg *Config) {
	cfg.Command = nil
	cfg.Context.SparkHome = j.spark.Home()
	for k, v := range map[string]string{
		"spark.driver.host": "127.0.0.1", "spark.driver.port": j.port, "spark.executor.memory": "600m",
		"spark.executor.extraJavaOptions": JavaModuleOptions + " -XX:TieredStopAtLevel=1",
		"spark.executorEnv.JAVA_HOME":     javaHome(j.spark), "spark.executorEnv.SPARK_LOCAL_IP": "127.0.0.1",
	} {
		cfg.Context.Conf[k] = v
	}
}

// TestRealSparkExecutors: one job of a real Spark, while the executors that this
// backend gets for it are scaled from 1 to 4 to 2, one is killed, and the leader
// dies.
func TestRealSparkExecutors(t *testing.T) {
	job := startJob(t, sparkfixture.Require(t), 2000, 20)
	c := newCluster(t, job.conf)

	c.scale(c.follower(), 1)
	job.executors(1)
	job.progress(10)

	c.scale(c.follower(), 4)
	job.executors(4)
	job.progress(10)

	app := c.follower()
	c.scale(app, 2)
	c.do(app.KillExecutors(t.Context(), "1", "3"))
	job.executors(2)
	job.progress(10)

	before := c.sparkPIDs(2)
	killProcess(t, before["0"])
	eventuallyFor(t, jobPatience, "another executor in its place", func() bool {
		pids := c.taskPIDs()
		return len(pids) == 2 && pids["0"] == 0 && pids["2"] == before["2"]
	})
	job.executors(2)
	job.progress(10)

	before = c.sparkPIDs(2)
	id := c.anyone().ApplicationID()
	c.leader().crash()
	c.leader()
	job.progress(50)
	if after := c.sparkPIDs(2); fmt.Sprint(after) != fmt.Sprint(before) || c.anyone().ApplicationID() != id {
		t.Errorf("executors %v, then %v", before, after)
	}
	c.scale(c.anyone(), 3)
	job.executors(3)
	job.finish()
}

// TestRealSparkExecutorsOnARealMesos: the same on Apache Mesos 1.11, in short.
func TestRealSparkExecutorsOnARealMesos(t *testing.T) {
	programs, spark := realmesos.Require(t), sparkfixture.Require(t)
	_ = programs
	real, err := realmesos.Start(t.Context(), realmesos.Options{Agents: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := real.Close(); err != nil {
			t.Error(err)
		}
	})
	job := startJob(t, spark, 1000, 20)
	c := newCluster(t, func(cfg *Config) {
		job.conf(cfg)
		cfg.Master = real.Addr()
	})
	c.scale(c.follower(), 2)
	job.executors(2)
	job.progress(10)
	c.leader().crash()
	c.leader()
	c.scale(c.anyone(), 3)
	job.executors(3)
	c.scale(c.anyone(), 2)
	c.do(c.anyone().KillExecutors(t.Context(), "0"))
	job.executors(2)
	job.progress(10)
	job.finish()
	ctx, cancel := context.WithTimeout(t.Context(), jobPatience)
	defer cancel()
	c.do(c.anyone().Stop(ctx))
}

// taskPIDs are the processes of the tasks that run.
func (c *cluster) taskPIDs() map[string]int {
	pids := make(map[string]int)
	for _, v := range c.mesos.Tasks() {
		if v.State == "TASK_RUNNING" && v.PID != 0 && syscall.Kill(v.PID, 0) == nil {
			pids[v.ID] = v.PID
		}
	}
	return pids
}

func (c *cluster) sparkPIDs(n int) (pids map[string]int) {
	c.t.Helper()
	eventuallyFor(c.t, jobPatience, fmt.Sprintf("%d executors", n), func() bool {
		pids = c.taskPIDs()
		return len(pids) == n
	})
	return pids
}
