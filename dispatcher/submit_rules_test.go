package dispatcher_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// configured is a stage whose dispatcher has these properties, and is subscribed.
func configured(t *testing.T, props map[string]string) (*stage, *scriptedMesos) {
	t.Helper()
	conf := sparkconf.New(props).With(map[string]string{"spark.master": "127.0.0.1:5050"})
	read, err := dispatcher.ConfigOf(conf)
	if err != nil {
		t.Fatal(err)
	}
	launchConf, err := launch.ParseDispatcherConf(conf, "")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *dispatcher.Config) {
		c.Policy, c.Launch, c.RejectOffer = read.Policy, launchConf, read.RejectOffer
	})
	return s, s.subscribed()
}

func (s *stage) try(conf map[string]string) error {
	props := map[string]string{"spark.app.name": "d", "spark.mesos.dispatcher.command": "true", "spark.driver.memory": "100m"}
	for k, v := range conf {
		props[k] = v
	}
	_, err := s.svc.Submit(s.t.Context(), launch.Submission{Properties: props}, dispatcher.Request{})
	return err
}

func (s *stage) queued() (ids []string) {
	s.t.Helper()
	s.state.View().Waiting(func(d *fsm.Driver) bool {
		ids = append(ids, d.ID)
		return true
	})
	return ids
}

const queueKey = "spark.mesos.dispatcher.queue"

// Upstream's cases of SPARK-23499, with the queues of the properties.
func TestQueueRules(t *testing.T) {
	t.Run("higher priority first", func(t *testing.T) {
		s, _ := configured(t, map[string]string{queueKey + ".ROUTINE": "1", queueKey + ".URGENT": "2.0f", queueKey + ".EXCEPTIONAL": "3e0"})
		s0 := s.submit(map[string]string{queueKey: "ROUTINE"})
		s1 := s.submit(nil)
		s2 := s.submit(map[string]string{queueKey: "EXCEPTIONAL"})
		s3 := s.submit(map[string]string{queueKey: "URGENT"})
		s4 := s.submit(map[string]string{queueKey: "default"})
		if diff := cmp.Diff([]string{s2, s3, s0, s1, s4}, s.queued()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a negative priority goes behind the default queue", func(t *testing.T) {
		s, _ := configured(t, map[string]string{queueKey + ".LOWER": "-1"})
		s0 := s.submit(map[string]string{queueKey: "LOWER"})
		s1 := s.submit(nil)
		if diff := cmp.Diff([]string{s1, s0}, s.queued()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("equal priority in the order of submission, none lost in one millisecond", func(t *testing.T) {
		at := time.Now()
		s := newStage(t, func(c *dispatcher.Config) { c.Clock = func() time.Time { return at } })
		s.subscribed()
		var want []string
		for range 50 {
			want = append(want, s.submit(nil))
		}
		if diff := cmp.Diff(want, s.queued()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an unknown queue is refused and harms nobody", func(t *testing.T) {
		s, _ := configured(t, map[string]string{queueKey + ".A": "1"})
		var invalid *launch.InvalidError
		if err := s.try(map[string]string{queueKey: "dummy"}); !errors.As(err, &invalid) || invalid.Key != queueKey || invalid.Value != "dummy" {
			t.Error(err)
		}
		id := s.submit(map[string]string{queueKey: "A"})
		if diff := cmp.Diff([]string{id}, s.queued()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a priority that is no number is refused at the start", func(t *testing.T) {
		for _, key := range []string{queueKey + ".A", queueKey + ".default", queueKey + "."} {
			_, err := launch.ParseDispatcherConf(sparkconf.New(map[string]string{"spark.master": "m:1", key: "abc"}), "")
			var invalid *launch.InvalidError
			if !errors.As(err, &invalid) || invalid.Key != key {
				t.Error(err)
			}
		}
	})
}

func TestSubmitRules(t *testing.T) {
	refusedAsFull := func(t *testing.T, err error) {
		t.Helper()
		var refused *fsm.RefusedError
		if !errors.As(err, &refused) || refused.Code != fsm.CodeQueueFull || refused.Message != "Already reached maximum submission size" {
			t.Error(err)
		}
	}
	t.Run("refused at maxDrivers with Spark's words", func(t *testing.T) {
		s, _ := configured(t, map[string]string{"spark.mesos.maxDrivers": "2"})
		s.submit(nil)
		s.submit(nil)
		refusedAsFull(t, s.try(nil))
	})
	t.Run("launched drivers counted as Spark does", func(t *testing.T) {
		s, m := configured(t, map[string]string{"spark.mesos.maxDrivers": "1", "spark.mesos.dispatcher.maxDrivers.countLaunched": "true"})
		first, second := s.submit(nil), s.submit(map[string]string{"spark.driver.cores": "64"})
		s.offers(m, "o1")
		s.in(first, fsm.DriverLaunching)
		refusedAsFull(t, s.try(nil))
		s.update(m, first, mesos.TASK_RUNNING, "1")
		s.update(m, first, mesos.TASK_FINISHED, "2")
		s.in(first, fsm.DriverFinished)
		s.submit(nil) // however many wait
		s.in(second, fsm.DriverQueued)
	})
	t.Run("ids of the local time and a counter of at least four digits", func(t *testing.T) {
		at := time.Date(2024, 1, 31, 12, 0, 0, 0, time.UTC)
		s := newStage(t, func(c *dispatcher.Config) {
			c.Clock, c.Location = func() time.Time { return at }, time.FixedZone("east", 3600)
		})
		s.subscribed()
		for n := 1; n <= 3; n++ {
			if id, want := s.submit(nil), fmt.Sprintf("driver-20240131130000-%04d", n); id != want {
				t.Errorf("%s, want %s", id, want)
			}
		}
		if err := s.try(map[string]string{"spark.driver.cores": "-1"}); err == nil {
			t.Error("accepted")
		}
		if id := s.submit(nil); !strings.HasSuffix(id, "-0004") {
			t.Errorf("%s: a refused submission has taken a number", id)
		}
	})
	t.Run("unused offers are declined for the configured time", func(t *testing.T) {
		s, m := configured(t, map[string]string{"spark.mesos.rejectOfferDuration": "7"})
		s.submit(map[string]string{"spark.driver.cores": "64"})
		s.offers(m, "o1")
		if c := s.want(m, "DECLINE"); c.refuse != 7*time.Second {
			t.Errorf("%v", c.refuse)
		}
	})
}

// What is kept of a submission is all of it, and what Spark derives from it.
func TestDescriptionRules(t *testing.T) {
	s, _ := configured(t, map[string]string{"spark.home": "/opt/spark"})
	r, err := s.svc.Submit(t.Context(), launch.Submission{
		AppResource: "http://h/app.jar", MainClass: "Main", Args: []string{"a", ""}, ClientSparkVersion: "3.5.1",
		Environment: map[string]string{"SPARK_X": "1"},
		Properties: map[string]string{
			"spark.app.name": "n", "spark.driver.memory": "2000M", "spark.driver.cores": "1.5", "spark.driver.supervise": "TRUE",
			"spark.driver.extraClassPath": "/a:/b", "spark.driver.extraLibraryPath": "/l:/m",
			"spark.driver.defaultJavaOptions": "-Dd=1", "spark.driver.extraJavaOptions": `-De="x y"`,
		},
	}, dispatcher.Request{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.svc.Driver(t.Context(), r.DriverID, dispatcher.Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.svc.Description(d)
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "n" || d.MainClass != "Main" || d.Cores != 1.5 || d.MemMiB != 2384 || !d.Supervise || d.Queue != "default" || d.User != "ann" || d.SubmittedMs == 0 {
		t.Errorf("%+v", d)
	}
	if got.AppResource != "http://h/app.jar" || !cmp.Equal(got.Args, []string{"a", ""}) || got.MemoryMiB != 2000 || got.OverheadMiB != 384 ||
		!cmp.Equal(got.Environment, []launch.KV{{Key: "SPARK_X", Value: "1"}}) || len(got.Properties) != 8 {
		t.Errorf("%+v", got)
	}
	if !cmp.Equal(got.ClassPath(), []string{"/a", "/b"}) || !cmp.Equal(got.LibraryPath(), []string{"/l", "/m"}) {
		t.Error(got.ClassPath(), got.LibraryPath())
	}
	options := got.JavaOptions()
	if n := len(options); n != 10 || !cmp.Equal(options[n-2:], []string{"-Dd=1", "-De=x y"}) || options[0] != "-Dspark.app.name=n" {
		t.Errorf("%q", options)
	}
}
