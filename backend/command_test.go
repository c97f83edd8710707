package backend

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func settingsOf(t testing.TB, change func(*Context), pairs ...string) *Settings {
	t.Helper()
	sc := Context{AppName: "app", SparkHome: "/opt/spark", Conf: props(pairs...)}
	if change != nil {
		change(&sc)
	}
	s, err := ParseSettings(sc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The lines are those that the classes of Spark 3.5.1 gave.
func TestTheCommandIsSparks(t *testing.T) {
	spec := ExecutorSpec{AppID: "FW", ExecutorID: "0", Host: "h1", Cores: 5}
	const tail = " --driver-url spark://CoarseGrainedScheduler@dhost:34041 --executor-id 0 --cores 5 --app-id FW"
	const class = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
	for _, c := range []struct {
		name   string
		conf   []string
		change func(*Context)
		spec   func(*ExecutorSpec)
		want   string
	}{
		{"home and library path", []string{"spark.executor.extraLibraryPath", "/lib"}, nil, nil,
			`LD_LIBRARY_PATH="/lib:$LD_LIBRARY_PATH" "/opt/spark/./bin/spark-class" ` + class + tail + " --hostname h1"},
		{"home alone begins with a blank", nil, nil, nil, ` "/opt/spark/./bin/spark-class" ` + class + tail + " --hostname h1"},
		{"home of the executors", []string{"spark.mesos.executor.home", "/e//spark/"}, nil, nil, ` "/e/spark/./bin/spark-class" ` + class + tail + " --hostname h1"},
		{"URI and named network", []string{"spark.executor.uri", "hdfs:///spark-3.5.1-bin.tgz", "spark.mesos.network.name", "n"}, nil, nil,
			`cd spark-3*;  ./bin/spark-class ` + class + tail},
		{"URI of the driver's environment", nil, func(c *Context) { c.ExecutorURI = "/x/s.tgz" }, nil,
			`cd s*;  ./bin/spark-class ` + class + tail + " --hostname h1"},
		{"Spark 2", nil, func(c *Context) { c.SparkVersion = "2.2.0" }, nil,
			` "/opt/spark/./bin/spark-class" ` + class + " --driver-url spark://CoarseGrainedScheduler@dhost:34041 --executor-id 0 --hostname h1 --cores 5 --app-id FW"},
		{"Spark 2, named network", []string{"spark.mesos.network.name", "n"}, func(c *Context) { c.SparkVersion = "2.2.0" }, nil,
			` "/opt/spark/./bin/spark-class" ` + class + " --driver-url spark://CoarseGrainedScheduler@dhost:34041 --executor-id 0 --hostname 0.0.0.0 --cores 5 --app-id FW"},
		{"resource profile", nil, nil, func(e *ExecutorSpec) { e.Profile = 3 },
			` "/opt/spark/./bin/spark-class" ` + class + tail + " --hostname h1 --resourceProfileId 3"},
		{"a host that is a command", nil, nil, func(e *ExecutorSpec) { e.Host = "h;rm" },
			` "/opt/spark/./bin/spark-class" ` + class + tail + ` --hostname "h;rm"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := spec
			if c.spec != nil {
				c.spec(&e)
			}
			command, err := settingsOf(t, c.change, c.conf...).Command(e)
			if err != nil {
				t.Fatal(err)
			}
			if got := command.GetValue(); got != c.want {
				t.Errorf("\n%q, want\n%q", got, c.want)
			}
		})
	}
}

func TestTheEnvironmentIsSparks(t *testing.T) {
	s := settingsOf(t, func(c *Context) { c.User = "me" },
		"spark.executor.extraClassPath", "/cp", "spark.executor.defaultJavaOptions", "-Dd", "spark.executor.extraJavaOptions", "-Da={{APP_ID}} -De={{EXECUTOR_ID}}",
		"spark.executor.memory", "2g", "spark.executorEnv.B", "2", "spark.executorEnv.A", "1", "spark.task.cpus", "3")
	command, err := s.Command(ExecutorSpec{AppID: "FW", ExecutorID: "7"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range command.Environment.Variables {
		got = append(got, v.Name+"="+v.GetValue())
	}
	want := []string{"SPARK_EXECUTOR_CLASSPATH=/cp", "SPARK_EXECUTOR_OPTS=-Dd -Da=FW -De=7", "A=1", "B=2", "OMP_NUM_THREADS=3", "SPARK_EXECUTOR_MEMORY=2048m", "SPARK_USER=me"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	bare, _ := settingsOf(t, nil).Command(ExecutorSpec{HeapMiB: 512})
	if v, there := variable(bare, "SPARK_EXECUTOR_OPTS"); v != "" || !there {
		t.Error("SPARK_EXECUTOR_OPTS is missing")
	}
	if v, _ := variable(bare, "SPARK_EXECUTOR_MEMORY"); v != "512m" {
		t.Errorf("heap of the profile: %s", v)
	}
}

func TestURIsAreFetchedAfterThePackage(t *testing.T) {
	command, err := settingsOf(t, nil, "spark.executor.uri", "a.tgz", "spark.mesos.uris", " b , c", "spark.mesos.fetcherCache.enable", "true").Command(ExecutorSpec{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range command.URIs {
		got = append(got, fmt.Sprint(u.Value, u.GetCache()))
	}
	if fmt.Sprint(got) != "[a.tgztrue btrue ctrue]" {
		t.Errorf("%v", got)
	}
}

func TestSettingsThatCannotBeUsedAreNamed(t *testing.T) {
	for _, c := range []struct{ key, value, says string }{
		{"spark.mesos.coarse.shutdownTimeout", "-1", "spark.mesos.coarse.shutdownTimeout must be >= 0"},
		{"spark.executor.cores", "0", "whole number from 1"},
		{"spark.executor.cores", "many", "spark.executor.cores"},
		{"spark.cores.max", "-3", "whole number from 1"},
		{"spark.mesos.gpus.max", "-1", "from 0"},
		{"spark.mesos.extra.cores", "1.5", "spark.mesos.extra.cores"},
		{"spark.executor.memory", "lots", "memory size"},
		{"spark.executor.memory", "1k", "at least 1 MiB"},
		{"spark.mesos.constraints", "a", "constraint"},
		{"spark.blockManager.port", "70000", "spark.blockManager.port"},
		{"spark.mesos.task.labels", "incorrect:label:here", "label"},
		{"spark.mesos.executor.docker.volumes", "a:b:c:d", "volume"},
		{"spark.mesos.executor.secret.names", "a", ""},
		{"spark.mesos.executor.home", `/a"; rm`, "double quotes"},
		{"spark.executor.uri", "--x.tgz", "name to change into"},
		{"spark.mesos.role", "a//b", "role"},
		{"spark.mesos.driver.failoverTimeout", "-1", "seconds"},
		{"spark.shuffle.service.port", "0", "from 1"},
		{"spark.executorEnv.A=B", "x", "no name of an environment variable"},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			_, err := ParseSettings(contextWith(c.key, c.value))
			var wrong *InvalidError
			if c.says == "" {
				if err != nil {
					t.Errorf("secrets without a destination: %v", err)
				}
				return
			}
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := ParseSettings(Context{Conf: map[string]string{"spark.cores.max": "x", "spark.mesos.gpus.max": "y"}})
		for _, key := range []string{"spark.app.name", "spark.cores.max", "spark.mesos.gpus.max"} {
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s is not named: %v", key, err)
			}
		}
	})
	t.Run("no home", func(t *testing.T) {
		_, err := ParseSettings(Context{AppName: "a", Conf: props()})
		if err == nil || !strings.Contains(err.Error(), "Executor Spark home `spark.mesos.executor.home` is not set!") {
			t.Errorf("%v", err)
		}
	})
}

func TestMemoryHasItsOverhead(t *testing.T) {
	for _, c := range []struct {
		conf []string
		want int64
	}{
		{nil, 1408}, {[]string{"spark.executor.memory", "512m"}, 896}, {[]string{"spark.executor.memory", "4096"}, 4505},
		{[]string{"spark.executor.memory", "1g", "spark.mesos.executor.memoryOverhead", "512"}, 1536},
		{[]string{"spark.executor.memory", "10g", "spark.executor.memoryOverheadFactor", "0.2"}, 12288},
	} {
		if got := settingsOf(t, nil, c.conf...).MemoryMiB; got != c.want {
			t.Errorf("%v: %d, want %d", c.conf, got, c.want)
		}
	}
}
