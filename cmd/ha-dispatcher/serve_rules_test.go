package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
)

// cleanEnv hides the environment's Spark from a test.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"SPARK_CONF_DIR", "SPARK_HOME", "SPARK_DAEMON_JAVA_OPTS", "SPARK_PUBLIC_DNS"} {
		t.Setenv(name, "")
	}
}

// serveConfig is what serve makes of its arguments, and what it printed.
func serveConfig(t *testing.T, args ...string) (node.Config, string, error) {
	t.Helper()
	var out bytes.Buffer
	f := &serveFlags{out: &out}
	c := newServe()
	c.ResetFlags()
	f.register(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	cfg, err := f.config()
	return cfg, out.String(), err
}

func mustServe(t *testing.T, args ...string) (node.Config, string) {
	t.Helper()
	cfg, out, err := serveConfig(t, append([]string{"--master", "mesos://m:5050"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, out
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The cases of upstream's MesosClusterDispatcherSuite, and the errors of its
// command line. Upstream exits with 1, as it does for everything.
func TestCommandLineErrors(t *testing.T) {
	cleanEnv(t)
	const usage = "Usage: MesosClusterDispatcher [options]"
	for name, c := range map[string]struct {
		args []string
		want []string // in this order
	}{
		"no arguments print the usage":          {nil, []string{"--master is required", usage}},
		"--blarg is unrecognized":               {[]string{"--blarg"}, []string{"Unrecognized option: '--blarg'", usage}},
		"-bleg is unrecognized":                 {[]string{"-bleg"}, []string{"Unrecognized option: '-bleg'", usage}},
		"a word is unrecognized":                {[]string{"--master", "mesos://m:1", "word"}, []string{"Unrecognized option: 'word'", usage}},
		"arguments without --master":            {[]string{"--port", "0"}, []string{"--master is required", usage}},
		"another cluster manager":               {[]string{"--master", "spark://h:1"}, []string{"Cluster dispatcher only supports mesos (uri begins with mesos://)"}},
		"an option without its value":           {[]string{"--master"}, []string{"flag needs an argument: --master", usage}},
		"a port that is no number":              {[]string{"--port", "x"}, []string{`"x"`, "--port", usage}},
		"a port beyond the last":                {[]string{"--master", "mesos://m:1", "--webui-port", "65536"}, []string{"--webui-port 65536"}},
		"no room for the port of the nodes":     {[]string{"--master", "mesos://m:1", "--port", "65500"}, []string{"--raft-addr"}},
		"a snapshot after no entry":             {[]string{"--master", "mesos://m:1", "--snapshot-entries", "0"}, []string{"--snapshot-entries must be at least 1"}},
		"snapshots without a pause":             {[]string{"--master", "mesos://m:1", "--snapshot-interval", "1ms"}, []string{"--snapshot-interval at least 1s"}},
		"a host with a port":                    {[]string{"--master", "mesos://m:1", "--host", "h:1"}, []string{"a bare host is wanted"}},
		"an IPv6 address without brackets":      {[]string{"--master", "mesos://m:1", "--host", "::1"}, []string{"an IPv6 address in brackets"}},
		"an IPv6 address with a port":           {[]string{"--master", "mesos://m:1", "--host", "[::1]:80"}, []string{"a bare host is wanted"}},
		"brackets around a name":                {[]string{"--master", "mesos://m:1", "--host", "[h]"}, []string{"a bare host is wanted"}},
		"no host":                               {[]string{"--master", "mesos://m:1", "--host", ""}, []string{"a bare host is wanted"}},
		"a property without =":                  {[]string{"--master", "mesos://m:1", "--conf", "spark.x"}, []string{"--conf spark.x: KEY=VALUE is wanted"}},
		"--zk is told what replaces it":         {[]string{"--master", "mesos://m:1", "-z", "zk://h:2181"}, []string{"--peers", "migrate --from-zookeeper zk://h:2181"}},
		"a zk:// URL is refused without master": {[]string{"--zk", "zk://h:2181"}, []string{"--zk is not used"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(t.Context(), append([]string{"serve"}, c.args...), &stderr); code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			rest := stderr.String()
			for _, want := range c.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q in\n%s", want, stderr.String())
				}
				rest = after
			}
		})
	}
}

// Every option is in the usage once, Spark's in its own list.
func TestUsageListsEveryOption(t *testing.T) {
	usage := newServe().UsageString()
	if !strings.HasPrefix(usage, "Usage: MesosClusterDispatcher [options]\n") {
		t.Error(usage)
	}
	sparks, rest, _ := strings.Cut(usage, "\nReplication:\n")
	for _, option := range []string{"-h, --host ", "-p, --port ", "--webui-port ", "--name ", "-m, --master ", "-z, --zk ",
		"--properties-file ", "--conf ", "--verbose ", "--help "} {
		if strings.Count(sparks, option) != 1 || strings.Contains(rest, "  "+option) {
			t.Errorf("%s is not once among Spark's options", option)
		}
	}
	var out bytes.Buffer
	c := newServe()
	c.SetOut(&out)
	c.SetArgs([]string{"--help"})
	if err := c.Execute(); err != nil || !strings.Contains(out.String(), usage) {
		t.Errorf("--help: %v, %s", err, out.String())
	}
}

func TestCommandLineOptions(t *testing.T) {
	cleanEnv(t)
	t.Run("defaults", func(t *testing.T) {
		cfg, out := mustServe(t)
		if cfg.RESTAddr != "127.0.0.1:7077" || cfg.WebUIAddr != "127.0.0.1:8081" || cfg.Name != "Spark Cluster" ||
			cfg.Master != "m:5050" || cfg.PublicHost != "127.0.0.1" || cfg.Spark.Len() != 0 || out != "" {
			t.Errorf("%+v %q", cfg, out)
		}
	})
	t.Run("short and long forms", func(t *testing.T) {
		cfg, _, err := serveConfig(t, "-m", "mesos://localhost:5050", "--name", "myFramework", "-p", "1212", "-h", "localhost", "--webui-port", "2323")
		if err != nil || cfg.RESTAddr != "localhost:1212" || cfg.WebUIAddr != "localhost:2323" || cfg.Name != "myFramework" ||
			cfg.Master != "localhost:5050" || cfg.RaftAddr != "localhost:1312" {
			t.Errorf("%+v %v", cfg, err)
		}
	})
	t.Run("the ZooKeeper of the masters keeps its scheme", func(t *testing.T) {
		cfg, _, err := serveConfig(t, "-m", "mesos://zk://z1:2181,z2:2181/mesos")
		if err != nil || cfg.Master != "zk://z1:2181,z2:2181/mesos" {
			t.Errorf("%q %v", cfg.Master, err)
		}
	})
	t.Run("an IPv6 address in brackets", func(t *testing.T) {
		cfg, _ := mustServe(t, "--host", "[::1]")
		if cfg.RESTAddr != "[::1]:7077" || cfg.PublicHost != "::1" || cfg.RaftAddr != "[::1]:7177" {
			t.Errorf("%+v", cfg)
		}
	})
	t.Run("SPARK_PUBLIC_DNS is the public name", func(t *testing.T) {
		t.Setenv("SPARK_PUBLIC_DNS", "public.example")
		if cfg, _ := mustServe(t); cfg.PublicHost != "public.example" || cfg.RESTAddr != "127.0.0.1:7077" {
			t.Errorf("%+v", cfg)
		}
		if cfg, _ := mustServe(t, "--public-host", "other.example"); cfg.PublicHost != "other.example" {
			t.Errorf("%+v", cfg)
		}
	})
}

// What listens on every address must not tell others to dial 0.0.0.0.
func TestPublicHostOfANodeOnEveryAddress(t *testing.T) {
	cleanEnv(t)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"0.0.0.0", "[::]"} {
		cfg, _ := mustServe(t, "--host", host, "--allow-unauthenticated")
		if cfg.PublicHost != name || cfg.RaftAdvertise != net.JoinHostPort(name, "7177") || len(cfg.Peers) != 1 || cfg.Peers[0].Raft != cfg.RaftAdvertise {
			t.Errorf("%s: %+v", host, cfg)
		}
	}
	cfg, _ := mustServe(t, "--host", "0.0.0.0", "--allow-unauthenticated", "--public-host", "[2001:db8::1]", "--peers", "n1=h1:7177,n2=h2:7177")
	if cfg.PublicHost != "2001:db8::1" || cfg.RaftAdvertise != "" || cfg.RaftAddr != "h1:7177" {
		t.Errorf("%+v", cfg)
	}
	for _, wrong := range []string{"h:1", "http://h", "a b", "[h]"} {
		if _, _, err := serveConfig(t, "--master", "mesos://m:1", "--public-host", wrong); err == nil || !strings.Contains(err.Error(), "without a port") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestVerboseOutput(t *testing.T) {
	cleanEnv(t)
	path := file(t, "p.conf", "spark.b=2\nspark.mesos.secret=hunter2\nother=3\n")
	_, out := mustServe(t, "--verbose", "--properties-file", path, "--conf", "spark.a=1", "--conf", "spark.mesos.uris=http://u:hunter2@h/x", "--conf", "other=2")
	want := "Using host: 127.0.0.1\nUsing port: 7077\nUsing webUiPort: 8081\nFramework Name: Spark Cluster\nUsing properties file: " + path +
		"\nSpark Config properties set:\n(spark.a,1)\n(spark.b,2)\n(spark.mesos.secret,*********(redacted))\n(spark.mesos.uris,http://*********(redacted)@h/x)\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	t.Run("names the default file", func(t *testing.T) {
		path := file(t, "spark-defaults.conf", "")
		t.Setenv("SPARK_CONF_DIR", filepath.Dir(path))
		if _, out := mustServe(t, "--verbose"); !strings.Contains(out, "Using properties file: "+path+"\n") {
			t.Error(out)
		}
	})
}

// Upstream: --conf, then JVM system properties, then the properties file.
func TestPropertiesPrecedence(t *testing.T) {
	cleanEnv(t)
	path := file(t, "p.conf", "spark.a file\nspark.b file\nspark.c: file \nother=file\n")
	t.Setenv("SPARK_DAEMON_JAVA_OPTS", `-Xmx1g -Dspark.a=jvm "-Dspark.b=of the jvm" -Dother=jvm`)
	cfg, _ := mustServe(t, "--properties-file", path, "--conf", "spark.a=flag=1", "--conf", "other=flag")
	want := map[string]string{"spark.a": "flag=1", "spark.b": "of the jvm", "spark.c": "file"}
	if diff := cmp.Diff(want, cfg.Spark.Map()); diff != "" {
		t.Error(diff)
	}
	t.Run("the last of equal --conf counts", func(t *testing.T) {
		cfg, _ := mustServe(t, "--conf", "spark.a=1", "--conf", "spark.a=2")
		if got := cfg.Spark.Text("spark.a", ""); got != "2" {
			t.Error(got)
		}
	})
	t.Run("JVM options that do not end are refused", func(t *testing.T) {
		t.Setenv("SPARK_DAEMON_JAVA_OPTS", `-Dspark.a="x`)
		_, _, err := serveConfig(t, "--master", "mesos://m:1")
		var exit *exitError
		if !errors.As(err, &exit) || exit.code != exitUsage || !strings.Contains(err.Error(), "SPARK_DAEMON_JAVA_OPTS") {
			t.Error(err)
		}
	})
}

func TestDefaultPropertiesFile(t *testing.T) {
	cleanEnv(t)
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "conf", "spark-defaults.conf"), []byte("spark.from home"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := func(args ...string) string {
		t.Helper()
		cfg, _ := mustServe(t, args...)
		return cfg.Spark.Text("spark.from", "nowhere")
	}
	if got := from(); got != "nowhere" {
		t.Errorf("without Spark: %s", got)
	}
	t.Setenv("SPARK_HOME", home)
	if got := from(); got != "home" {
		t.Errorf("SPARK_HOME: %s", got)
	}
	t.Setenv("SPARK_CONF_DIR", filepath.Dir(file(t, "spark-defaults.conf", "spark.from dir")))
	if got := from(); got != "dir" {
		t.Errorf("SPARK_CONF_DIR: %s", got)
	}
	if got := from("--properties-file", file(t, "mine", "spark.from flag")); got != "flag" {
		t.Errorf("--properties-file: %s", got)
	}
	t.Setenv("SPARK_CONF_DIR", t.TempDir())
	if got := from(); got != "nowhere" {
		t.Errorf("SPARK_CONF_DIR without the file: %s", got)
	}
	if _, _, err := serveConfig(t, "--master", "mesos://m:1", "--properties-file", "/no/such"); err == nil || !strings.Contains(err.Error(), "/no/such does not exist") {
		t.Error(err)
	}
}
