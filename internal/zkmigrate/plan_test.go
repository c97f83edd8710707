package zkmigrate

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
)

func planOf(t testing.TB, files map[string][]byte) *Plan {
	t.Helper()
	p, err := MakePlan(treeOf(files))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func find(t testing.TB, p *Plan, name string) api.ImportDriver {
	t.Helper()
	for _, d := range p.Drivers {
		if d.Submission.SparkProperties["spark.app.name"] == name {
			return d
		}
	}
	t.Fatalf("no driver is called %q", name)
	return api.ImportDriver{}
}

// The samples were written by the dispatchers themselves: five queued drivers,
// launched ones of which one is at its second attempt, and ones that wait for
// their next attempt.

func TestTheTreesOfSparksDispatchersAreUnderstood(t *testing.T) {
	for version, want := range map[string]map[string]int{
		"3.5.1": {"QUEUED": 5, "RUNNING": 3, "RETRYING": 3},
		"2.4.8": {"QUEUED": 5, "RUNNING": 2, "RETRYING": 2},
	} {
		t.Run(version, func(t *testing.T) {
			p := planOf(t, sample(t, version))
			if p.FrameworkID != oldUUID+"-0000" || len(p.Quarantine)+len(p.Notes) > 0 {
				t.Errorf("framework %s, quarantine %v, notes %v", p.FrameworkID, p.Quarantine, p.Notes)
			}
			states := make(map[string]int)
			for _, d := range p.Drivers {
				states[d.State]++
			}
			if !maps.Equal(states, want) {
				t.Errorf("states %v, want %v", states, want)
			}
			if !slices.IsSortedFunc(p.Drivers, func(a, b api.ImportDriver) int { return int(a.SubmittedMs - b.SubmittedMs) }) {
				t.Error("drivers are not in the order of their submission")
			}
			python := find(t, p, "python")
			wantSub := api.ImportSubmission{
				AppResource: "http://repo.example/jobs/job.py", AppArgs: []string{"1"},
				EnvironmentVariables: map[string]string{"SPARK_A": "1", "SPARK_B": "2", "SPARK_C": "3", "SPARK_D": "4", "SPARK_E": "5", "SPARK_F": "6"},
				SparkProperties: map[string]string{"spark.app.name": "python", "spark.driver.memory": "512m", "spark.mesos.driver.constraints": "rack:a,b",
					"spark.submit.pyFiles": "http://repo.example/a.py,http://repo.example/b.zip"},
			}
			if diff := cmp.Diff(wantSub, python.Submission); diff != "" {
				t.Error(diff)
			}
			if d := find(t, p, "docker"); len(d.Submission.AppArgs) != 1 || len(d.Submission.AppArgs[0]) != 70000 {
				t.Error("the long argument is not whole")
			}
			if d := find(t, p, "many properties"); len(d.Submission.SparkProperties) != 61 {
				t.Errorf("%d properties", len(d.Submission.SparkProperties))
			}
			if d := find(t, p, "plain"); d.TaskID != d.ID || d.Attempt != 0 || d.AgentID != oldUUID+"-S0" ||
				d.FrameworkID != p.FrameworkID+"-"+d.ID || d.LaunchedMs < d.SubmittedMs || d.Supervise {
				t.Errorf("launched: %+v", d)
			}
			if d := find(t, p, "relaunched"); d.TaskID != d.ID+"-retry-1" || d.Attempt != 1 || d.Retries != 1 || !d.Supervise {
				t.Errorf("at its second attempt: %+v", d)
			}
			d := find(t, p, "failed once")
			if d.Retries < 1 || d.Attempt != uint32(d.Retries-1) || d.NotBeforeMs <= d.SubmittedMs || d.Last == nil ||
				d.Last.Message != "Command exited with status 1" || d.Last.State != 3 || len(d.Last.UUID) != 16 || d.Last.AgentID == "" {
				t.Errorf("waits for a retry: %+v", d)
			}
		})
	}
}

// What Scala 2.13 makes of the same classes; see the samples of javaser.
func TestATreeOfScala213IsUnderstood(t *testing.T) {
	p := planOf(t, sample(t, "3.5.1-scala2.13"))
	if len(p.Quarantine)+len(p.Notes) > 0 || len(p.Drivers) != 7 {
		for _, q := range p.Quarantine {
			t.Error(q.Path, q.Reason)
		}
		t.Fatalf("%d drivers, notes %v", len(p.Drivers), p.Notes)
	}
	wantSub := api.ImportSubmission{
		AppResource: "http://repo.example/jobs/job.py", AppArgs: []string{"1"},
		EnvironmentVariables: map[string]string{"SPARK_A": "1", "SPARK_B": "2", "SPARK_C": "3", "SPARK_D": "4", "SPARK_E": "5", "SPARK_F": "6"},
		SparkProperties: map[string]string{"spark.app.name": "python", "spark.driver.memory": "512m",
			"spark.submit.pyFiles": "http://repo.example/a.py,http://repo.example/b.zip"},
	}
	if diff := cmp.Diff(wantSub, find(t, p, "python").Submission); diff != "" {
		t.Error(diff)
	}
	if d := find(t, p, "plain"); d.State != "RUNNING" || d.TaskID != d.ID || d.Submission.EnvironmentVariables["SPARK_SCALA_VERSION"] != "2.13" {
		t.Errorf("launched: %+v", d)
	}
	if d := find(t, p, "supervised ü"); d.State != "RUNNING" || d.Attempt != 2 || d.Retries != 2 || d.Cores != 2 || d.MemoryMiB != 2432 {
		t.Errorf("at its third attempt: %+v", d)
	}
	if d := find(t, p, "failed twice"); d.State != "RETRYING" || d.Retries != 2 || len(d.Submission.AppArgs) != 0 || d.Last.Message != "Command exited with status 1" {
		t.Errorf("waits for a retry: %+v", d)
	}
	if d := find(t, p, "many"); len(d.Submission.AppArgs) != 40 || len(d.Submission.EnvironmentVariables) != 64 {
		t.Errorf("many: %d arguments, %d variables", len(d.Submission.AppArgs), len(d.Submission.EnvironmentVariables))
	}
	for name, variables := range map[string]int{"long": 3, "empty": 4} {
		if d := find(t, p, name); d.State != "QUEUED" || len(d.Submission.EnvironmentVariables) != variables {
			t.Errorf("%s: %+v", name, d.Submission.EnvironmentVariables)
		}
	}
}

func TestWhatIsInTwoPlacesIsTakenFromWhereItRan(t *testing.T) {
	files := sample(t, "3.5.1")
	for _, name := range slices.Collect(maps.Keys(files)) {
		if id, launched := strings.CutPrefix(name, dirLaunched+"/"); launched {
			files[dirQueue+"/"+id] = []byte("never looked at")
		}
	}
	p := planOf(t, files)
	if len(p.Notes) != 3 || len(p.Drivers) != 11 || len(p.Quarantine) != 0 {
		t.Errorf("notes %q, %d drivers, quarantine %v", p.Notes, len(p.Drivers), p.Quarantine)
	}
}

func TestNodesThatCannotBeUnderstoodAreKeptApart(t *testing.T) {
	files := sample(t, "3.5.1")
	whole := files[dirQueue+"/driver-20261122141233-0007"]
	framework := files["scheduler/frameworkId"]
	damaged := map[string][]byte{
		dirQueue + "/empty":       {},
		dirQueue + "/garbage":     []byte("garbage"),
		dirQueue + "/cut":         whole[:len(whole)-10],
		dirQueue + "/another":     whole,     // holds a driver of another name
		dirQueue + "/text":        framework, // a Java object of another class
		dirLaunched + "/queued":   whole,
		dirRetry + "/no-failures": whole,
	}
	maps.Copy(files, damaged)
	p := planOf(t, files)
	if len(p.Drivers) != 11 || len(p.Quarantine) != len(damaged) {
		t.Fatalf("%d drivers, %d in quarantine", len(p.Drivers), len(p.Quarantine))
	}
	for _, q := range p.Quarantine {
		if q.Reason == "" || !reflect.DeepEqual(q.Data, damaged[strings.TrimPrefix(q.Path, "/d/")]) {
			t.Errorf("%+v", q)
		}
	}
}

func TestATreeWithoutAFrameworkIsRefused(t *testing.T) {
	files := sample(t, "3.5.1")
	id := files["scheduler/frameworkId"]
	delete(files, "scheduler/frameworkId")
	if _, err := MakePlan(treeOf(files)); !errors.Is(err, ErrNeverRegistered) {
		t.Errorf("without: %v", err)
	}
	files["scheduler/frameworkId"] = id[:10]
	if _, err := MakePlan(treeOf(files)); err == nil || errors.Is(err, ErrNeverRegistered) {
		t.Errorf("damaged: %v", err)
	}
}

func TestTheAttemptIsReadFromTheTask(t *testing.T) {
	for task, want := range map[string]int{"d": 0, "d-retry-1": 1, "d-retry-17": 17, "d-retry-0": -1, "d-retry-": -1, "d-retry-x": -1, "e": -1, "e-retry-1": -1, "d-retry-99999999999": -1} {
		got, err := attemptOf("d", task, nil)
		if (err == nil) != (want >= 0) || err == nil && int(got) != want {
			t.Errorf("%s: %d, %v", task, got, err)
		}
	}
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		url, dir string
		want     Source
	}{
		{"zk://h1:2181,h2", "", Source{Servers: []string{"h1:2181", "h2:2181"}, Dir: DefaultDir}},
		{"zk://h1:2181/", "/x/y", Source{Servers: []string{"h1:2181"}, Dir: "/x/y"}},
		{"zk://h1:2182/chroot/sub", "", Source{Servers: []string{"h1:2182"}, Dir: "/chroot/sub" + DefaultDir}},
		{"zk://u:p/@w@h1", "/x", Source{Servers: []string{"h1:2181"}, User: "u", Password: "p/@w", Dir: "/x"}},
	} {
		if got, err := ParseSource(c.url, c.dir); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: %+v, %v", c.url, c.dir, got, err)
		}
	}
	for _, c := range [][2]string{{"h1:2181", ""}, {"zk://", ""}, {"zk://h1", "relative"}, {"zk://h1", "/"}, {"zk://h1", "/a/"}, {"zk://h1", "/a//b"}, {"zk://h1//x", ""}, {"zk://u@h1", ""}} {
		if got, err := ParseSource(c[0], c[1]); err == nil {
			t.Errorf("%q was taken as %+v", c, got)
		}
	}
}

func TestAChangeOfTheTreeIsASignOfLife(t *testing.T) {
	before, same := treeOf(sample(t, "3.5.1")), treeOf(sample(t, "3.5.1"))
	sort := func(t *Tree) {
		for _, part := range [][]Node{t.Queued, t.Launched, t.Retrying} {
			slices.SortFunc(part, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
		}
	}
	sort(before)
	sort(same)
	if Changed(before, same) {
		t.Error("two equal readings")
	}
	for name, change := range map[string]func(*Tree){
		"framework":  func(t *Tree) { t.FrameworkID.Version++ },
		"new driver": func(t *Tree) { t.Queued = append(t.Queued, Node{Path: "/d/new"}) },
		"gone":       func(t *Tree) { t.Launched = t.Launched[1:] },
		"rewritten":  func(t *Tree) { t.Retrying[0].Version++ },
	} {
		after := treeOf(sample(t, "3.5.1"))
		sort(after)
		change(after)
		if !Changed(before, after) {
			t.Errorf("%s was not noticed", name)
		}
	}
}
