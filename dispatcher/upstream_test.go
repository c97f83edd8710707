package dispatcher_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// The cases of the suite that Spark's own dispatcher has to pass
// (MesosClusterSchedulerSuite of 3.x), by their names, from the submission to
// the task that Mesos gets.

type props = map[string]string

// suite is a dispatcher that is subscribed.
type suite struct {
	*stage
	m    *scriptedMesos
	skip atomic.Int64 // how far its clock is ahead
}

func newSuite(t *testing.T, conf props) *suite {
	s := &suite{}
	s.stage = newStage(t, func(c *dispatcher.Config) {
		all := props{"spark.master": "mesos://localhost:5050", "spark.home": "/opt/spark"}
		for k, v := range conf {
			all[k] = v
		}
		lc, err := launch.ParseDispatcherConf(sparkconf.New(all), "")
		if err != nil {
			t.Fatal(err)
		}
		c.Launch = lc
		c.Clock = func() time.Time { return time.Now().Add(time.Duration(s.skip.Load())) }
	})
	s.m = s.subscribed()
	return s
}

func (s *suite) submit(p props, args ...string) string {
	s.t.Helper()
	all := props{"spark.app.name": "d", "spark.driver.memory": "1000m", "spark.driver.cores": "1"}
	for k, v := range p {
		all[k] = v
	}
	r, err := s.svc.Submit(s.t.Context(), launch.Submission{AppResource: "jar", MainClass: "Main", Args: args, Properties: all}, dispatcher.Request{})
	if err != nil {
		s.t.Fatal(err)
	}
	return r.DriverID
}

// launch submits a driver, offers, and returns what Mesos was told to launch.
func (s *suite) launch(p props, offers ...mesos.Offer) call {
	s.t.Helper()
	s.submit(p)
	return s.offer(offers...)
}

func (s *suite) offer(offers ...mesos.Offer) call {
	s.t.Helper()
	if len(offers) == 0 {
		offers = []mesos.Offer{offer("o1", "s1", scalars(24, 24000)...)}
	}
	s.m.events <- mesosutil.EventOffers{Offers: offers}
	return s.want(s.m, "ACCEPT")
}

func (s *suite) counts(queued, launched, retrying, finished int) {
	s.t.Helper()
	want := fsm.Counts{Waiting: queued, Active: launched, Retrying: retrying, Finished: finished}
	s.until(fmt.Sprintf("%+v", want), func() bool { return s.state.Counts() == want })
}

func (s *suite) kill(id string) dispatcher.KillReceipt {
	s.t.Helper()
	r, err := s.svc.Kill(s.t.Context(), id, dispatcher.Request{})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *suite) queue() (ids []string) {
	s.state.View().Waiting(func(d *fsm.Driver) bool {
		ids = append(ids, d.ID)
		return true
	})
	return ids
}

func TestUpstreamQueue(t *testing.T) {
	t.Run("can queue drivers", func(t *testing.T) {
		s := newSuite(t, nil)
		s.offers(s.m, "o")
		s.want(s.m, "DECLINE") // Mesos keeps it back from now on
		first := s.submit(nil)
		s.want(s.m, "REVIVE")
		second := s.submit(nil)
		if diff := cmp.Diff([]string{first, second}, s.queue()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("can kill queued drivers", func(t *testing.T) {
		s := newSuite(t, nil)
		id := s.submit(nil)
		if r := s.kill(id); !r.Success {
			t.Errorf("%+v", r)
		}
		s.counts(0, 0, 0, 1) // upstream keeps no record of it
	})
	t.Run("a queue whose priority is no number is refused", func(t *testing.T) {
		_, err := launch.ParseDispatcherConf(sparkconf.New(props{"spark.master": "m:1", "spark.mesos.dispatcher.queue.ROUTINE": "abc"}), "")
		var invalid *launch.InvalidError
		if !errors.As(err, &invalid) || invalid.Key != "spark.mesos.dispatcher.queue.ROUTINE" {
			t.Error(err)
		}
	})
	queues := props{
		"spark.mesos.dispatcher.queue.ROUTINE": "1", "spark.mesos.dispatcher.queue.URGENT": "2",
		"spark.mesos.dispatcher.queue.EXCEPTIONAL": "3", "spark.mesos.dispatcher.queue.LOWER": "-1",
	}
	const queue = "spark.mesos.dispatcher.queue"
	t.Run("get driver priority", func(t *testing.T) {
		s := newSuite(t, queues)
		for _, c := range []struct {
			props props
			want  float64
		}{{nil, 0}, {props{queue: "default"}, 0}, {props{queue: "ROUTINE"}, 1}, {props{queue: "URGENT"}, 2}} {
			if d, _ := s.state.Driver(s.submit(c.props)); d.Priority != c.want {
				t.Errorf("%v: %v", c.props, d.Priority)
			}
		}
		_, err := s.svc.Submit(t.Context(), launch.Submission{AppResource: "jar", MainClass: "Main", Properties: props{queue: "dummy"}}, dispatcher.Request{})
		var invalid *launch.InvalidError
		if !errors.As(err, &invalid) || invalid.Key != queue {
			t.Error(err)
		}
	})
	t.Run("can queue drivers with priority", func(t *testing.T) {
		s := newSuite(t, queues)
		s0, s1 := s.submit(props{queue: "ROUTINE"}), s.submit(nil)
		s2, s3 := s.submit(props{queue: "EXCEPTIONAL"}), s.submit(props{queue: "URGENT"})
		if diff := cmp.Diff([]string{s2, s3, s0, s1}, s.queue()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("can queue drivers with negative priority", func(t *testing.T) {
		s := newSuite(t, queues)
		s0, s1 := s.submit(props{queue: "LOWER"}), s.submit(nil)
		if diff := cmp.Diff([]string{s1, s0}, s.queue()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUpstreamOffers(t *testing.T) {
	t.Run("can handle multiple roles", func(t *testing.T) {
		s := newSuite(t, nil)
		r := func(name, role string, v float64) mesos.Resource {
			return mesosutil.NewScalarResource(name, v, role, nil)
		}
		c := s.launch(props{"spark.driver.memory": "1200m", "spark.driver.cores": "1.5", "spark.mesos.driver.memoryOverhead": "0"},
			offer("o1", "s1", r("cpus", "*", 1), r("mem", "*", 1000), r("cpus", "role2", 1), r("mem", "role2", 500)))
		if len(c.tasks) != 1 || !cmp.Equal(c.used, []string{"o1"}) {
			t.Fatalf("%+v", c)
		}
		// Upstream takes them as they stand in the offer; here what is reserved for
		// a role goes first.
		want := []mesos.Resource{r("cpus", "role2", 1), r("cpus", "*", 0.5), r("mem", "role2", 500), r("mem", "*", 700)}
		if diff := cmp.Diff(want, c.tasks[0].Resources); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("supports spark.mesos.driver.constraints", func(t *testing.T) {
		s := newSuite(t, nil)
		text := func(name, v string) mesos.Attribute {
			return mesos.Attribute{Name: name, Type: mesos.TEXT, Text: &mesos.Value_Text{Value: v}}
		}
		three := func(round string) mesosutil.EventOffers {
			o := []mesos.Offer{offer("o1"+round, "s1", scalars(1, 4000)...), offer("o2"+round, "s2", scalars(1, 4000)...), offer("o3"+round, "s3", scalars(1, 4000)...)}
			o[1].Attributes = []mesos.Attribute{text("c1", "a")}
			o[2].Attributes = []mesos.Attribute{text("c1", "a"), text("c2", "b")}
			return mesosutil.EventOffers{Offers: o}
		}
		for i, c := range []struct{ constraints, agent string }{{"c1:x", ""}, {"c1:y;c2:z", ""}, {"", "s1"}, {"c1:a", "s2"}, {"c1:a;c2:b", "s3"}} {
			id := s.submit(props{"spark.mesos.driver.constraints": c.constraints})
			s.m.events <- three(fmt.Sprint("-", i))
			if c.agent == "" {
				if d := s.want(s.m, "DECLINE"); len(d.ids) != 3 {
					t.Errorf("%q: declined %q", c.constraints, d.ids)
				}
			} else if a := s.want(s.m, "ACCEPT"); a.agent != c.agent || a.ids[0] != id {
				t.Errorf("%q: %+v", c.constraints, a)
			}
		}
	})
	t.Run("declines offers that serve nobody", func(t *testing.T) {
		s := newSuite(t, nil)
		s.m.events <- mesosutil.EventOffers{Offers: []mesos.Offer{offer("o1", "s1", scalars(1, 1000)...)}}
		if c := s.want(s.m, "DECLINE"); !cmp.Equal(c.ids, []string{"o1"}) || c.refuse != 120*time.Second {
			t.Errorf("%+v", c)
		}
	})
}

func TestUpstreamSupervision(t *testing.T) {
	supervised := props{"spark.driver.supervise": "true"}
	t.Run("can kill supervised drivers", func(t *testing.T) {
		s := newSuite(t, nil)
		id := s.launch(supervised).ids[0]
		s.update(s.m, id, mesos.TASK_RUNNING, "u1")
		s.counts(0, 1, 0, 0)
		if r := s.kill(id); !r.Success {
			t.Errorf("%+v", r)
		}
		s.update(s.m, id, mesos.TASK_KILLED, "u2")
		s.counts(0, 0, 0, 1)
	})
	t.Run("SPARK-27347: do not restart outdated supervised drivers", func(t *testing.T) {
		s := newSuite(t, nil)
		id := s.launch(supervised).ids[0]
		s.update(s.m, id, mesos.TASK_RUNNING, "u1")
		s.in(id, fsm.DriverRunning)
		s.update(s.m, id, mesos.TASK_LOST, "u2")
		s.counts(0, 0, 1, 0)
		s.skip.Store(int64(1500 * time.Millisecond))
		again := s.offer(offer("o2", "s2", scalars(24, 24000)...))
		if again.ids[0] != id+"-retry-1" || again.agent != "s2" {
			t.Fatalf("%+v", again)
		}
		s.update(s.m, id, mesos.TASK_RUNNING, "u3") // the agent is back
		if c := s.want(s.m, "KILL"); c.ids[0] != id {
			t.Errorf("%+v", c)
		}
		s.update(s.m, id, mesos.TASK_FAILED, "u4")
		s.m.events <- mesosutil.EventOffers{Offers: []mesos.Offer{offer("o3", "s1", scalars(24, 24000)...)}}
		s.want(s.m, "DECLINE") // nobody waits for it
		s.counts(0, 1, 0, 0)
		if d, _ := s.state.Driver(id); d.Current().TaskID != id+"-retry-1" {
			t.Errorf("%+v", d.Current())
		}
	})
}

func memory(t mesos.TaskInfo) float64 { return mesosutil.ScalarSum(t.Resources, "mem") }

func TestUpstreamTasks(t *testing.T) {
	task := func(t *testing.T, conf, p props) mesos.TaskInfo {
		t.Helper()
		c := newSuite(t, conf).launch(p)
		if len(c.tasks) != 1 {
			t.Fatalf("%+v", c)
		}
		return c.tasks[0]
	}
	t.Run("SPARK-22256: supports spark.mesos.driver.memoryOverhead with 384mb default", func(t *testing.T) {
		if mem := memory(task(t, nil, nil)); mem != 1384 {
			t.Error(mem)
		}
	})
	t.Run("SPARK-22256: supports spark.mesos.driver.memoryOverhead with 10% default", func(t *testing.T) {
		if mem := memory(task(t, nil, props{"spark.driver.memory": "10000m"})); mem != 11000 {
			t.Error(mem)
		}
	})
	t.Run("supports spark.mesos.driverEnv.*", func(t *testing.T) {
		if v := environment(task(t, nil, props{"spark.mesos.driverEnv.TEST_ENV": "TEST_VAL"}))["TEST_ENV"]; v != "TEST_VAL" {
			t.Error(v)
		}
	})
	t.Run("supports spark.mesos.network.name and spark.mesos.network.labels", func(t *testing.T) {
		n := task(t, nil, props{"spark.mesos.network.name": "test-network-name", "spark.mesos.network.labels": "key1:val1,key2:val2"}).Container.NetworkInfos
		if len(n) != 1 || n[0].GetName() != "test-network-name" {
			t.Fatal(n)
		}
		wantLabels(t, n[0].Labels, "key1=val1 key2=val2 ")
	})
	for name, c := range map[string]struct {
		conf, submission props
		want             bool
	}{
		"supports setting fetcher cache":             {nil, props{"spark.mesos.fetcherCache.enable": "true"}, true},
		"supports setting fetcher cache (default)":   {props{"spark.mesos.fetcherCache.enable": "true"}, nil, true},
		"supports disabling fetcher cache":           {nil, props{"spark.mesos.fetcherCache.enable": "false"}, false},
		"fetcher cache of the submission goes first": {props{"spark.mesos.fetcherCache.enable": "true"}, props{"spark.mesos.fetcherCache.enable": "false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := props{"spark.mesos.uris": "http://h/a,http://h/b"}
			for k, v := range c.submission {
				p[k] = v
			}
			uris := task(t, c.conf, p).Command.URIs
			for _, u := range uris {
				if u.GetCache() != c.want {
					t.Errorf("%v", u)
				}
			}
			if len(uris) != 3 {
				t.Errorf("%v", uris)
			}
		})
	}
	t.Run("supports spark.mesos.driver.labels", func(t *testing.T) {
		wantLabels(t, task(t, nil, props{"spark.mesos.driver.labels": "key:value"}).Labels, "key=value ")
	})
}

func wantLabels(t *testing.T, l *mesos.Labels, want string) {
	t.Helper()
	got := ""
	for _, x := range l.GetLabels() {
		got += x.Key + "=" + x.GetValue() + " "
	}
	if got != want {
		t.Errorf("labels %q, want %q", got, want)
	}
}

func environment(t mesos.TaskInfo) props {
	out := props{}
	for _, v := range t.Command.Environment.Variables {
		out[v.Name] = v.GetValue()
	}
	return out
}
