package localmesos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	status, body := get(t, url)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", url, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
	}
}

func TestStateDocuments(t *testing.T) {
	m := start(t, localmesos.Options{Agents: 2, Attributes: "rack:a;level:2;span:[1-5]", Resources: "cpus:4;mem:1000;cpus(eng):1;ports:[1-5]"})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	f.launch(shell("t", "echo hello; "+forever))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING)
	f.launch(shell("past", "true"))
	f.until("past", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	v := viewOf(t, m, "t")

	type task struct {
		ID, Name, State string
		SlaveID         string `json:"slave_id"`
		Statuses        []struct{ State string }
	}
	var state struct {
		Version string
		Slaves  []struct {
			ID, PID, Hostname string
			Active            bool
			Resources         map[string]any
			Used              map[string]any `json:"used_resources"`
			Reserved          map[string]any `json:"reserved_resources"`
			Attributes        map[string]any
		}
		Frameworks []struct {
			ID, Name  string
			Active    bool
			Tasks     []task
			Completed []task `json:"completed_tasks"`
		}
	}
	for _, path := range []string{"/state", "/master/state", "/master/state.json"} {
		getJSON(t, m.URL()+path, &state)
		if state.Version != "1.11.0" || len(state.Slaves) != 2 || len(state.Frameworks) != 1 {
			t.Fatalf("%s: %+v", path, state)
		}
	}
	fw := state.Frameworks[0]
	if fw.ID != f.id || !fw.Active || len(fw.Tasks) != 1 || fw.Tasks[0].State != "TASK_RUNNING" || len(fw.Tasks[0].Statuses) != 2 ||
		len(fw.Completed) != 1 || fw.Completed[0].State != "TASK_FINISHED" {
		t.Errorf("%+v", fw)
	}
	directories := map[string]string{}
	for _, s := range state.Slaves {
		if !s.Active || s.Attributes["rack"] != "a" || s.Attributes["level"] != 2.0 || s.Attributes["span"] != "[1-5]" ||
			s.Resources["ports"] != "[1-5]" || s.Resources["cpus"] != 5.0 || fmt.Sprint(s.Reserved["eng"]) != "map[cpus:1 disk:0 gpus:0 mem:0]" {
			t.Errorf("%+v", s)
		}
		if s.ID == v.AgentID && s.Used["cpus"] != 0.1 {
			t.Errorf("used: %v", s.Used)
		}
		// The way from a task to its output, as Mesos' own CLI goes it.
		type frameworks []struct {
			Executors []struct{ ID, Directory string }
			Past      []struct{ ID, Directory string } `json:"completed_executors"`
		}
		var agent struct {
			Frameworks frameworks
			Past       frameworks `json:"completed_frameworks"`
		}
		getJSON(t, m.URL()+"/"+strings.TrimSuffix(s.PID, "@"+m.Addr())+"/state", &agent)
		for _, f := range slices.Concat(agent.Frameworks, agent.Past) {
			for _, e := range slices.Concat(f.Executors, f.Past) {
				directories[e.ID] = e.Directory
			}
		}
	}
	for _, task := range []string{"t", "past"} {
		if dir := viewOf(t, m, task).Sandbox; dir == "" || directories[task] != dir {
			t.Errorf("directory of %s: %q, want %q", task, directories[task], dir)
		}
	}
	var doc map[string]any
	for _, path := range []string{"/slaves", "/master/slaves", "/tasks", "/master/tasks", "/frameworks", "/master/frameworks", "/version", "/metrics/snapshot"} {
		getJSON(t, m.URL()+path, &doc)
	}
	if doc["master/elected"] != 1.0 || doc["master/slaves_active"] != 2.0 {
		t.Errorf("metrics: %v", doc)
	}
	for _, path := range []string{"/health", "/master/health"} {
		if status, _ := get(t, m.URL()+path); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/slave(9)/state", "/other/state", "/nothing"} {
		if status, _ := get(t, m.URL()+path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	m := start(t, localmesos.Options{WorkDir: dir})
	f := subscribe(t, m.Addr(), codecs.MediaTypeProtobuf, aware())
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.launch(shell("t", "printf 0123456789; ln -s "+outside+" link"))
	f.until("t", mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED)
	v := viewOf(t, m, "t")
	latest := filepath.Join(filepath.Dir(v.Sandbox), "latest", "stdout")
	virtual := "/frameworks/" + f.id + "/executors/t/runs/latest/stdout"
	for _, c := range []struct {
		path, query string
		status      int
		data        string
		offset      int
	}{
		{v.Sandbox + "/stdout", "&offset=0", 200, "0123456789", 0},
		{latest, "&offset=3&length=4", 200, "3456", 3},
		{virtual, "&offset=8", 200, "89", 8},
		{latest, "", 200, "", 10},
		{latest, "&offset=-1", 200, "", 10},
		{latest, "&offset=99", 200, "", 99},
		{latest, "&offset=x", 400, "", 0},
		{latest, "&length=-7", 400, "", 0},
		{v.Sandbox, "&offset=0", 400, "", 0},
		{"", "", 400, "", 0},
		{v.Sandbox + "/nothing", "", 404, "", 0},
		{"/etc/passwd", "&offset=0", 404, "", 0},
		{v.Sandbox + "/../../../../../../../../../../etc/passwd", "&offset=0", 404, "", 0},
		{"/frameworks/../../../etc/passwd", "&offset=0", 404, "", 0},
		{v.Sandbox + "/link", "&offset=0", 400, "", 0},
	} {
		status, body := get(t, m.URL()+"/files/read?path="+url.QueryEscape(c.path)+c.query)
		if status != c.status {
			t.Errorf("%s %s: %d %s", c.path, c.query, status, body)
			continue
		}
		var got struct {
			Data   string
			Offset int
		}
		if status == 200 && (json.Unmarshal([]byte(body), &got) != nil || got.Data != c.data || got.Offset != c.offset) {
			t.Errorf("%s %s: %s", c.path, c.query, body)
		}
	}
	var list []struct {
		Path string
		Size int
	}
	getJSON(t, m.URL()+"/files/browse?path="+url.QueryEscape(v.Sandbox), &list)
	if len(list) != 3 || list[2].Path != v.Sandbox+"/stdout" || list[2].Size != 10 {
		t.Errorf("%+v", list)
	}
	if status, body := get(t, m.URL()+"/files/download?path="+url.QueryEscape(latest)); status != 200 || body != "0123456789" {
		t.Errorf("download: %d %q", status, body)
	}
}
