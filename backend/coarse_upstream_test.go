package backend

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

// These are the cases of upstream's MesosCoarseGrainedSchedulerBackendSuite, by
// their names there.

const (
	execMem  = 1408.0 // 1 GiB and its overhead
	unset    = mesosDefault
	filtered = 120 * time.Second
)

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestMesosSupportsKillingAndLimitingExecutors(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Executors: 0}))
	s.do(s.KillExecutors(t.Context(), "0"))
	eventually(t, "KILL", func() bool { return s.calls(func(m *fakeMesos) int { return len(m.kills) }) == 1 })
	s.offer(offerOf("2", execMem, 4))
	wantEqual(t, "refusal", s.refused("o2"), unset)
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Executors: 2}))
	s.offer(offerOf("3", execMem, 4))
	s.launched("o3")
}

func TestMesosSupportsKillingAndRelaunchingTasksWithExecutors(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem+1024, 4), offerOf("2", execMem+1024, 1))
	s.launched("o1")
	s.update("0", "s1", mesos.TASK_KILLED)
	eventually(t, "one REVIVE", func() bool { return s.calls(func(m *fakeMesos) int { return m.revived }) == 1 })
	again := offerOf("1", execMem+1024, 4)
	again.ID.Value = "o3"
	s.offer(again)
	s.launched("o3")
}

func TestMesosSupportsSparkExecutorCores(t *testing.T) {
	s := newSuite(t, "spark.executor.cores", "4")
	s.offer(offerOf("1", 2*execMem, 5))
	tasks := s.launched("o1")
	if len(tasks) != 1 || sum(tasks[0], "cpus") != 4 {
		t.Errorf("%v", tasks)
	}
}

func TestMesosSupportsUnsetSparkExecutorCores(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", 2*execMem, 10))
	tasks := s.launched("o1")
	if len(tasks) != 1 || sum(tasks[0], "cpus") != 10 {
		t.Errorf("%v", tasks)
	}
}

func TestMesosDoesNotAcquireMoreThanSparkCoresMax(t *testing.T) {
	s := newSuite(t, "spark.cores.max", "10")
	s.offer(offerOf("1", execMem, 11))
	tasks := s.launched("o1")
	if len(tasks) != 1 || sum(tasks[0], "cpus") != 10 {
		t.Errorf("%v", tasks)
	}
}

func TestMesosDoesNotAcquireGpusIfNotSpecified(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 1, gpusOf(1)))
	wantEqual(t, "gpus", sum(s.launched("o1")[0], "gpus"), 0)
}

func TestMesosDoesNotAcquireMoreThanSparkMesosGpusMax(t *testing.T) {
	s := newSuite(t, "spark.mesos.gpus.max", "5")
	s.offer(offerOf("1", execMem, 1, gpusOf(6)))
	wantEqual(t, "gpus", sum(s.launched("o1")[0], "gpus"), 5)
	wantEqual(t, "capability", s.mesos.framework.GPUs, true)
}

func TestGpusAreTakenAsTheyCome(t *testing.T) {
	s := newSuite(t, "spark.mesos.gpus.max", "3")
	s.offer(offerOf("1", execMem, 1, gpusOf(2)), offerOf("2", execMem, 1, gpusOf(4)))
	wantEqual(t, "gpus of the first", sum(s.launched("o1")[0], "gpus"), 2)
	wantEqual(t, "gpus of the second", sum(s.launched("o2")[0], "gpus"), 1)
}

func TestMesosDeclinesOffersThatViolateAttributeConstraints(t *testing.T) {
	s := newSuite(t, "spark.mesos.constraints", "x:true")
	s.offer(offerOf("1", execMem, 4))
	wantEqual(t, "refusal", s.refused("o1"), filtered)
	wantEqual(t, "count", s.Status().HeldBack[ReasonConstraints], 1)
}

func TestMesosDeclinesOffersWithAFilterWhenReachedSparkCoresMax(t *testing.T) {
	for _, c := range []struct {
		max, cores string
		offers     int
		used       []string
		refused    string
	}{
		{"3", "", 2, []string{"o1"}, "o2"},
		{"4", "3", 2, []string{"o1"}, "o2"},
		{"4", "2", 3, []string{"o1", "o2"}, "o3"},
		{"5", "2", 3, []string{"o1", "o2"}, "o3"},
	} {
		t.Run(c.max+" by "+c.cores, func(t *testing.T) {
			conf := []string{"spark.cores.max", c.max}
			if c.cores != "" {
				conf = append(conf, "spark.executor.cores", c.cores)
			}
			s := newSuite(t, conf...)
			var offers []mesos.Offer
			for i := range c.offers {
				offers = append(offers, offerOf(fmt.Sprint(i+1), execMem, 5))
			}
			s.offer(offers...)
			for _, id := range c.used {
				s.launched(id)
			}
			wantEqual(t, "refusal", s.refused(c.refused), filtered)
		})
	}
}

func TestMesosAssignsTasksRoundRobinOnOffers(t *testing.T) {
	s := newSuite(t, "spark.executor.cores", "4", "spark.cores.max", "8")
	s.offer(offerOf("1", 2*execMem, 8), offerOf("2", 2*execMem, 8))
	wantEqual(t, "tasks on the first", len(s.launched("o1")), 1)
	wantEqual(t, "tasks on the second", len(s.launched("o2")), 1)
}

func TestMesosCreatesMultipleExecutorsOnASingleAgent(t *testing.T) {
	s := newSuite(t, "spark.executor.cores", "4")
	s.offer(offerOf("1", 2*execMem, 8))
	tasks := s.launched("o1")
	if len(tasks) != 2 || tasks[0].TaskID.Value != "1" || tasks[1].TaskID.Value != "0" {
		t.Errorf("%v", tasks)
	}
}

type countingShuffle struct{ calls, failing atomic.Int32 }

func (c *countingShuffle) Register(ctx context.Context, addr, app string, timeout, interval time.Duration) error {
	c.calls.Add(1)
	if addr != "hosts1:7337" || app != "FW" || timeout != 120*time.Second || interval != 10*time.Second {
		return fmt.Errorf("called with %s %s %v %v", addr, app, timeout, interval)
	}
	if c.failing.Add(-1) >= 0 {
		return fmt.Errorf("not yet")
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestMesosDoesNotRegisterTwiceWithTheSameShuffleService(t *testing.T) {
	shuffle := new(countingShuffle)
	s := suiteWith(t, func(c *Config) { c.Shuffle = shuffle }, "spark.shuffle.service.enabled", "true", "spark.executor.cores", "1")
	s.offer(offerOf("1", 2*execMem, 2))
	s.launched("o1")
	s.update("0", "s1", mesos.TASK_RUNNING)
	s.update("1", "s1", mesos.TASK_RUNNING)
	s.in("1", fsm.ExecutorRunning)
	eventually(t, "registration", func() bool { return shuffle.calls.Load() > 0 })
	s.Close()
	wantEqual(t, "registrations", shuffle.calls.Load(), 1)
}

func TestAShuffleServiceThatFailsIsToldAgain(t *testing.T) {
	shuffle := new(countingShuffle)
	shuffle.failing.Store(1)
	s := suiteWith(t, func(c *Config) { c.Shuffle = shuffle }, "spark.shuffle.service.enabled", "true")
	s.offer(offerOf("1", execMem, 2))
	s.launched("o1")
	s.update("0", "s1", mesos.TASK_RUNNING)
	eventually(t, "second registration", func() bool { return shuffle.calls.Load() == 2 })
}

func TestPorts(t *testing.T) {
	t.Run("Port offer decline when there is no appropriate range", func(t *testing.T) {
		s := newSuite(t, "spark.blockManager.port", "30100")
		s.offer(offerOf("1", execMem, 4, portsOf(31100, 31200)))
		wantEqual(t, "refusal", s.refused("o1"), unset)
		wantEqual(t, "count", s.Status().HeldBack[ReasonPorts], 1)
	})
	t.Run("Port offer accepted when ephemeral ports are used", func(t *testing.T) {
		s := newSuite(t)
		s.offer(offerOf("1", execMem, 4, portsOf(31100, 31200)))
		s.launched("o1")
	})
	t.Run("Port offer accepted with user defined port numbers", func(t *testing.T) {
		s := newSuite(t, "spark.blockManager.port", "30100", "spark.executor.cores", "1")
		s.offer(offerOf("1", 3*execMem, 4, portsOf(30000, 31000)))
		tasks := s.launched("o1")
		var ranges []mesos.Value_Range
		for _, r := range tasks[0].Resources {
			if r.Name == "ports" {
				ranges = append(ranges, r.Ranges.Range...)
			}
		}
		if len(tasks) != 1 || len(ranges) != 1 || ranges[0].Begin != 30100 || ranges[0].End != 30100 {
			t.Errorf("%d tasks, ports %v", len(tasks), ranges)
		}
	})
}

func TestMesosKillsAnExecutorWhenTold(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 4))
	s.launched("o1")
	s.do(s.KillExecutors(t.Context(), "0"))
	eventually(t, "KILL", func() bool {
		return s.calls(func(m *fakeMesos) int { return len(m.kills) }) > 0 && s.mesos.kills[0] == "0"
	})
}

func TestFrameworkSettings(t *testing.T) {
	t.Run("weburi is set in created scheduler driver", func(t *testing.T) {
		wantEqual(t, "URL", newSuite(t).mesos.framework.WebUIURL, "http://webui")
		wantEqual(t, "URL", newSuite(t, "spark.mesos.driver.webui.url", "http://other").mesos.framework.WebUIURL, "http://other")
	})
	t.Run("failover timeout is set in created scheduler driver", func(t *testing.T) {
		wantEqual(t, "timeout", newSuite(t, "spark.mesos.driver.failoverTimeout", "3600.0").mesos.framework.FailoverTimeout, time.Hour)
	})
	t.Run("the rest", func(t *testing.T) {
		f := newSuite(t, "spark.mesos.role", "eng", "spark.mesos.driver.frameworkId", "preset").mesos.framework
		if f.Name != "test-mesos-dynamic-alloc" || f.Hostname != "dhost" || f.ID != "preset" || len(f.Roles) != 1 || f.Roles[0] != "eng" || f.Checkpoint || f.GPUs {
			t.Errorf("%+v", f)
		}
	})
}

func TestContainers(t *testing.T) {
	container := func(t *testing.T, pairs ...string) *mesos.ContainerInfo {
		t.Helper()
		s := newSuite(t, pairs...)
		s.offer(offerOf("1", execMem, 4))
		return s.launched("o1")[0].Container
	}
	const image, containerizer = "spark.mesos.executor.docker.image", "spark.mesos.containerizer"
	t.Run("honors unset spark.mesos.containerizer", func(t *testing.T) {
		wantEqual(t, "type", *container(t, image, "test").Type, mesos.ContainerInfo_DOCKER)
	})
	t.Run("honors spark.mesos.containerizer=mesos", func(t *testing.T) {
		wantEqual(t, "type", *container(t, image, "test", containerizer, "mesos").Type, mesos.ContainerInfo_MESOS)
	})
	t.Run("docker settings are reflected in created tasks", func(t *testing.T) {
		c := container(t, image, "some_image", "spark.mesos.executor.docker.forcePullImage", "true",
			"spark.mesos.executor.docker.volumes", "/host_vol:/container_vol:ro", "spark.mesos.executor.docker.portmaps", "8080:80:tcp")
		p := c.Docker.PortMappings[0]
		if v := c.Volumes[0]; c.Docker.Image != "some_image" || !c.Docker.GetForcePullImage() || v.GetHostPath() != "/host_vol" || v.ContainerPath != "/container_vol" ||
			*v.Mode != mesos.RO || p.HostPort != 8080 || p.ContainerPort != 80 || p.GetProtocol() != "tcp" {
			t.Errorf("%v", c)
		}
	})
	t.Run("force-pull-image option is disabled by default", func(t *testing.T) {
		wantEqual(t, "force", container(t, image, "some_image").Docker.GetForcePullImage(), false)
	})
	t.Run("mesos supports spark.mesos.network.name and spark.mesos.network.labels", func(t *testing.T) {
		c := container(t, "spark.mesos.network.name", "test-network-name", "spark.mesos.network.labels", "key1:val1,key2:val2")
		n := c.NetworkInfos[0]
		if len(c.NetworkInfos) != 1 || n.GetName() != "test-network-name" || len(n.Labels.Labels) != 2 || n.Labels.Labels[1].Key != "key2" {
			t.Errorf("%v", c.NetworkInfos)
		}
	})
}

func TestFetching(t *testing.T) {
	task := func(t *testing.T, pairs ...string) mesos.TaskInfo {
		t.Helper()
		s := suiteWith(t, func(c *Config) { c.Context.SparkHome = "" }, append(pairs, "spark.executor.uri", "spark.spark.spark.com")...)
		s.offer(offerOf("1", execMem, 4))
		return s.launched("o1")[0]
	}
	t.Run("Do not call removeExecutor() after backend is stopped, nor need a home with spark.executor.uri", func(t *testing.T) {
		wantEqual(t, "URI", task(t).Command.URIs[0].Value, "spark.spark.spark.com")
	})
	t.Run("mesos supports setting fetcher cache", func(t *testing.T) {
		uris := task(t, "spark.mesos.fetcherCache.enable", "true").Command.URIs
		if len(uris) != 1 || !uris[0].GetCache() {
			t.Errorf("%v", uris)
		}
	})
	t.Run("mesos supports disabling fetcher cache", func(t *testing.T) {
		uris := task(t, "spark.mesos.fetcherCache.enable", "false").Command.URIs
		if len(uris) != 1 || uris[0].GetCache() {
			t.Errorf("%v", uris)
		}
	})
}

func TestMesosSetsTaskNameToSparkAppName(t *testing.T) {
	s := newSuite(t)
	s.offer(offerOf("1", execMem, 4))
	wantEqual(t, "name", s.launched("o1")[0].Name, "test-mesos-dynamic-alloc 0")
}

func TestMesosSetsConfigurableLabelsOnTasks(t *testing.T) {
	s := newSuite(t, "spark.mesos.task.labels", "mesos:test,label:test")
	s.offer(offerOf("1", execMem, 4))
	labels := s.launched("o1")[0].Labels.Labels
	if len(labels) != 2 || labels[0].Key != "mesos" || labels[0].GetValue() != "test" || labels[1].Key != "label" {
		t.Errorf("%v", labels)
	}
}

func TestSPARK28778HostnameOnlyWithoutANamedNetwork(t *testing.T) {
	for _, c := range []struct {
		conf []string
		want bool
	}{
		{nil, true}, {[]string{"spark.executor.uri", "hdfs:///test.tgz"}, true},
		{[]string{"spark.mesos.network.name", "n"}, false},
		{[]string{"spark.mesos.network.name", "n", "spark.executor.uri", "hdfs:///test.tgz"}, false},
	} {
		s := newSuite(t, c.conf...)
		s.offer(offerOf("1", execMem, 4))
		if line := commandOf(s.launched("o1")[0]); strings.Contains(line, "--hostname") != c.want {
			t.Errorf("%v: %s", c.conf, line)
		}
	}
}

func TestSupportsSparkSchedulerMinRegisteredResourcesRatio(t *testing.T) {
	s := newSuite(t, "spark.cores.max", "1", "spark.scheduler.minRegisteredResourcesRatio", "1.0")
	s.offer(offerOf("1", execMem, 1))
	s.launched("o1")
	wantEqual(t, "ready before", s.SufficientResourcesRegistered(), false)
	s.do(s.ExecutorRegistered("0", 1))
	wantEqual(t, "ready after", s.SufficientResourcesRegistered(), true)
	s.update("0", "s1", mesos.TASK_FAILED)
	eventually(t, "not ready again", func() bool { return !s.SufficientResourcesRegistered() })
}

func TestSupportsDataLocalityWithDynamicAllocation(t *testing.T) {
	var passed atomic.Int64 // of a clock that stands still otherwise
	began := time.Now()
	s := suiteWith(t, func(c *Config) {
		c.Clock = func() time.Time { return began.Add(time.Duration(passed.Load())) }
	}, "spark.dynamicAllocation.enabled", "true", "spark.locality.wait", "1s")
	waitOut := func() { passed.Add(int64(2 * time.Second)) }
	number := 0
	ask := func(n string) string {
		number++
		o := offerOf(n, execMem*2, 4)
		o.ID.Value = fmt.Sprintf("o%s-%d", n, number)
		s.offer(o)
		return o.ID.Value
	}
	hosts := map[string]int{"hosts10": 4, "hosts11": 4}
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Executors: 2, Hosts: hosts}))
	s.refused(ask("1"))
	s.refused(ask("2"))
	s.launched(ask("10"))
	waitOut()
	s.launched(ask("1"))
	hosts["hosts12"] = 1
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Executors: 3, Hosts: hosts}))
	s.refused(ask("3"))
	waitOut()
	hosts["hosts13"] = 1
	s.do(s.RequestTotalExecutors(t.Context(), Totals{Executors: 4, Hosts: hosts}))
	s.refused(ask("3"))
	s.launched(ask("13"))
	waitOut()
	s.launched(ask("2"))
}

func TestSecrets(t *testing.T) {
	const prefix = "spark.mesos.executor.secret."
	task := func(t *testing.T, pairs ...string) mesos.TaskInfo {
		t.Helper()
		s := newSuite(t, pairs...)
		s.offer(offerOf("1", execMem, 4))
		return s.launched("o1")[0]
	}
	secretVars := func(task mesos.TaskInfo) (out []mesos.Environment_Variable) {
		for _, v := range task.Command.Environment.Variables {
			if v.GetType() == mesos.Environment_Variable_SECRET {
				out = append(out, v)
			}
		}
		return out
	}
	t.Run("Creates an env-based reference secrets", func(t *testing.T) {
		v := secretVars(task(t, prefix+"names", "/path/to/secret,/anothersecret", prefix+"envkeys", "SECRET_ENV_KEY,PASSWORD"))
		if len(v) != 2 || v[0].Name != "SECRET_ENV_KEY" || v[0].Secret.Reference.Name != "/path/to/secret" || v[1].Secret.Reference.Name != "/anothersecret" {
			t.Errorf("%v", v)
		}
	})
	t.Run("Creates an env-based value secrets", func(t *testing.T) {
		v := secretVars(task(t, prefix+"values", "user,password", prefix+"envkeys", "USER,PASSWORD"))
		if len(v) != 2 || string(v[0].Secret.Value.Data) != "user" || string(v[1].Secret.Value.Data) != "password" {
			t.Errorf("%v", v)
		}
	})
	t.Run("Creates file-based reference secrets", func(t *testing.T) {
		v := task(t, prefix+"names", "/path/to/secret,/anothersecret", prefix+"filenames", "/topsecret,/mypassword").Container.Volumes
		if len(v) != 2 || v[0].ContainerPath != "/topsecret" || v[0].Source.Secret.Reference.Name != "/path/to/secret" || v[1].ContainerPath != "/mypassword" {
			t.Errorf("%v", v)
		}
	})
	t.Run("Creates a file-based value secrets", func(t *testing.T) {
		v := task(t, prefix+"values", "user,password", prefix+"filenames", "/whoami,/mypassword").Container.Volumes
		if len(v) != 2 || string(v[0].Source.Secret.Value.Data) != "user" || v[1].ContainerPath != "/mypassword" {
			t.Errorf("%v", v)
		}
	})
}
