package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sparkTask is one task that Spark 3.5.1's dispatcher asked for, with the
// submission it came from (testdata/spark-3.5.1-tasks.json).
type sparkTask struct {
	Case       string
	Submission Submission
	Spark      struct {
		Name, TaskID, AgentID string
		Resources             [][3]any
		URIs                  []string
		Env                   [][2]string
		Value                 string
		Container, Image      string
	}
}

const sparkFramework = "11111111-2222-3333-4444-555555555555-0000"

func goldenConf(t *testing.T) DispatcherConf {
	t.Helper()
	return conf(t, map[string]string{"spark.master": "127.0.0.1:5050", "spark.home": "/opt/spark"})
}

// improved applies the documented differences (doc.go) to Spark's command.
func improved(line string, d *Description) string {
	line = regexp.MustCompile(`--driver-memory \d+M`).ReplaceAllString(line, fmt.Sprintf("--driver-memory %dM", d.MemoryMiB))
	line = regexp.MustCompile(`--driver-cores (\d+)\.0 `).ReplaceAllString(line, "--driver-cores $1 ")
	line = regexp.MustCompile(`--driver-cores \d+\.\d+ `).ReplaceAllString(line, "")
	if n := len(d.Args); n > 0 && d.Args[n-1] == "" {
		line += `""`
	}
	return line
}

func TestTasksEqualSparksExceptForTheDocumentedDifferences(t *testing.T) {
	data, err := os.ReadFile("testdata/spark-3.5.1-tasks.json")
	if err != nil {
		t.Fatal(err)
	}
	var tasks []sparkTask
	if err := json.Unmarshal(data, &tasks); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		"030-cores-negative-POST": "spark.driver.cores",
		"031-cores-zero-POST":     "spark.driver.cores",
		"034-memory-small-POST":   "spark.driver.memory",
	}
	if len(tasks) < 30 {
		t.Fatalf("only %d recorded tasks", len(tasks))
	}
	for _, want := range tasks {
		t.Run(want.Case, func(t *testing.T) {
			c := goldenConf(t)
			d, _, err := Describe(c, want.Submission)
			if key, ok := refused[want.Case]; ok {
				wantInvalid(t, err, key)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkAgainstSpark(t, c, d, want)
		})
	}
}

func checkAgainstSpark(t *testing.T, c DispatcherConf, d *Description, want sparkTask) {
	t.Helper()
	base, retry, _ := strings.Cut(want.Spark.TaskID, "-retry-")
	attempt, _ := strconv.Atoi(retry)
	p := Placement{TaskID: TaskID(base, attempt), AgentID: want.Spark.AgentID, Attempt: attempt,
		FrameworkID: DriverFrameworkID(sparkFramework, base, attempt)}
	req, err := d.Requirements()
	if err != nil {
		t.Fatal(err)
	}
	var ok bool
	offer := []mesos.Resource{
		mesosutil.NewScalarResource("cpus", 64, "", nil), mesosutil.NewScalarResource("mem", 256<<10, "", nil),
	}
	if _, p.Resources, ok = req.Carve(offer, mesosutil.OfferOrder); !ok {
		t.Fatal("does not fit")
	}
	task, err := Task(c, d, p)
	if err != nil {
		t.Fatal(err)
	}
	if task.Name != want.Spark.Name || task.TaskID.Value != want.Spark.TaskID || task.AgentID.Value != want.Spark.AgentID {
		t.Errorf("identity %q %q %q", task.Name, task.TaskID.Value, task.AgentID.Value)
	}
	if diff := cmp.Diff(improved(want.Spark.Value, d), task.Command.GetValue()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Spark.URIs, uriValues(t, task, false)); diff != "" {
		t.Errorf("uris: %s", diff)
	}
	if diff := cmp.Diff(sortedPairs(want.Spark.Env), sortedPairs(variables(task))); diff != "" {
		t.Errorf("environment: %s", diff)
	}
	if got := task.Container.Type.String(); got != want.Spark.Container || task.Container.Docker.GetImage() != want.Spark.Image {
		t.Errorf("container %s %v", got, task.Container.Docker)
	}
	if len(task.Labels.GetLabels()) != 0 || task.KillPolicy != nil || task.Executor != nil || task.HealthCheck != nil ||
		task.Discovery != nil || task.Command.User != nil || task.Command.Arguments != nil || task.Command.Shell != nil {
		t.Errorf("unwanted parts: %v", task)
	}
	// Spark counts the overhead twice; once is what the heap needs.
	if mem := mesosutil.ScalarSum(task.Resources, "mem"); mem != float64(d.MemoryMiB+d.OverheadMiB) || mem >= want.Spark.Resources[1][1].(float64) {
		t.Errorf("mem %v, heap %d, overhead %d", mem, d.MemoryMiB, d.OverheadMiB)
	}
	if cpus := mesosutil.ScalarSum(task.Resources, "cpus"); cpus != want.Spark.Resources[0][1].(float64) {
		t.Errorf("cpus %v", cpus)
	}
}

func uriValues(t *testing.T, task mesos.TaskInfo, cache bool) []string {
	t.Helper()
	var out []string
	for _, u := range task.Command.URIs {
		if u.GetCache() != cache || u.Cache == nil || u.Extract != nil || u.Executable != nil {
			t.Errorf("flags of %v", u)
		}
		out = append(out, u.Value)
	}
	return out
}

func variables(task mesos.TaskInfo) [][2]string {
	var out [][2]string
	for _, v := range task.Command.Environment.Variables {
		out = append(out, [2]string{v.Name, v.GetValue()})
	}
	return out
}

func sortedPairs(p [][2]string) [][2]string {
	p = append([][2]string(nil), p...)
	sort.Slice(p, func(i, j int) bool { return p[i][0]+p[i][1] < p[j][0]+p[j][1] })
	return p
}
