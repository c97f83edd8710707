package backend

import (
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// These are the cases of upstream's MesosFineGrainedSchedulerBackendSuite, by
// their names there.

func fineSettings(t testing.TB, sc Context, pairs ...string) *Settings {
	t.Helper()
	sc.AppName, sc.Conf = "app", props(pairs...)
	set, err := parseSettings(sc, fineGrained)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func describedExecutor(t testing.TB, set *Settings) *mesos.ExecutorInfo {
	t.Helper()
	info, _, err := set.agentExecutor(set.AgentExecutor, AgentExecutorSpec{"FW", "s1", "hosts1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestWeburiIsSetInCreatedSchedulerDriver(t *testing.T) {
	s := newFineSuite(t, nil)
	wantEqual(t, "web UI", s.mesos.framework.WebUIURL, "http://webui")
}

func TestUseConfiguredMesosExecutorCoresForExecutorInfo(t *testing.T) {
	s := newFineSuite(t, nil, "spark.mesos.mesosExecutor.cores", "3.0", "spark.executor.memory", "100m")
	s.give(TaskDescription{ID: 0, ExecutorID: "s1"})
	s.offer(offerOf("1", 1024, 4))
	task := s.launched("o1")[0]
	wantEqual(t, "cpus of the executor", mesosutil.ScalarSum(task.Executor.Resources, "cpus"), 3.0)
	wantEqual(t, "its id", task.Executor.ExecutorID.Value, "s1")
}

func TestCheckSparkClassLocationCorrectly(t *testing.T) {
	info := describedExecutor(t, fineSettings(t, Context{SparkHome: "/spark-home"}, "spark.mesos.executor.home", "/mesos-home"))
	wantEqual(t, "command", info.Command.GetValue(), " /mesos-home/bin/spark-class org.apache.spark.executor.MesosExecutorBackend")
	info = describedExecutor(t, fineSettings(t, Context{SparkHome: "/spark-home"}, "spark.executor.uri", "hdfs:///test-app-1.0.0.tgz"))
	wantEqual(t, "command", info.Command.GetValue(), "cd test-app-1*;  ./bin/spark-class org.apache.spark.executor.MesosExecutorBackend")
	if len(info.Command.URIs) != 1 || info.Command.URIs[0].Value != "hdfs:///test-app-1.0.0.tgz" || info.Command.URIs[0].GetCache() {
		t.Errorf("%v", info.Command.URIs)
	}
}

func TestSparkDockerPropertiesCorrectlyPopulateTheDockerInfoMessage(t *testing.T) {
	c := describedExecutor(t, fineSettings(t, Context{SparkHome: "/spark-home"},
		"spark.mesos.executor.docker.image", "spark/mock", "spark.mesos.executor.docker.forcePullImage", "true",
		"spark.mesos.executor.docker.volumes", "/a,/b:/b,/c:/c:rw,/d:ro,/e:/e:ro",
		"spark.mesos.executor.docker.portmaps", "80:8080,53:53:tcp")).Container
	if c.Docker.Image != "spark/mock" || !c.Docker.GetForcePullImage() {
		t.Errorf("%+v", c.Docker)
	}
	for i, want := range []mesos.ContainerInfo_DockerInfo_PortMapping{{HostPort: 80, ContainerPort: 8080}, {HostPort: 53, ContainerPort: 53}} {
		got := c.Docker.PortMappings[i]
		if got.HostPort != want.HostPort || got.ContainerPort != want.ContainerPort || got.GetProtocol() != "tcp" {
			t.Errorf("%+v", got)
		}
	}
	for i, want := range []struct {
		host, container string
		mode            mesos.Volume_Mode
	}{{"", "/a", mesos.RW}, {"/b", "/b", mesos.RW}, {"/c", "/c", mesos.RW}, {"", "/d", mesos.RO}, {"/e", "/e", mesos.RO}} {
		v := c.Volumes[i]
		if v.GetHostPath() != want.host || v.ContainerPath != want.container || v.GetMode() != want.mode {
			t.Errorf("%+v, want %+v", v, want)
		}
	}
}

func TestMesosResourceOffersResultInLaunchingTasks(t *testing.T) {
	s := newFineSuite(t, nil, "spark.task.cpus", "2")
	s.give(TaskDescription{ID: 1, Name: "n1", ExecutorID: "s1", Data: []byte{1}})
	s.offer(offerOf("1", execMem, 4), offerOf("2", execMem-1, 4), offerOf("3", execMem, 4))
	task := s.launched("o1")[0]
	s.tasks.mu.Lock()
	if want := []WorkerOffer{{"s1", "hosts1", 3}, {"s3", "hosts3", 3}}; !slices.Equal(s.tasks.offers[0], want) {
		t.Errorf("worker offers %v", s.tasks.offers[0])
	}
	s.tasks.mu.Unlock()
	wantEqual(t, "name", task.Name, "n1")
	wantEqual(t, "task id", task.TaskID.Value, "1")
	wantEqual(t, "agent", task.AgentID.Value, "s1")
	wantEqual(t, "data", string(task.Data), "\x01")
	wantEqual(t, "first resource", task.Resources[0].Name, "cpus")
	wantEqual(t, "its amount", task.Resources[0].Scalar.Value, 2.0)
	wantEqual(t, "kinds of resources", len(task.Resources), 1)
	wantEqual(t, "refusal of the rest", s.calls(func(m *fakeMesos) int { return int(m.refusals["o1"]) }), int(time.Second))
	wantEqual(t, "refusal", s.refused("o2"), unset)
	wantEqual(t, "refusal", s.refused("o3"), unset)
	s.status(1, "1", mesos.TASK_RUNNING)
	s.offer(s.offerAgain("1", "o4"))
	wantEqual(t, "refusal", s.refused("o4"), unset)
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if want := []WorkerOffer{{"s1", "hosts1", 8}}; !slices.Equal(s.tasks.offers[1], want) {
		t.Errorf("worker offers %v: an executor that is there needs no cores again", s.tasks.offers[1])
	}
}

func TestCanHandleMultipleRoles(t *testing.T) {
	s := newFineSuite(t, nil, "spark.executor.memory", "100m", "spark.mesos.executor.memoryOverhead", "384")
	s.give(TaskDescription{ID: 1, Name: "n1", ExecutorID: "s1"})
	o := offerOf("1", 0, 0)
	o.Resources = []mesos.Resource{
		mesosutil.NewScalarResource("mem", 500, "prod", nil), mesosutil.NewScalarResource("cpus", 1, "prod", nil),
		mesosutil.NewScalarResource("mem", 600, "dev", nil), mesosutil.NewScalarResource("cpus", 2, "dev", nil),
	}
	s.offer(o)
	task := s.launched("o1")[0]
	text := func(list []mesos.Resource) string {
		var out []string
		for _, r := range list {
			out = append(out, r.Name+" "+r.GetRole())
		}
		return strings.Join(out, ", ")
	}
	wantEqual(t, "resources of the task", text(task.Resources), "cpus dev")
	wantEqual(t, "cpus of the task", task.Resources[0].Scalar.Value, 1.0)
	wantEqual(t, "resources of the executor", text(task.Executor.Resources), "cpus prod, mem prod")
	wantEqual(t, "mem of the executor", mesosutil.ScalarSum(task.Executor.Resources, "mem"), 484.0)
	wantEqual(t, "cpus of the executor", mesosutil.ScalarSum(task.Executor.Resources, "cpus"), 1.0)
}
