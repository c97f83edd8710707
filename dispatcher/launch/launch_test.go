package launch

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

type props = map[string]string

func conf(t *testing.T, p props) DispatcherConf {
	t.Helper()
	c, err := ParseDispatcherConf(sparkconf.New(p), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func home(t *testing.T) DispatcherConf {
	return conf(t, props{"spark.master": "localhost:5050", "spark.home": "/opt/spark"})
}

func submission(p props) Submission {
	all := props{"spark.app.name": "t"}
	for k, v := range p {
		all[k] = v
	}
	return Submission{AppResource: "http://h/x/app.jar", MainClass: "Main", Properties: all}
}

func describe(t *testing.T, c DispatcherConf, s Submission) *Description {
	t.Helper()
	d, _, err := Describe(c, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func task(t *testing.T, c DispatcherConf, s Submission) mesos.TaskInfo {
	t.Helper()
	info, err := Task(c, describe(t, c, s), Placement{TaskID: "drv-1", AgentID: "a", FrameworkID: "FW-drv-1"})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func line(t *testing.T, c DispatcherConf, s Submission) string {
	t.Helper()
	return task(t, c, s).Command.GetValue()
}

func wantInvalid(t *testing.T, err error, key string) {
	t.Helper()
	var ie *InvalidError
	if !errors.As(err, &ie) || ie.Key != key || ie.Reason == "" {
		t.Errorf("got %v, want an InvalidError of %s", err, key)
	}
}

// Upstream: "assembles a valid driver command, escaping all confs and args".
func TestCommandOfTheUpstreamSuite(t *testing.T) {
	s := Submission{
		AppResource: "jar", MainClass: "Main", Args: []string{"--a=$2", "--b", "x y z"},
		Properties: props{"spark.app.name": "app name", "spark.executor.uri": "s3a://bucket/spark-version.tgz", "another.conf": `\value`,
			"spark.driver.memory": "1000m", "spark.driver.cores": "1"},
	}
	want := `cd spark-version*;  bin/spark-submit --name "app name" --master mesos://localhost:5050 --driver-cores 1 --driver-memory 1000M --class Main ` +
		`--conf "another.conf=\\value" --conf "spark.app.name=app name" --conf spark.driver.cores=1 --conf spark.driver.memory=1000m ` +
		`--conf spark.executor.uri=s3a://bucket/spark-version.tgz ../jar "--a=\$2" --b "x y z"`
	if diff := cmp.Diff(want, line(t, conf(t, props{"spark.master": "mesos://localhost:5050"}), s)); diff != "" {
		t.Error(diff)
	}
}

func TestWholeTaskWithAnExecutorURI(t *testing.T) {
	c := conf(t, props{"spark.master": "localhost:5050", "spark.mesos.uris": " http://c/1 ,http://c/2",
		"spark.mesos.dispatcher.driverDefault.spark.foo": "bar", "spark.mesos.dispatcher.driverDefault.spark.jars": "no", "spark.executor.extraLibraryPath": "/el"})
	s := Submission{
		AppResource: "http://h/x/app.jar", MainClass: "Main", Args: []string{"x y"}, Environment: props{"K": "V"},
		Properties: props{"spark.app.name": "my app", "spark.executor.uri": "s3a://b/spark-3.5.1-bin.tgz", "spark.mesos.driverEnv.E1": "v1",
			"spark.submit.pyFiles": "http://p/a.py,http://p/b.py", "spark.executor.memory": "2g", "spark.cores.max": "8", "spark.jars": "j",
			"spark.driver.extraLibraryPath": "/l1:/l2", "spark.mesos.driver.labels": "k:v"},
	}
	got := task(t, c, s)
	want := `cd spark-3*; LD_LIBRARY_PATH="/el:/l1:/l2:$LD_LIBRARY_PATH" bin/spark-submit --name "my app" --master mesos://localhost:5050 --driver-cores 1 ` +
		`--driver-memory 1024M --class Main --executor-memory 2g --total-executor-cores 8 --py-files ../a.py,../b.py --conf "spark.app.name=my app" ` +
		`--conf spark.cores.max=8 --conf spark.driver.extraLibraryPath=/l1:/l2 --conf spark.executor.memory=2g --conf spark.executor.uri=s3a://b/spark-3.5.1-bin.tgz ` +
		`--conf spark.foo=bar --conf spark.mesos.driver.labels=k:v --conf spark.mesos.driverEnv.E1=v1 --conf spark.submit.pyFiles=http://p/a.py,http://p/b.py ../app.jar "x y"`
	if diff := cmp.Diff(want, got.Command.GetValue()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][2]string{{"E1", "v1"}, {"K", "V"}, {"SPARK_SUBMIT_OPTS", " -Dspark.mesos.driver.frameworkId=FW-drv-1"}}, variables(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"http://h/x/app.jar", "http://c/1", "http://c/2", "http://p/a.py", "http://p/b.py", "s3a://b/spark-3.5.1-bin.tgz"}, uriValues(t, got, false)); diff != "" {
		t.Error(diff)
	}
	if l := got.Labels.Labels; len(l) != 1 || l[0].Key != "k" || *l[0].Value != "v" {
		t.Errorf("labels %v", l)
	}
	if diff := cmp.Diff(&mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum()}, got.Container); diff != "" {
		t.Error(diff)
	}
}

func TestCommandForms(t *testing.T) {
	image := props{"spark.mesos.executor.docker.image": "i", "spark.submit.pyFiles": "http://p/a.py,http://p/b c.py", "spark.executor.uri": "hdfs://x/s.tgz"}
	got := line(t, home(t), submission(image))
	if !strings.HasPrefix(got, "./bin/spark-submit ") || !strings.HasSuffix(got, " $MESOS_SANDBOX/app.jar ") ||
		!strings.Contains(got, ` --py-files $MESOS_SANDBOX/a.py,$MESOS_SANDBOX/"b c.py" `) {
		t.Error(got)
	}
	for _, tc := range []struct{ conf, home, want string }{
		{"/opt/spark", "", "/opt/spark/./bin/spark-submit "},
		{"/opt//spark/", "", "/opt/spark/./bin/spark-submit "},
		{"/opt/spark", "/my spark", `"/my spark/./bin/spark-submit" `},
		{"/", "", "/./bin/spark-submit "},
	} {
		p := props{}
		if tc.home != "" {
			p["spark.mesos.executor.home"] = tc.home
		}
		got := line(t, conf(t, props{"spark.master": "m:1", "spark.home": tc.conf}), submission(p))
		if !strings.HasPrefix(got, tc.want) || !strings.HasSuffix(got, " ./app.jar ") {
			t.Errorf("%+v: %s", tc, got)
		}
	}
	s := submission(nil)
	s.Environment = props{"SPARK_EXECUTOR_URI": "http://e/my;spark.tgz"}
	if got := line(t, home(t), s); !strings.HasPrefix(got, `cd "my;spark"*;  bin/spark-submit `) {
		t.Error(got)
	}
	c, err := ParseDispatcherConf(sparkconf.New(props{"spark.master": "zk://z:1/m"}), "/env/spark")
	if err != nil || c.SparkHome != "/env/spark" {
		t.Error(c, err)
	}
	if got := line(t, c, submission(nil)); !strings.Contains(got, "--master mesos://zk://z:1/m ") {
		t.Error(got)
	}
}

func TestDriverCoresAreWrittenOnlyWhole(t *testing.T) {
	for cores, want := range (props{"1": "--driver-cores 1 ", "2.0": "--driver-cores 2 ", "1e3": "--driver-cores 1000 ", "0.5": "", "1.5": ""}) {
		got := line(t, home(t), submission(props{"spark.driver.cores": cores}))
		if want == "" && strings.Contains(got, "--driver-cores") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", cores, got)
		}
	}
}

// Upstream: MesosRestServerSuite and SPARK-22256.
func TestOverheadIsAppliedOnce(t *testing.T) {
	for _, tc := range []struct {
		p              props
		heap, overhead int64
	}{
		{props{"spark.driver.memory": "2000M"}, 2000, 384},
		{props{"spark.driver.memory": "5000M"}, 5000, 500},
		{props{"spark.driver.memory": "5000M", "spark.driver.memoryOverheadFactor": "0.2"}, 5000, 1000},
		{props{"spark.driver.memory": "2000M", "spark.driver.memoryOverhead": "1000"}, 2000, 1000},
		{props{"spark.driver.memory": "2000M", "spark.driver.memoryOverhead": "1g"}, 2000, 1024},
		{props{"spark.driver.memory": "1200M", "spark.mesos.driver.memoryOverhead": "0", "spark.driver.memoryOverhead": "9"}, 1200, 0},
		{props{"spark.driver.memory": "10g"}, 10240, 1024},
		{props{"spark.driver.memory": "1073741824"}, 1024, 384},
		{nil, 1024, 384},
	} {
		d := describe(t, home(t), submission(tc.p))
		req, err := d.Requirements()
		if err != nil || d.MemoryMiB != tc.heap || d.OverheadMiB != tc.overhead || req.MemMiB != float64(tc.heap+tc.overhead) {
			t.Errorf("%v: heap %d, overhead %d, %v, %v", tc.p, d.MemoryMiB, d.OverheadMiB, req, err)
		}
	}
}

func TestLocalJarIsResolvedOnTheHostOrInTheContainer(t *testing.T) {
	s := submission(props{"spark.mesos.appJar.local.resolution.mode": "container"})
	s.AppResource = "local:///opt/my app.jar"
	got := task(t, home(t), s)
	if !strings.HasSuffix(got.Command.GetValue(), ` "/opt/my app.jar" `) || len(got.Command.URIs) != 0 {
		t.Error(got.Command)
	}
	s.AppResource = "local://$SPARK_HOME/app.jar" // a variable of the image
	if got := line(t, home(t), s); !strings.HasSuffix(got, ` "$SPARK_HOME/app.jar" `) {
		t.Error(got)
	}
	s.AppResource = "local:///opt/my app.jar"
	s.Properties["spark.mesos.appJar.local.resolution.mode"] = "host"
	got = task(t, home(t), s)
	if !strings.HasSuffix(got.Command.GetValue(), ` ./"my app.jar" `) || got.Command.URIs[0].Value != "///opt/my app.jar" {
		t.Error(got.Command)
	}
}

func TestFetcherCacheOfSubmissionThenDispatcher(t *testing.T) {
	on := conf(t, props{"spark.master": "m:1", "spark.home": "/s", "spark.mesos.fetcherCache.enable": "true"})
	for _, tc := range []struct {
		c    DispatcherConf
		p    props
		want bool
	}{
		{home(t), props{"spark.mesos.fetcherCache.enable": "true"}, true},
		{on, nil, true},
		{home(t), props{"spark.mesos.fetcherCache.enable": "false"}, false},
		{on, props{"spark.mesos.fetcherCache.enable": "false"}, false},
		{home(t), nil, false},
	} {
		uriValues(t, task(t, tc.c, submission(tc.p)), tc.want)
	}
}

func TestSubmitOptsKeepTheClientsOptions(t *testing.T) {
	s := submission(nil)
	s.Environment = props{"SPARK_SUBMIT_OPTS": "-Da=b", "A": "1"}
	if diff := cmp.Diff([][2]string{{"A", "1"}, {"SPARK_SUBMIT_OPTS", "-Da=b -Dspark.mesos.driver.frameworkId=FW-drv-1"}}, variables(task(t, home(t), s))); diff != "" {
		t.Error(diff)
	}
}

func TestMultipleRolesAreCarvedInOfferOrder(t *testing.T) {
	d := describe(t, home(t), submission(props{"spark.driver.memory": "1200m", "spark.driver.cores": "1.5", "spark.mesos.driver.memoryOverhead": "0",
		"spark.mesos.dispatcher.driver.gpus": "1", "spark.mesos.dispatcher.driver.ports": "7001"}))
	req, _ := d.Requirements()
	scalar := func(name, role string, v float64) mesos.Resource {
		return mesosutil.NewScalarResource(name, v, role, nil)
	}
	star := "*"
	ports := func(b, e uint64) mesos.Resource {
		return mesos.Resource{Name: "ports", Type: mesos.RANGES.Enum(), Role: &star, Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: b, End: e}}}}
	}
	offer := []mesos.Resource{scalar("cpus", "", 1), scalar("cpus", "role2", 1), scalar("mem", "", 1000), scalar("mem", "role2", 500), scalar("gpus", "", 1), ports(7001, 7002)}
	remaining, used, ok := req.Carve(offer, mesosutil.OfferOrder)
	if !ok {
		t.Fatal("does not fit")
	}
	if diff := cmp.Diff([]mesos.Resource{scalar("cpus", "", 1), scalar("cpus", "role2", 0.5), scalar("mem", "", 1000), scalar("mem", "role2", 200), scalar("gpus", "", 1), ports(7001, 7001)}, used); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]mesos.Resource{scalar("cpus", "role2", 0.5), scalar("mem", "role2", 300), ports(7002, 7002)}, remaining); diff != "" {
		t.Error(diff)
	}
	for _, missing := range [][]mesos.Resource{offer[1:], offer[:5], {offer[0], offer[1], offer[2], offer[4], offer[5]}, append(offer[:4:4], offer[5])} {
		if rest, used, ok := req.Carve(missing, mesosutil.OfferOrder); ok || used != nil || len(rest) != len(missing) {
			t.Errorf("%v fits", missing)
		}
	}
}

func TestContainerSecretsNetworkAndKillPolicy(t *testing.T) {
	got := task(t, home(t), submission(props{
		"spark.mesos.network.name": "n", "spark.mesos.network.labels": "key1:val1,key2:val2",
		"spark.mesos.driver.secret.values": "user,password", "spark.mesos.driver.secret.envkeys": "USER,PASSWORD",
		"spark.mesos.driver.secret.filenames": "/whoami,/mypassword", "spark.mesos.driverEnv.TEST_ENV": "TEST_VAL",
		KeyKillGracePeriod: "90s",
	}))
	if n := got.Container.NetworkInfos; len(n) != 1 || n[0].GetName() != "n" || len(n[0].Labels.Labels) != 2 {
		t.Errorf("network %v", n)
	}
	if v := got.Container.Volumes; len(v) != 2 || v[1].ContainerPath != "/mypassword" || string(v[1].Source.Secret.Value.Data) != "password" {
		t.Errorf("volumes %v", v)
	}
	var secrets []string
	for _, v := range got.Command.Environment.Variables {
		if v.Secret != nil {
			secrets = append(secrets, v.Name+"="+string(v.Secret.Value.Data))
		}
	}
	if !cmp.Equal(secrets, []string{"USER=user", "PASSWORD=password"}) {
		t.Errorf("secrets %v", secrets)
	}
	if e := variables(got)[0]; e != [2]string{"TEST_ENV", "TEST_VAL"} {
		t.Error(e)
	}
	if got.KillPolicy.GetGracePeriod().Nanoseconds != (90 * time.Second).Nanoseconds() {
		t.Error(got.KillPolicy)
	}
}

func TestDriverMasterReplacesTheMaster(t *testing.T) {
	c := conf(t, props{"spark.master": "m:1", "spark.home": "/s", KeyDriverMaster: "local[2]"})
	if got := line(t, c, submission(nil)); !strings.Contains(got, ` --master "local[2]" `) {
		t.Error(got)
	}
	got := line(t, c, submission(props{KeyDriverMaster: "local[4]"}))
	if !strings.Contains(got, ` --master "local[4]" `) || strings.Contains(got, "driverMaster") {
		t.Error(got)
	}
}

func TestShellCommandNeedsNoSpark(t *testing.T) {
	c := conf(t, props{"spark.master": "m:1", "spark.mesos.uris": "http://c/1"})
	got := task(t, c, Submission{Properties: props{KeyCommand: "sleep 5; echo $HOME"}})
	if got.Command.GetValue() != "sleep 5; echo $HOME" || got.Name != "Driver for command" {
		t.Error(got)
	}
	if diff := cmp.Diff([]string{"http://c/1"}, uriValues(t, got, false)); diff != "" {
		t.Error(diff)
	}
	_, _, err := Describe(c, Submission{Properties: props{KeyCommand: "  "}})
	wantInvalid(t, err, KeyCommand)
}

func TestQueuesHavePriorities(t *testing.T) {
	p := props{"spark.master": "m:1", "spark.home": "/s"}
	for q, v := range (props{"ROUTINE": "1", "URGENT": "2", "LOWER": "-1"}) {
		p[KeyQueue+"."+q] = v
	}
	c := conf(t, p)
	for queue, want := range map[string]float64{"": 0, "default": 0, "ROUTINE": 1, "URGENT": 2, "LOWER": -1} {
		if got, ok := c.Priority(queue); !ok || got != want {
			t.Errorf("%q: %v %v", queue, got, ok)
		}
	}
	if _, ok := c.Priority("dummy"); ok {
		t.Error("unknown queue has a priority")
	}
	if d := describe(t, c, submission(props{KeyQueue: "URGENT"})); d.Queue != "URGENT" {
		t.Error(d.Queue)
	}
	if d := describe(t, c, submission(nil)); d.Queue != DefaultQueue {
		t.Error(d.Queue)
	}
}

func TestParseDispatcherConfNamesTheKeyAtFault(t *testing.T) {
	for key, value := range (props{KeyQueue + ".A": "abc", KeyQueue + ".default": "1", "spark.mesos.fetcherCache.enable": "x",
		KeyKillGracePeriod: "x", sparkconf.RedactionKey: "(", KeyHideSecrets: "x"}) {
		_, err := ParseDispatcherConf(sparkconf.New(props{"spark.master": "m:1", key: value}), "")
		wantInvalid(t, err, key)
	}
	_, err := ParseDispatcherConf(sparkconf.New(props{"spark.master": "mesos://"}), "")
	wantInvalid(t, err, "spark.master")
	if c := conf(t, props{"spark.master": "mesos://mesos://h:1"}); c.Master != "h:1" {
		t.Error(c.Master)
	}
}

func TestDescriptionIsPlainSortedData(t *testing.T) {
	s := submission(props{"spark.driver.extraClassPath": "/a:/b", "spark.driver.extraLibraryPath": "/l",
		"spark.driver.defaultJavaOptions": "-Da=b", "spark.driver.extraJavaOptions": `-Dx="a \"b\"" 'c d'`, "a": "1", "z": "2"})
	s.Environment = props{"Z": "1", "A": "2"}
	s.Args = []string{"x"}
	d := describe(t, home(t), s)
	s.Args[0], s.Properties["a"] = "changed", "changed"
	if d.Args[0] != "x" || d.Properties[0] != (KV{"a", "1"}) || d.Environment[0] != (KV{"A", "2"}) {
		t.Errorf("%+v", d)
	}
	if !cmp.Equal(d.ClassPath(), []string{"/a", "/b"}) || !cmp.Equal(d.LibraryPath(), []string{"/l"}) {
		t.Error(d.ClassPath(), d.LibraryPath())
	}
	opts := d.JavaOptions()
	if !cmp.Equal(opts[len(opts)-3:], []string{"-Da=b", `-Dx=a "b"`, "c d"}) || opts[0] != "-Da=1" {
		t.Errorf("%q", opts)
	}
	data, err := json.Marshal(d)
	var back Description
	if err != nil || json.Unmarshal(data, &back) != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*d, back); diff != "" {
		t.Error(diff)
	}
}

func TestTaskAndFrameworkIDsOfAttempts(t *testing.T) {
	if got := DriverFrameworkID("fw", "s", 0) + " " + DriverFrameworkID("fw", "s", 2) + " " + TaskID("s", 1); got != "fw-s fw-s-retry-2 s-retry-1" {
		t.Error(got)
	}
}
