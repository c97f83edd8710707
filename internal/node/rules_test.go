package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// registration is what a node with these properties would register with.
func registration(t *testing.T, props map[string]string, change func(*node.Config)) (mesosutil.DriverConfig, *node.Node) {
	t.Helper()
	cfg := single(t)
	cfg.Spark = sparkconf.New(props)
	seen := make(chan mesosutil.DriverConfig, 100)
	cfg.TuneMesos = func(c *mesosutil.DriverConfig) { seen <- *c }
	if change != nil {
		change(&cfg)
	}
	n := start(t, cfg)
	return <-seen, n
}

// What upstream tells Mesos of its framework.
func TestFrameworkRules(t *testing.T) {
	t.Run("as upstream registers", func(t *testing.T) {
		got, n := registration(t, nil, func(c *node.Config) { c.User = "spark"; c.PublicHost = "public.example" })
		f := got.Framework
		if f.GetName() != "Spark Cluster" || f.GetUser() != "spark" || !f.GetCheckpoint() || f.GetFailoverTimeout() != 2147483647.0 || f.ID != nil {
			t.Errorf("%v", f)
		}
		if url := f.GetWebUiURL(); url != n.WebURL() || !strings.HasPrefix(url, "http://public.example:") || strings.HasSuffix(url, ":0") {
			t.Errorf("web UI %s", url)
		}
		if diff := cmp.Diff([]string{"*"}, f.Roles); diff != "" {
			t.Error(diff)
		}
		if got.Credentials.Principal() != "" {
			t.Errorf("principal %q", got.Credentials.Principal())
		}
	})
	t.Run("properties", func(t *testing.T) {
		got, _ := registration(t, map[string]string{
			"spark.mesos.dispatcher.webui.url": "https://ui.example/spark", "spark.mesos.role": "batch", "spark.mesos.gpus.max": "2",
			"spark.mesos.dispatcher.failoverTimeout": "7d", "spark.mesos.principal": "p", "spark.mesos.secret": "s",
		}, func(c *node.Config) { c.Name = "mine" })
		f := got.Framework
		gpus := false
		for _, c := range f.Capabilities {
			gpus = gpus || c.Type == mesos.FrameworkInfo_Capability_GPU_RESOURCES
		}
		if f.GetWebUiURL() != "https://ui.example/spark" || f.GetName() != "mine" || !gpus || f.GetFailoverTimeout() != (7*24*time.Hour).Seconds() ||
			!cmp.Equal(f.Roles, []string{"batch"}) || got.Credentials.Principal() != "p" {
			t.Errorf("%v %v", f, got.Credentials)
		}
	})
	t.Run("principal of the environment", func(t *testing.T) {
		got, _ := registration(t, nil, func(c *node.Config) {
			c.Env = func(name string) (string, bool) {
				v, ok := map[string]string{"SPARK_MESOS_PRINCIPAL": "env", "SPARK_MESOS_SECRET": "s"}[name]
				return v, ok
			}
		})
		if got.Credentials.Principal() != "env" {
			t.Errorf("%v", got.Credentials)
		}
	})
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestTheRegistrationIsLogged(t *testing.T) {
	m, err := localmesos.Start(t.Context(), localmesos.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cfg := single(t)
	cfg.Master = m.Addr()
	var log syncBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	n := start(t, cfg)
	eventually(t, "the registration", func() bool {
		id := n.State().Framework().ID
		return id != "" && strings.Contains(log.String(), `msg="subscribed to Mesos"`) && strings.Contains(log.String(), "framework="+id)
	})
}

// Wrong values are refused at the start with the key, the value and what is
// allowed; each key once.
func TestPropertiesAreChecked(t *testing.T) {
	for key, c := range map[string]struct{ value, want string }{
		"spark.authenticate.secret": {"hunter2", "The MesosClusterDispatcher does not support authentication via spark.authenticate.secret.  " +
			"It is not currently possible to run jobs in cluster mode with authentication on."},
		"spark.deploy.recoveryMode":                                      {"FILESYSTEM", "NONE or ZOOKEEPER"},
		"spark.mesos.dispatcher.queue.A":                                 {"abc", "a number"},
		"spark.mesos.dispatcher.queue.default":                           {"1", "cannot be declared"},
		"spark.mesos.maxDrivers":                                         {"0", "1 or more"},
		"spark.mesos.retainedDrivers":                                    {"2.5", "a whole number"},
		"spark.mesos.cluster.retry.wait.max":                             {"1m", "a whole number"},
		"spark.mesos.rejectOfferDuration":                                {"-1s", "ms, s, m"},
		"spark.mesos.fetcherCache.enable":                                {"yes", "true"},
		"spark.mesos.gpus.max":                                           {"-1", "0 or more"},
		"spark.mesos.role":                                               {"a b", "blank"},
		"spark.mesos.dispatcher.historyServer.url":                       {"javascript:1", "http://"},
		"spark.mesos.proxy.baseURL":                                      {"ftp://h", "http://"},
		"spark.mesos.principal.file":                                     {"/no/such/file", "/no/such/file"},
		"spark.mesos.dispatcher.driverDefault.spark.mesos.containerizer": {"rkt", "docker, mesos"},
		"spark.redaction.regex":                                          {"(", "a regular expression"},
	} {
		t.Run(key, func(t *testing.T) {
			cfg := single(t)
			cfg.Spark = sparkconf.New(map[string]string{key: c.value})
			n, err := node.Start(t.Context(), cfg)
			if err == nil {
				n.Crash()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), key[strings.LastIndex(key, ".")+1:]) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("no %q in: %v", c.want, err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("keys of submissions do not matter", func(t *testing.T) { // the file may be one that clients use, too
		cfg := single(t)
		cfg.Spark = sparkconf.New(map[string]string{"spark.mesos.containerizer": "rkt", "spark.mesos.coarse": "maybe", "spark.deploy.recoveryMode": "zookeeper"})
		start(t, cfg)
	})
}

// logBuffer is a log in memory; the listener of the log says that it is closed when
// the node is.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Keys that are unknown, replaced or without effect are named in the log.
func TestPropertiesWithoutEffectAreLogged(t *testing.T) {
	cfg := single(t)
	cfg.Spark = sparkconf.New(map[string]string{
		"spark.mesos.maxDriver": "5", "spark.deploy.recoveryMode": "ZOOKEEPER", "spark.deploy.zookeeper.url": "z:2181",
		"spark.mesos.dispatcher.driverProperty.spark.a": "1", "spark.mesos.driver.labels": "a:b", "spark.mesos.maxDrivers": "5", "spark.other": "1",
	})
	var log logBuffer
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	n, err := node.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		var record struct{ Level, Msg, Key, Why string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if record.Msg == "property without effect" {
			got[record.Key] = record.Level + " " + record.Why
		}
	}
	for key, want := range map[string]string{
		"spark.mesos.maxDriver":     "WARN no such property is known; is spark.mesos.maxDrivers meant?",
		"spark.deploy.recoveryMode": "WARN this has no effect: ", "spark.deploy.zookeeper.url": "WARN this has no effect: ",
		"spark.mesos.dispatcher.driverProperty.spark.a": "WARN this has no effect: ", "spark.mesos.driver.labels": "INFO only submissions",
	} {
		if !strings.HasPrefix(got[key], want) {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
		delete(got, key)
	}
	if len(got) != 0 {
		t.Errorf("further keys: %v", got)
	}
}

const token = "anns-token-0123456789"

func tokens(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("ann:"+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A node that runs out of files or memory has to be seen from outside.
func TestMetricsTellOfTheProcess(t *testing.T) {
	_, body := get(t, start(t, single(t)).WebURL()+"/metrics")
	for _, name := range []string{"go_goroutines", "process_open_fds", "process_max_fds", "process_resident_memory_bytes"} {
		if !strings.Contains(body, "\n"+name+" ") {
			t.Errorf("no %s at /metrics", name)
		}
	}
}

// What the pages' port shows is for those who may read from the REST port;
// whether the node is well, anybody may ask.
func TestPagesAreForThoseWhoMayRead(t *testing.T) {
	cfg := single(t)
	cfg.REST.Auth.TokenFile, cfg.REST.Auth.Reads = tokens(t), true
	n := start(t, cfg)
	for path, want := range map[string]int{"/": 401, "/metrics": 401, "/driver?id=x": 401, "/cluster": 401, "/healthz": 200, "/readyz": 503} {
		if status, body := get(t, n.WebURL()+path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for path, want := range map[string]int{"/": 200, "/metrics": 200} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, n.WebURL()+path, http.NoBody)
		req.SetBasicAuth("ann", token)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s with a token: %d", path, resp.StatusCode)
		}
	}
}

// The submissions that stop upstream's dispatcher for good, or for half a
// minute: here they are refused at the door, and those before and behind them
// run.
func TestPoisonSubmissions(t *testing.T) {
	m, err := localmesos.Start(t.Context(), localmesos.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cfg := single(t)
	cfg.Master = m.Addr()
	n := start(t, cfg)
	eventually(t, "ready", func() bool {
		status, _ := get(t, n.WebURL()+"/readyz")
		return status == http.StatusOK
	})
	submit := func(t *testing.T, props map[string]string, args ...string) (int, api.SubmissionResponse) {
		t.Helper()
		all := map[string]string{"spark.app.name": "d", "spark.driver.memory": "32m", "spark.driver.memoryOverhead": "0",
			"spark.driver.cores": "0.1", "spark.mesos.dispatcher.command": "true"}
		for k, v := range props {
			all[k] = v
		}
		body, err := json.Marshal(map[string]any{"action": "CreateSubmissionRequest", "appArgs": append([]string{}, args...), "appResource": "", "mainClass": "",
			"clientSparkVersion": "3.5.1", "environmentVariables": map[string]string{}, "sparkProperties": all})
		if err != nil {
			t.Fatal(err)
		}
		status, text := do(t, http.MethodPost, n.RESTURL()+"/v1/submissions/create", string(body))
		var answer api.SubmissionResponse
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%d %s", status, text)
		}
		return status, answer
	}
	good := func(t *testing.T) string {
		t.Helper()
		status, answer := submit(t, nil)
		if status != http.StatusOK || !answer.Success {
			t.Fatalf("%d %+v", status, answer)
		}
		return answer.SubmissionID
	}
	ids := []string{good(t)}
	for name, poison := range map[string]struct {
		props  map[string]string
		args   []string
		status int
		want   string
	}{
		"unknown queue":            {map[string]string{"spark.mesos.dispatcher.queue": "nosuch"}, nil, 400, "spark.mesos.dispatcher.queue"},
		"malformed constraint":     {map[string]string{"spark.mesos.driver.constraints": "os;zone:a"}, nil, 400, "spark.mesos.driver.constraints"},
		"argument of 900 kB":       {nil, []string{strings.Repeat("x", 900_000)}, 400, "at most"},
		"argument of 2 MB":         {nil, []string{strings.Repeat("x", 2_000_000)}, 400, "at most"},
		"argument of 12 MB":        {nil, []string{strings.Repeat("x", 12_000_000)}, 413, "larger"},
		"endless cores":            {map[string]string{"spark.driver.cores": "1e308"}, nil, 400, "spark.driver.cores"},
		"no memory":                {map[string]string{"spark.driver.memory": "0"}, nil, 400, "spark.driver.memory"},
		"overhead of another kind": {map[string]string{"spark.driver.memoryOverhead": "much"}, nil, 400, "spark.driver.memoryOverhead"},
		"malformed label":          {map[string]string{"spark.mesos.driver.labels": "a"}, nil, 400, "spark.mesos.driver.labels"},
		"secrets without places":   {map[string]string{"spark.mesos.driver.secret.names": "/a,/b", "spark.mesos.driver.secret.envkeys": "A"}, nil, 400, "spark.mesos.driver.secret"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := submit(t, poison.props, poison.args...)
			if status != poison.status || answer.Success || !strings.Contains(answer.Message, poison.want) {
				t.Errorf("%d %+v", status, answer)
			}
			ids = append(ids, good(t))
		})
	}
	for _, id := range ids {
		var state string
		eventually(t, id+" to finish", func() bool {
			_, body := get(t, n.RESTURL()+"/v1/submissions/status/"+id)
			var answer api.SubmissionResponse
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			state = fmt.Sprintf("%+v", answer)
			return answer.DriverState == "FINISHED"
		})
		if !strings.Contains(state, "TASK_FINISHED") {
			t.Errorf("%s: %s", id, state)
		}
	}
}
