package mesosutil

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func label(k, v string) mesos.Label { return mesos.Label{Key: k, Value: &v} }

func TestParseLabelsGrammar(t *testing.T) {
	for text, want := range map[string][]mesos.Label{
		"":                        nil,
		"key:value":               {label("key", "value")},
		`key:value\:value`:        {label("key", "value:value")},
		"key:value,key2:value2":   {label("key", "value"), label("key2", "value2")},
		`key:value\,value`:        {label("key", "value,value")},
		"mesos:test,label:test":   {label("mesos", "test"), label("label", "test")},
		`a\:b:c`:                  {label("a:b", "c")},
		"a:b,":                    {label("a", "b")},
		"a:b, c:d":                {label("a", "b"), label(" c", "d")},
		":v":                      {label("", "v")},
		"k:v:":                    {label("k", "v")},
		`k:back\slash`:            {label("k", `back\slash`)},
		"key1:val1,key2:val2":     {label("key1", "val1"), label("key2", "val2")},
		`path:/a/b\,c,other:x\:1`: {label("path", "/a/b,c"), label("other", "x:1")},
	} {
		got, err := ParseLabels(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestParseLabelsNamesTheMalformedLabel(t *testing.T) {
	for text, item := range map[string]string{
		"key:": "key:", "a": "a", "a:b:c": "a:b:c", "a:b,,c:d": "", "x:y,incorrect:label:here": "incorrect:label:here", `a\:b`: `a\:b`,
	} {
		var pe *ParseError
		if _, err := ParseLabels(text); !errors.As(err, &pe) || pe.Item != item {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLabelsLenientSkipsMalformedLabels(t *testing.T) {
	got, warnings := LabelsLenient("mesos:test,label:test,incorrect:label:here")
	if !cmp.Equal(got, []mesos.Label{label("mesos", "test"), label("label", "test")}) || len(warnings) != 1 {
		t.Errorf("got %v, %v", got, warnings)
	}
}

func volume(host, container string, mode mesos.Volume_Mode) mesos.Volume {
	v := mesos.Volume{ContainerPath: container, Mode: mode.Enum()}
	if host != "" {
		v.HostPath = &host
	}
	return v
}

func TestParseVolumesGrammar(t *testing.T) {
	got, err := ParseVolumes(SplitList("/a,/b:/b,/c:/c:rw,/d:ro,/e:/e:ro, /f:rw,, /host_vol:/container_vol:ro"))
	want := []mesos.Volume{
		volume("", "/a", mesos.RW), volume("/b", "/b", mesos.RW), volume("/c", "/c", mesos.RW), volume("", "/d", mesos.RO),
		volume("/e", "/e", mesos.RO), volume("", "/f", mesos.RW), volume("/host_vol", "/container_vol", mesos.RO),
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestVolumesStrictRefusesAndLenientSkips(t *testing.T) {
	for _, item := range []string{"/a:/b:x", "/a:/b:rw:z", "/a:/b:/c:ro", ":/b", "/a:", "", "::"} {
		var pe *ParseError
		if _, err := ParseVolumes([]string{"/ok", item}); !errors.As(err, &pe) || pe.Item != item {
			t.Errorf("%q: %v", item, err)
		}
		if got, warnings := VolumesLenient([]string{"/ok", item, "/x"}); len(got) != 2 || len(warnings) != 1 {
			t.Errorf("%q: lenient %v %v", item, got, warnings)
		}
	}
}

func TestParsePortMappingsGrammar(t *testing.T) {
	tcp, udp := "tcp", "udp"
	got, err := ParsePortMappings(SplitList("80:8080,53:53:udp,8080:80:tcp"))
	want := []PortMapping{
		{HostPort: 80, ContainerPort: 8080, Protocol: &tcp},
		{HostPort: 53, ContainerPort: 53, Protocol: &udp},
		{HostPort: 8080, ContainerPort: 80, Protocol: &tcp},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, item := range []string{"80", "80:80:80:tcp", "x:80", "80:x", "70000:1", "1:70000", "1:0", "-1:2", "80:80:icmp", ""} {
		var pe *ParseError
		if _, err := ParsePortMappings([]string{item}); !errors.As(err, &pe) || pe.Item != item {
			t.Errorf("%q: %v", item, err)
		}
	}
	if got, warnings := PortMappingsLenient([]string{"80", "1:2"}); len(got) != 1 || len(warnings) != 1 {
		t.Errorf("lenient %v %v", got, warnings)
	}
}

func TestParametersLenientSkipsWhatHasNoValue(t *testing.T) {
	if got, warnings := ParametersLenient(SplitList("a,b")); len(got) != 0 || len(warnings) != 2 {
		t.Errorf("a,b: %v %v", got, warnings)
	}
	got, warnings := ParametersLenient(SplitList("a=1,b=2,c=3"))
	want := []mesos.Parameter{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}, {Key: "c", Value: "3"}}
	if diff := cmp.Diff(want, got); diff != "" || len(warnings) != 0 {
		t.Errorf("%v %s", warnings, diff)
	}
}

func TestParseParametersGrammar(t *testing.T) {
	got, err := ParseParameters([]string{"env=A=b", "x="})
	if diff := cmp.Diff([]mesos.Parameter{{Key: "env", Value: "A=b"}, {Key: "x"}}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, item := range []string{"a", "=v", ""} {
		if _, err := ParseParameters([]string{item}); !isParseError(err) {
			t.Errorf("%q accepted", item)
		}
	}
}

func TestSecretsGoToEnvironmentAndFiles(t *testing.T) {
	s, err := ParseSecrets(MapLookup(map[string]string{
		"spark.mesos.driver.secret.names":     "/path/to/secret,/anothersecret",
		"spark.mesos.driver.secret.envkeys":   "SECRET_ENV_KEY,PASSWORD",
		"spark.mesos.driver.secret.filenames": "/topsecret,/mypassword",
		"spark.mesos.executor.secret.values":  "other",
	}), "driver")
	if err != nil {
		t.Fatal(err)
	}
	vars, err1 := s.Environment()
	volumes, err2 := s.Volumes()
	if err1 != nil || err2 != nil || len(vars) != 2 || len(volumes) != 2 {
		t.Fatal(vars, volumes, err1, err2)
	}
	if v := vars[1]; v.Name != "PASSWORD" || *v.Type != mesos.Environment_Variable_SECRET || v.Value != nil ||
		v.Secret.Type != mesos.Secret_REFERENCE || v.Secret.Reference.Name != "/anothersecret" {
		t.Errorf("variable %v", v)
	}
	if v := volumes[0]; v.ContainerPath != "/topsecret" || *v.Mode != mesos.RO || v.Source.Type != mesos.Volume_Source_SECRET ||
		v.Source.Secret.Reference.Name != "/path/to/secret" {
		t.Errorf("volume %v", v)
	}
}

func TestValueSecretsCarryTheBytes(t *testing.T) {
	s, err := ParseSecrets(MapLookup(map[string]string{
		"spark.mesos.executor.secret.values":  "user,password",
		"spark.mesos.executor.secret.envkeys": "USER,PASSWORD",
	}), "executor")
	if err != nil {
		t.Fatal(err)
	}
	vars, _ := s.Environment()
	if v := vars[0].Secret; v.Type != mesos.Secret_VALUE || string(v.Value.Data) != "user" {
		t.Errorf("got %v", v)
	}
	if s.Unused() {
		t.Error("secrets with env keys count as unused")
	}
}

func TestSecretErrorsRevealNothing(t *testing.T) {
	const k = "spark.mesos.driver.secret."
	for _, conf := range []map[string]string{
		{k + "names": "topname", k + "values": "hunter2"},
		{k + "values": "hunter2,swordfish", k + "envkeys": "A"},
		{k + "values": "hunter2", k + "filenames": "/a,/b"},
		{k + "names": "topname", k + "envkeys": "A,B"},
		{k + "envkeys": "A"},
	} {
		_, err := ParseSecrets(MapLookup(conf), "driver")
		if !isParseError(err) {
			t.Errorf("%v accepted", conf)
			continue
		}
		for _, secret := range []string{"hunter2", "swordfish", "topname"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v reveals %s", err, secret)
			}
		}
		if !strings.Contains(err.Error(), k) {
			t.Errorf("%v does not name the key", err)
		}
	}
	s := SecretSettings{Values: []string{"v"}}
	if !s.Unused() {
		t.Error("secret without destination not reported")
	}
	s.EnvKeys = []string{"A", "B"}
	if _, err := s.Environment(); err == nil {
		t.Error("mismatch accepted")
	}
	if _, err := s.Volumes(); err == nil {
		t.Error("mismatch accepted")
	}
}

func TestRefuseDurationsFallBack(t *testing.T) {
	ptr := func(d time.Duration) *time.Duration { return &d }
	if got := NewRefuseDurations(nil, nil, nil); got != (RefuseDurations{120 * time.Second, 120 * time.Second, 120 * time.Second}) {
		t.Errorf("defaults %v", got)
	}
	if got := NewRefuseDurations(ptr(5*time.Second), nil, ptr(time.Second)); got != (RefuseDurations{5 * time.Second, 5 * time.Second, time.Second}) {
		t.Errorf("fallback %v", got)
	}
	if RefuseFilters(nil) != nil {
		t.Error("no duration must give no filter")
	}
	if got := RefuseFilters(ptr(90 * time.Second)).GetRefuseSeconds(); got != 90 {
		t.Errorf("got %v", got)
	}
	if got := RefuseFilters(ptr(-time.Second)).GetRefuseSeconds(); got != 0 {
		t.Errorf("negative became %v, which Mesos would take for its default", got)
	}
}

func TestDeclineText(t *testing.T) {
	d := 120 * time.Second
	offer := &mesos.Offer{ID: mesos.OfferID{Value: "o1"}, Attributes: []mesos.Attribute{textAttr("os", "x")},
		Resources: []mesos.Resource{scalarOf("cpus", "", 1.5), scalarOf("mem", "", 1024), portsOf("*", 1, 2)}}
	if got, want := DeclineText(offer, "unmet", &d), "Declining offer: o1 with attributes: os:x mem: 1024 cpu: 1.5 port: [1-2] for 120 s (reason: unmet)"; got != want {
		t.Errorf("got %q", got)
	}
	if got := DeclineText(offer, "", nil); !strings.HasSuffix(got, "port: [1-2]") {
		t.Errorf("got %q", got)
	}
}

func TestWithoutFrameworkIDCopies(t *testing.T) {
	in := map[string]string{FrameworkIDKey: "x", "a": "b"}
	if got := WithoutFrameworkID(in); !cmp.Equal(got, map[string]string{"a": "b"}) || len(in) != 2 {
		t.Errorf("got %v, input %v", got, in)
	}
}

func TestSparkStateMapsEveryMesosState(t *testing.T) {
	want := map[mesos.TaskState]SparkTaskState{
		mesos.TASK_STAGING: TaskLaunching, mesos.TASK_STARTING: TaskLaunching,
		mesos.TASK_RUNNING: TaskRunning, mesos.TASK_KILLING: TaskRunning,
		mesos.TASK_FINISHED: TaskFinished,
		mesos.TASK_FAILED:   TaskFailed, mesos.TASK_GONE: TaskFailed, mesos.TASK_GONE_BY_OPERATOR: TaskFailed,
		mesos.TASK_KILLED: TaskKilled,
		mesos.TASK_LOST:   TaskLost, mesos.TASK_ERROR: TaskLost, mesos.TASK_DROPPED: TaskLost, mesos.TASK_UNKNOWN: TaskLost, mesos.TASK_UNREACHABLE: TaskLost,
	}
	if len(want) != len(mesos.TaskState_name) {
		t.Errorf("the table has %d states, Mesos %d", len(want), len(mesos.TaskState_name))
	}
	for s := range mesos.TaskState_name {
		state := mesos.TaskState(s)
		got := SparkState(state)
		if got != want[state] {
			t.Errorf("%v: got %v", state, got)
		}
		if SparkState(got.MesosState()) != got {
			t.Errorf("%v: the way back gives %v", got, got.MesosState())
		}
	}
	if SparkState(999) != TaskLost {
		t.Error("unknown state")
	}
	for s, want := range map[SparkTaskState][2]bool{TaskLaunching: {false, false}, TaskRunning: {false, false}, TaskFinished: {true, false},
		TaskFailed: {true, true}, TaskKilled: {true, false}, TaskLost: {true, true}} {
		if s.Finished() != want[0] || s.Failed() != want[1] {
			t.Errorf("%s: %v %v", s, s.Finished(), s.Failed())
		}
	}
}

func FuzzListSettings(f *testing.F) {
	for _, s := range []string{"a:b", "/a:/b:ro,/c", "80:80:udp,1:2", "a=1,b=2", `k:v\,w,x\:y:z`, ",,:", `\`, "a:b:c:d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		items := SplitList(text)
		check := func(kind string, good int, strict error, warnings []error) {
			if (strict == nil) != (len(warnings) == 0) {
				t.Fatalf("%s %q: strict says %v, lenient %v", kind, text, strict, warnings)
			}
			for _, err := range warnings {
				if !isParseError(err) {
					t.Fatalf("%s: untyped error %v", kind, err)
				}
			}
		}
		_, err := ParseVolumes(items)
		v, w := VolumesLenient(items)
		check("volumes", len(v), err, w)
		_, err = ParsePortMappings(items)
		p, w := PortMappingsLenient(items)
		check("ports", len(p), err, w)
		_, err = ParseParameters(items)
		a, w := ParametersLenient(items)
		check("parameters", len(a), err, w)
		_, err = ParseLabels(text)
		l, w := LabelsLenient(text)
		check("labels", len(l), err, w)
		if len(v)+len(p)+len(a) > 3*len(items) {
			t.Fatal("more results than items")
		}
		for _, target := range []string{"names", "values"} {
			s, err := ParseSecrets(MapLookup(map[string]string{
				"spark.mesos.driver.secret." + target:  text,
				"spark.mesos.driver.secret.envkeys":    text,
				"spark.mesos.driver.secret.filenames":  text,
				"spark.mesos.executor.secret.envkeys":  "x",
				"spark.mesos.executor.secret.whatever": "y",
			}), "driver")
			if err != nil {
				t.Fatalf("equal lists refused: %v", err)
			}
			vars, err := s.Environment()
			if err != nil || len(vars) != len(items) {
				t.Fatal(vars, err)
			}
		}
	})
}
