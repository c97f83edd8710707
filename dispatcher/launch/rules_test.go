package launch

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// taskOf is the task of a description as it stands, without Describe.
func taskOf(t *testing.T, c DispatcherConf, d *Description, framework string, attempt int) mesos.TaskInfo {
	t.Helper()
	p := Placement{TaskID: TaskID("drv-1", attempt), AgentID: "a", FrameworkID: DriverFrameworkID(framework, "drv-1", attempt)}
	req, err := d.Requirements()
	if err != nil {
		t.Fatal(err)
	}
	offer := []mesos.Resource{mesosutil.NewScalarResource("cpus", 8, "", nil), mesosutil.NewScalarResource("mem", 1<<20, "", nil)}
	_, p.Resources, _ = req.Carve(offer, mesosutil.OfferOrder)
	info, err := Task(c, d, p)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// What Spark 3.5.1 makes of two descriptions, byte for byte but for the number of
// cores, which spark-submit since 3.2 takes whole only.
func TestWorkedExamples(t *testing.T) {
	plain := &Description{
		Name: "app name", AppResource: "jar", MainClass: "Main", Args: []string{"--a=$2", "--b", "x y z"}, Cores: 1, MemoryMiB: 1000,
		Properties: sortedKV(props{"spark.app.name": "app name", "spark.executor.uri": "s3a://bucket/spark-version.tgz", "another.conf": `\value`}),
	}
	full := &Description{
		Name: "my app", AppResource: "http://h/x/app.jar", MainClass: "Main", Args: []string{"x y"}, Cores: 1, MemoryMiB: 1000, OverheadMiB: 384,
		Environment: []KV{{"K", "V"}},
		Properties: sortedKV(props{"spark.app.name": "my app", "spark.executor.uri": "s3a://b/spark-3.5.1-bin.tgz", "spark.mesos.driverEnv.E1": "v1",
			"spark.submit.pyFiles": "http://p/a.py,http://p/b.py", "spark.executor.memory": "2g", "spark.cores.max": "8", "spark.jars": "j",
			"spark.mesos.driver.labels": "k:v", "spark.driver.extraLibraryPath": "/l1:/l2"}),
	}
	fullConf := conf(t, props{"spark.master": "localhost:5050", "spark.mesos.uris": " http://c/1 ,http://c/2",
		"spark.mesos.dispatcher.driverDefault.spark.foo": "bar", "spark.executor.extraLibraryPath": "/el"})
	for name, c := range map[string]struct {
		conf DispatcherConf
		d    *Description
		want string
	}{
		"executor URI": {conf(t, props{"spark.master": "mesos://localhost:5050"}), plain,
			`cd spark-version*;  bin/spark-submit --name "app name" --master mesos://localhost:5050 --driver-cores 1.0 --driver-memory 1000M --class Main --conf "another.conf=\\value" --conf "spark.app.name=app name" --conf spark.executor.uri=s3a://bucket/spark-version.tgz ../jar "--a=\$2" --b "x y z"`},
		"everything set": {fullConf, full,
			`cd spark-3*; LD_LIBRARY_PATH="/el:/l1:/l2:$LD_LIBRARY_PATH" bin/spark-submit --name "my app" --master mesos://localhost:5050 --driver-cores 1.0 --driver-memory 1000M --class Main --executor-memory 2g --total-executor-cores 8 --py-files ../a.py,../b.py --conf "spark.app.name=my app" --conf spark.cores.max=8 --conf spark.driver.extraLibraryPath=/l1:/l2 --conf spark.executor.memory=2g --conf spark.executor.uri=s3a://b/spark-3.5.1-bin.tgz --conf spark.foo=bar --conf spark.mesos.driver.labels=k:v --conf spark.mesos.driverEnv.E1=v1 --conf spark.submit.pyFiles=http://p/a.py,http://p/b.py ../app.jar "x y"`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(improved(c.want, c.d), taskOf(t, c.conf, c.d, "FW", 0).Command.GetValue()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("the rest of the task", func(t *testing.T) {
		got := taskOf(t, fullConf, full, "FW", 0)
		if diff := cmp.Diff([][2]string{{"E1", "v1"}, {"K", "V"}, {"SPARK_SUBMIT_OPTS", " -Dspark.mesos.driver.frameworkId=FW-drv-1"}}, variables(got)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"http://h/x/app.jar", "http://c/1", "http://c/2", "http://p/a.py", "http://p/b.py", "s3a://b/spark-3.5.1-bin.tgz"}, uriValues(t, got, false)); diff != "" {
			t.Error(diff)
		}
		want := []mesos.Resource{mesosutil.NewScalarResource("cpus", 1, "", nil), mesosutil.NewScalarResource("mem", 1384, "", nil)}
		if diff := cmp.Diff(want, got.Resources); diff != "" {
			t.Error(diff)
		}
		if got.Name != "Driver for my app" || got.AgentID.Value != "a" {
			t.Error(got.Name, got.AgentID)
		}
		if diff := cmp.Diff(&mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum()}, got.Container); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a retry", func(t *testing.T) {
		got := taskOf(t, fullConf, full, "FW", 2)
		if v := variables(got)[2]; got.TaskID.Value != "drv-1-retry-2" || v[1] != " -Dspark.mesos.driver.frameworkId=FW-drv-1-retry-2" {
			t.Error(got.TaskID, v)
		}
	})
}

// Options appear in this order, and only where there is something to say.
func TestOptionsStandInSparksOrder(t *testing.T) {
	full := props{"spark.executor.memory": "2g", "spark.cores.max": "8", "spark.submit.pyFiles": "a.py"}
	order := []string{"--name", "--master", "--driver-cores", "--driver-memory", "--class", "--executor-memory", "--total-executor-cores", "--py-files", "--conf"}
	without := func(key string) Submission {
		p := maps.Clone(full)
		delete(p, key)
		s := submission(p)
		if key == "mainClass" {
			s.MainClass = ""
		}
		return s
	}
	for key, option := range (props{"": "", "mainClass": "--class", "spark.executor.memory": "--executor-memory", "spark.cores.max": "--total-executor-cores", "spark.submit.pyFiles": "--py-files"}) {
		var got []string
		for _, word := range strings.Fields(line(t, home(t), without(key))) {
			if strings.HasPrefix(word, "--") && !slices.Contains(got, word) {
				got = append(got, word)
			}
		}
		want := slices.DeleteFunc(slices.Clone(order), func(o string) bool { return o == option })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("without %q: %s", key, diff)
		}
	}
}

// --conf holds the dispatcher's defaults under the submission's properties,
// sorted by key, without what is of no use to a driver.
func TestDriverDefaultsLieUnderTheSubmission(t *testing.T) {
	const d = "spark.mesos.dispatcher.driverDefault."
	c := conf(t, props{"spark.master": "m:1", "spark.home": "/s", d + "spark.b": "default", d + "spark.c": "default",
		d + "spark.executor.uri": "http://not/used.tgz", d + "spark.executor.memory": "9g"})
	got := line(t, c, submission(props{"spark.a": "1", "spark.c": "mine", "spark.jars": "j", "spark.submit.deployMode": "cluster", "spark.master": "mesos://d:7077"}))
	want := "/s/./bin/spark-submit --name t --master mesos://m:1 --driver-cores 1 --driver-memory 1024M --class Main " +
		"--conf spark.a=1 --conf spark.app.name=t --conf spark.b=default --conf spark.c=mine --conf spark.executor.memory=9g " +
		"--conf spark.executor.uri=http://not/used.tgz ./app.jar "
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheApplicationsURILosesWhatOnlyTheDriverUnderstands(t *testing.T) {
	for resource, want := range (props{
		"http://h/x/app.jar": "http://h/x/app.jar", "file:///srv/app.jar": "///srv/app.jar", "file:/srv/app.jar": "/srv/app.jar",
		"local:/opt/app.jar": "/opt/app.jar", "local:///opt/app.jar": "///opt/app.jar", "/srv/app.jar": "/srv/app.jar",
		"file:local:/app.jar": "/app.jar", "local:file:/app.jar": "file:/app.jar", "hdfs://nn/files/app.jar": "hdfs://nn/files/app.jar",
	}) {
		s := submission(nil)
		s.AppResource = resource
		got := task(t, home(t), s)
		if uri := got.Command.URIs[0].Value; uri != want || !strings.HasSuffix(got.Command.GetValue(), " ./app.jar ") {
			t.Errorf("%s: %s in %s", resource, uri, got.Command.GetValue())
		}
	}
}

// driverEnv, then what the client sent, then secrets; a name that is given twice
// comes twice, and Mesos lets the last one win.
func TestEnvironmentKeepsItsOrderAndRepeatedNames(t *testing.T) {
	s := submission(props{"spark.mesos.driverEnv.B": "1", "spark.mesos.driverEnv.A": "2",
		"spark.mesos.driver.secret.values": "x", "spark.mesos.driver.secret.envkeys": "A", KeyHideSecrets: "false"})
	s.Environment = props{"B": "3", "SPARK_SUBMIT_OPTS": "-Dx=y"}
	var names []string
	for _, v := range task(t, home(t), s).Command.Environment.Variables {
		names = append(names, v.Name+"="+v.GetValue())
	}
	want := []string{"A=2", "B=1", "B=3", "SPARK_SUBMIT_OPTS=-Dx=y -Dspark.mesos.driver.frameworkId=FW-drv-1", "A="}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

// Which of the ways to reach Spark goes first where several are given.
func TestImageGoesBeforeURIBeforeHome(t *testing.T) {
	all := props{"spark.mesos.executor.docker.image": "i", "spark.executor.uri": "http://e/spark-1.tgz", "spark.mesos.executor.home": "/mine"}
	env := props{"SPARK_EXECUTOR_URI": "http://e/other-1.tgz"}
	c, err := ParseDispatcherConf(sparkconf.New(props{"spark.master": "m:1", "spark.home": "/conf"}), "/env")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ drop, want string }{
		{"", "./bin/spark-submit "},
		{"spark.mesos.executor.docker.image", "cd spark-1*;  bin/spark-submit "},
		{"spark.executor.uri", "cd other-1*;  bin/spark-submit "},
		{"environment", "/mine/./bin/spark-submit "},
		{"spark.mesos.executor.home", "/conf/./bin/spark-submit "},
	} {
		delete(all, step.drop)
		if step.drop == "environment" {
			env = nil
		}
		s := submission(all)
		s.Environment = env
		if got := line(t, c, s); !strings.HasPrefix(got, step.want) {
			t.Errorf("without %s: %s", step.drop, got)
		}
	}
}

// The library path is written only where a package is unpacked.
func TestLibraryPathIsThatOfTheDispatcherAndThenOfTheDriver(t *testing.T) {
	c := conf(t, props{"spark.master": "m:1", "spark.home": "/s", "spark.executor.extraLibraryPath": "/a:/b"})
	p := props{"spark.executor.uri": "http://e/s.tgz", "spark.driver.extraLibraryPath": "/c"}
	if got := line(t, c, submission(p)); !strings.HasPrefix(got, `cd s*; LD_LIBRARY_PATH="/a:/b:/c:$LD_LIBRARY_PATH" bin/spark-submit `) {
		t.Error(got)
	}
	delete(p, "spark.executor.uri")
	if got := line(t, c, submission(p)); !strings.HasPrefix(got, "/s/./bin/spark-submit ") {
		t.Error(got)
	}
}
