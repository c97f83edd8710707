package shuffle_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

// megabytesEnv makes the jobs of the real Spark larger than their 100 MB;
// fullEnv, if not empty, runs all their variants: 25 jobs instead of 10.
const (
	megabytesEnv = "SHUFFLE_TEST_MEGABYTES"
	fullEnv      = "SHUFFLE_TEST_FULL"
)

func full() bool { return os.Getenv(fullEnv) != "" }

// jobTimeout is for one Spark job on a slow and busy machine.
const jobTimeout = 10 * time.Minute

// job is one run of testdata/ShuffleJob.java.
type job struct {
	spark         *sparkfixture.Spark
	jar           string
	shape         string
	megabytes     int
	maps, reduces int
	kill          bool
	conf          map[string]string
	// mapped, if set, is called between map and reduce; reducing when the
	// reduce side starts.
	mapped, reducing func()
}

type result struct {
	digest             string
	records, generated int64
	mapMs, reduceMs    int64
	killed             int
}

var (
	jars  sync.Map // by Spark version
	plain sync.Map // results without the service, by shape, size and maps, on which they depend
)

// withoutService is the result that the same job has without the service,
// whatever the Spark.
func (j job) withoutService(t *testing.T) result {
	t.Helper()
	key := fmt.Sprint(j.shape, j.megabytes, j.maps)
	if r, ok := plain.Load(key); ok {
		return r.(result)
	}
	j = job{spark: j.spark, jar: j.jar, shape: j.shape, megabytes: j.megabytes, maps: j.maps, reduces: j.reduces}
	r := j.run(t)
	plain.Store(key, r)
	return r
}

// jobJar compiles the job against this Spark.
func jobJar(t *testing.T, spark *sparkfixture.Spark) string {
	t.Helper()
	if jar, ok := jars.Load(spark.Version()); ok {
		return jar.(string)
	}
	dir, err := os.MkdirTemp("", "shuffle-job")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { jars.Delete(spark.Version()); os.RemoveAll(dir) })
	bin := ""
	for _, v := range spark.Env() {
		if home, ok := strings.CutPrefix(v, "JAVA_HOME="); ok {
			bin = filepath.Join(home, "bin")
		}
	}
	jar := filepath.Join(dir, "job.jar")
	for _, args := range [][]string{
		{"javac", "-nowarn", "-proc:none", "-cp", filepath.Join(spark.Home(), "jars", "*"), "-d", dir + "/classes", "testdata/ShuffleJob.java", "testdata/ShuffleClient.java"},
		{"jar", "--create", "--file", jar, "-C", dir + "/classes", "."},
	} {
		if out, err := exec.Command(filepath.Join(bin, args[0]), args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	jars.Store(spark.Version(), jar)
	return jar
}

func (j job) run(t *testing.T) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), jobTimeout)
	defer cancel()
	args := []string{"--master", "local-cluster[2,1,1024]", "--class", "ShuffleJob",
		"--driver-java-options", "-Djava.io.tmpdir=" + t.TempDir()}
	conf := map[string]string{
		"spark.local.dir": t.TempDir(), "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
		"spark.shuffle.compress": "false", "spark.executor.heartbeatInterval": "2s", "spark.shuffle.io.retryWait": "1s",
		"spark.log.level": "ERROR",
	}
	maps.Copy(conf, j.conf)
	for k, v := range conf {
		args = append(args, "--conf", k+"="+v)
	}
	args = append(args, j.jar, j.shape, fmt.Sprint(j.megabytes), fmt.Sprint(j.maps), fmt.Sprint(j.reduces))
	if j.kill {
		args = append(args, "kill")
	}
	cmd := j.spark.Command(ctx, args...)
	cmd.Dir = t.TempDir() // local-cluster puts its work directory under SPARK_HOME otherwise
	cmd.Env = append(cmd.Env, "SPARK_WORKER_DIR="+t.TempDir())
	log := &strings.Builder{}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var r result
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		j.line(lines.Text(), in, &r)
	}
	if err := cmd.Wait(); err != nil || r.digest == "" {
		text := log.String()
		t.Fatalf("%s job: %v\n%s", j.shape, err, text[max(0, len(text)-6000):])
	}
	t.Logf("%s, %d MB, %d x %d: map %d ms, reduce %d ms, %d executors killed", j.shape, j.megabytes, j.maps, j.reduces, r.mapMs, r.reduceMs, r.killed)
	return r
}

func (j job) line(line string, in io.Writer, r *result) {
	switch {
	case strings.HasPrefix(line, "MAPPED"):
		fmt.Sscanf(line, "MAPPED %d", &r.mapMs)
		if j.mapped != nil {
			j.mapped()
		}
		fmt.Fprintln(in, "go on")
		if j.reducing != nil {
			go j.reducing()
		}
	case strings.HasPrefix(line, "KILLED"):
		fmt.Sscanf(line, "KILLED %d", &r.killed)
	case strings.HasPrefix(line, "RESULT"):
		fmt.Sscanf(line, "RESULT %s %d %d %d", &r.digest, &r.records, &r.generated, &r.reduceMs)
	}
}

func megabytes() int {
	if n, err := strconv.Atoi(os.Getenv(megabytesEnv)); err == nil {
		return n
	}
	return 100
}

func (c *child) metric(name string) int64 {
	resp, err := http.Get("http://" + c.web + "/metrics")
	if err != nil {
		return -1
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return int64(f)
		}
	}
	return -1
}

// withService is the configuration of a job that uses the service.
func (c *child) withService(more map[string]string) map[string]string {
	_, port, _ := net.SplitHostPort(c.addr)
	conf := map[string]string{"spark.shuffle.service.enabled": "true", "spark.shuffle.service.port": port}
	maps.Copy(conf, more)
	return conf
}

const (
	bytesServed  = "ha_dispatcher_shuffle_block_bytes_total"
	blocksServed = "ha_dispatcher_shuffle_blocks_served_total"
)

// TestRealSparkJobs runs shuffles of several shapes, each with and without the
// service. With it, all executors are killed between map and reduce: the
// results must be the same and no map task may run a second time.
func TestRealSparkJobs(t *testing.T) {
	spark := sparkfixture.Require(t)
	jar := jobJar(t, spark)
	jobs := []job{{shape: "wide", maps: 8, reduces: 20}, {shape: "join", maps: 8, reduces: 20}}
	if full() {
		jobs = append(jobs, job{shape: "sort", maps: 8, reduces: 20}, job{shape: "skew", maps: 8, reduces: 20},
			job{shape: "small", maps: 100, reduces: 100})
	}
	for _, j := range jobs {
		t.Run(j.shape, func(t *testing.T) {
			j.spark, j.jar, j.megabytes = spark, jar, megabytes()
			plain := j.withoutService(t)
			service := startChild(t, t.TempDir(), "127.0.0.1:0", nil)
			j.conf, j.kill = service.withService(nil), true
			got := j.run(t)
			if got.digest != plain.digest || got.records != plain.records {
				t.Errorf("result %s of %d records, without the service %s of %d", got.digest, got.records, plain.digest, plain.records)
			}
			if got.killed != 2 || got.generated != plain.generated {
				t.Errorf("%d executors killed; %d records generated, %d without: map tasks ran again", got.killed, got.generated, plain.generated)
			}
			t.Logf("served %d MB in %d blocks; the other job took %d + %d ms", service.metric(bytesServed)>>20, service.metric(blocksServed), plain.mapMs, plain.reduceMs)
		})
	}
}

// TestRealSparkAuthentication runs the wide shuffle in each way to
// authenticate, again killing the executors.
func TestRealSparkAuthentication(t *testing.T) {
	spark := sparkfixture.Require(t)
	jar := jobJar(t, spark)
	variants := map[string]map[string]string{
		"SASL encrypted": {"spark.authenticate.enableSaslEncryption": "true", "spark.network.sasl.serverAlwaysEncrypt": "true"},
		"AuthEngine":     {"spark.network.crypto.enabled": "true"},
	}
	if full() {
		variants["SASL"] = nil
		variants["AuthEngine, no SASL"] = map[string]string{"spark.network.crypto.enabled": "true", "spark.network.crypto.saslFallback": "false"}
		variants["AuthEngine, only there"] = map[string]string{"spark.network.crypto.enabled": "true"}
		t.Run("wrong secret", func(t *testing.T) { wrongSecret(t, spark, jar) })
	}
	for name, conf := range variants {
		t.Run(name, func(t *testing.T) {
			auth := map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": "a secret for all"}
			maps.Copy(auth, conf)
			served := maps.Clone(auth)
			if name == "AuthEngine, only there" { // the client falls back to SASL on the same connection
				delete(served, "spark.network.crypto.enabled")
			}
			service := startChild(t, t.TempDir(), "127.0.0.1:0", served)
			j := job{spark: spark, jar: jar, shape: "wide", megabytes: 20, maps: 4, reduces: 8, kill: true, conf: service.withService(auth)}
			got, plain := j.run(t), j.withoutService(t)
			if got.digest != plain.digest || got.generated != plain.generated {
				t.Errorf("result %+v, without the service %+v", got, plain)
			}
			if service.metric(bytesServed) < 15<<20 {
				t.Errorf("only %d bytes came from the service", service.metric(bytesServed))
			}
		})
	}
}

// wrongSecret: executors that the service does not let in make the job fail.
func wrongSecret(t *testing.T, spark *sparkfixture.Spark, jar string) {
	service := startChild(t, t.TempDir(), "127.0.0.1:0", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": "another"})
	ctx, cancel := context.WithTimeout(t.Context(), jobTimeout)
	defer cancel()
	conf := service.withService(map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": "a secret for all"})
	args := []string{"--master", "local-cluster[1,1,1024]", "--class", "ShuffleJob", "--conf", "spark.local.dir=" + t.TempDir(), "--conf", "spark.deploy.maxExecutorRetries=1"}
	for k, v := range conf {
		args = append(args, "--conf", k+"="+v)
	}
	cmd := spark.Command(ctx, append(args, jar, "wide", "1", "1", "1")...)
	cmd.Dir, cmd.Env = t.TempDir(), append(cmd.Env, "SPARK_WORKER_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("a job with a wrong secret succeeded:\n%s", out)
	}
}

// TestRealSparkSurvivesARestart kills the service with SIGKILL twice, between
// map and reduce and in the middle of the reduce side, and starts it again.
func TestRealSparkSurvivesARestart(t *testing.T) {
	spark := sparkfixture.Require(t)
	j := job{spark: spark, jar: jobJar(t, spark), shape: "wide", megabytes: megabytes(), maps: 8, reduces: 60}
	plain := j.withoutService(t)
	dir := t.TempDir()
	service := startChild(t, dir, "127.0.0.1:0", nil)
	restart := func() {
		service.kill()
		service = startChild(t, dir, service.addr, nil)
	}
	j.conf, j.kill, j.mapped = service.withService(nil), true, restart
	midway := make(chan int64, 1)
	j.reducing = func() {
		var served int64
		for deadline := time.Now().Add(jobTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if served = service.metric(bytesServed); served > int64(j.megabytes)<<20/4 {
				break
			}
		}
		restart()
		midway <- served
	}
	got := j.run(t)
	served := <-midway
	if got.digest != plain.digest || got.records != plain.records || got.generated != plain.generated {
		t.Errorf("result %+v, without the service %+v", got, plain)
	}
	after := service.metric(bytesServed)
	if t.Logf("%d MB served when it was killed, %d MB after", served>>20, after>>20); after <= 0 {
		t.Error("nothing was served after the second restart: it came too late")
	}
}

// TestRealSpark4 runs the wide shuffle with a client of Spark 4.
func TestRealSpark4(t *testing.T) {
	spark := sparkfixture.Require4(t)
	jar := jobJar(t, spark)
	variants := map[string]map[string]string{
		"AuthEngine 2": {"spark.authenticate": "true", "spark.network.crypto.enabled": "true", "spark.network.crypto.authEngineVersion": "2"},
	}
	if full() {
		variants["open"] = map[string]string{}
		variants["AuthEngine 1"] = map[string]string{"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
		variants["old fetch protocol"] = map[string]string{"spark.shuffle.useOldFetchProtocol": "true"}
		variants["blocks go to disk"] = map[string]string{"spark.network.maxRemoteBlockSizeFetchToMem": "100k"}
		variants["SASL encrypted"] = map[string]string{"spark.authenticate": "true", "spark.authenticate.enableSaslEncryption": "true"}
	}
	for name, conf := range variants {
		t.Run(name, func(t *testing.T) {
			conf["spark.authenticate.secret"] = "a secret for all"
			service := startChild(t, t.TempDir(), "127.0.0.1:0", conf)
			j := job{spark: spark, jar: jar, shape: "wide", megabytes: 20, maps: 4, reduces: 8, kill: true, conf: service.withService(conf)}
			got, plain := j.run(t), j.withoutService(t)
			if got.digest != plain.digest || got.generated != plain.generated {
				t.Errorf("result %+v, without the service %+v", got, plain)
			}
			if service.metric(bytesServed) < 15<<20 {
				t.Errorf("only %d bytes came from the service", service.metric(bytesServed))
			}
		})
	}
}
