package launch

import (
	"strings"
	"testing"
)

func TestWhatCannotBeLaunchedIsRefusedWithItsKey(t *testing.T) {
	for key, values := range map[string][]string{
		"spark.driver.cores":                         {"0", "-1", "two", "NaN", "0.001", "1e9"},
		"spark.driver.memory":                        {"1", "lots", "-1g", "1.5g", "9000p"},
		"spark.driver.memoryOverhead":                {"x", "-1"},
		"spark.driver.memoryOverheadFactor":          {"x", "-1", "1e9"},
		"spark.mesos.driver.memoryOverhead":          {"1g", "-1"},
		"spark.driver.supervise":                     {"yes"},
		"spark.cores.max":                            {"many", "0"},
		"spark.executor.memory":                      {"1x"},
		KeyQueue:                                     {"nosuch"},
		KeyConstraints:                               {"nocolon", "a:b;", "a:b:c"},
		KeyLabels:                                    {"a", "a:b:c"},
		"spark.mesos.network.labels":                 {"a"},
		"spark.mesos.executor.docker.volumes":        {"/a:/b:x"},
		"spark.mesos.executor.docker.portmaps":       {"x:1", "1"},
		"spark.mesos.executor.docker.parameters":     {"a"},
		"spark.mesos.executor.docker.forcePullImage": {"1"},
		"spark.mesos.containerizer":                  {"rkt"},
		"spark.mesos.driver.secret.envkeys":          {"A"},
		"spark.mesos.appJar.local.resolution.mode":   {"agent"},
		"spark.mesos.fetcherCache.enable":            {"maybe"},
		"spark.executor.uri":                         {"http://h/.tgz", "http://h/-x.tgz", "///"},
		KeyKillGracePeriod:                           {"-1s", "soon"},
		KeyDriverGPUs:                                {"-1", "x", "99999"},
		KeyDriverPorts:                               {"0", "x", "70000", "7,7"},
		KeyHideSecrets:                               {"2"},
		"spark.mesos.coarse":                         {"maybe"},
		"spark.mesos.driverEnv.A=B":                  {"x"},
		"spark.foo":                                  {"a\x00b"},
	} {
		for _, v := range values {
			_, _, err := Describe(home(t), submission(props{key: v}))
			if err == nil {
				t.Errorf("%s=%s accepted", key, v)
				continue
			}
			wantInvalid(t, err, key)
		}
	}
}

func TestIncompleteOrOversizeSubmissionsAreRefused(t *testing.T) {
	change := func(f func(*Submission)) Submission {
		s := submission(nil)
		f(&s)
		return s
	}
	for key, s := range map[string]Submission{
		"appResource":          change(func(s *Submission) { s.AppResource = "" }),
		"spark.app.name":       change(func(s *Submission) { s.MainClass = ""; delete(s.Properties, "spark.app.name") }),
		"submission":           change(func(s *Submission) { s.Args = []string{strings.Repeat("x", MaxCommandLength)} }),
		"environmentVariables": change(func(s *Submission) { s.Environment = props{"": "x"} }),
		"appArgs":              change(func(s *Submission) { s.Args = []string{"\x00"} }),
	} {
		_, _, err := Describe(home(t), s)
		wantInvalid(t, err, key)
	}
	for _, uri := range []string{"///", "http://h/..", "http://h/."} {
		_, _, err := Describe(home(t), change(func(s *Submission) { s.AppResource = uri }))
		wantInvalid(t, err, "appResource")
	}
	_, _, err := Describe(home(t), change(func(s *Submission) { s.Properties["a"] = strings.Repeat("x", MaxSubmissionSize) }))
	wantInvalid(t, err, "submission")
	_, _, err = Describe(home(t), change(func(s *Submission) { s.Environment = props{"A": strings.Repeat("x", MaxCommandLength)} }))
	wantInvalid(t, err, "environmentVariables")
}

// Spark leaves a driver for which no Spark home is known unlaunched. Here the
// agent's own spark-submit is tried, and the submitter is told.
func TestWithoutASparkHomeTheAgentsOwnSparkSubmitRuns(t *testing.T) {
	nowhere := conf(t, props{"spark.master": "m:1"})
	d, warnings, err := Describe(nowhere, submission(nil))
	if err != nil || len(warnings) != 1 || warnings[0].Key != "spark.mesos.executor.home" {
		t.Fatal(warnings, err)
	}
	task, err := Task(nowhere, d, Placement{TaskID: "d", AgentID: "a", FrameworkID: "f"})
	if err != nil || !strings.HasPrefix(task.Command.GetValue(), "spark-submit --name ") {
		t.Errorf("got %q, %v", task.Command.GetValue(), err)
	}
}

func TestWarningsNameKeysWithoutEffect(t *testing.T) {
	_, warnings, err := Describe(home(t), submission(props{"spark.mesos.drivre.labels": "x", "spark.mesos.maxDrivers": "5", "spark.mesos.driver.secret.names": "/x"}))
	if err != nil || len(warnings) != 3 {
		t.Fatal(warnings, err)
	}
	for i, key := range []string{"spark.mesos.drivre.labels", "spark.mesos.maxDrivers", "spark.mesos.driver.secret.envkeys"} {
		if warnings[i].Key != key || !strings.HasPrefix(warnings[i].String(), key+": ") {
			t.Errorf("got %v", warnings[i])
		}
	}
}

// Mesos shows GPUs to frameworks that ask for them only.
func TestADriverWithGPUsIsWarnedWhereTheDispatcherTakesNone(t *testing.T) {
	for gpus, want := range (props{"": KeyDriverGPUs, "0": KeyDriverGPUs, "4": ""}) {
		p := props{"spark.master": "m:1", "spark.home": "/s"}
		if gpus != "" {
			p["spark.mesos.gpus.max"] = gpus
		}
		_, warnings, err := Describe(conf(t, p), submission(props{KeyDriverGPUs: "1"}))
		if err != nil || (len(warnings) > 0) != (want != "") || want != "" && warnings[0].Key != want {
			t.Errorf("%q: %v, %v", gpus, warnings, err)
		}
	}
}

func TestErrorsHideSecrets(t *testing.T) {
	for key, err := range map[string]error{
		"spark.mesos.driver.secret.envkeys": func() error {
			_, _, err := Describe(home(t), submission(props{"spark.mesos.driver.secret.values": "hunter2,hunter2", "spark.mesos.driver.secret.envkeys": "A"}))
			return err
		}(),
		"spark.password": &InvalidError{Key: "spark.password", Value: "hunter2", Reason: "r"},
	} {
		if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), key) {
			t.Error(err)
		}
	}
}
