package backend

import (
	"errors"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

type fakeScheduler struct{ backend SchedulerBackend }

func (f *fakeScheduler) Initialize(b SchedulerBackend) { f.backend = b }
func (*fakeScheduler) ExecutorLost(_, _ string)        {}
func (*fakeScheduler) Error(string)                    {}

func manager() *MesosManager {
	state := fsm.New()
	return &MesosManager{
		Config: Config{State: state, Log: &soloLog{state: state}, Logger: testLogger()},
	}
}

func contextWith(pairs ...string) Context {
	return Context{AppName: "app", SparkHome: "/path", Conf: props(pairs...)}
}

// The cases of upstream's MesosClusterManagerSuite.
func TestMesosClusterManagerSuite(t *testing.T) {
	for _, c := range []struct {
		name, url, coarse, master string
		fine                      bool
	}{
		{"mesos fine-grained", "mesos://localhost:1234", "false", "localhost:1234", true},
		{"mesos coarse-grained", "mesos://localhost:1234", "true", "localhost:1234", false},
		{"mesos with zookeeper, fine-grained", "mesos://zk://localhost:1234,localhost:2345/mesos", "false", "zk://localhost:1234,localhost:2345/mesos", true},
		{"mesos with zookeeper", "mesos://zk://localhost:1234,localhost:2345/mesos", "", "zk://localhost:1234,localhost:2345/mesos", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pairs []string
			if c.coarse != "" {
				pairs = []string{"spark.mesos.coarse", c.coarse}
			}
			m := manager()
			b, err := m.CreateSchedulerBackend(contextWith(pairs...), c.url, new(fakeTasks))
			if err != nil {
				t.Fatal(err)
			}
			if fine, isFine := b.(*Fine); isFine != c.fine {
				t.Errorf("backend %T", b)
			} else if isFine && fine.cfg.Master != c.master {
				t.Errorf("master %s", fine.cfg.Master)
			}
			if coarse, isCoarse := b.(*Coarse); isCoarse && coarse.cfg.Master != c.master {
				t.Errorf("master %s", coarse.cfg.Master)
			}
		})
	}
	t.Run("mesos supports no I/O encryption", func(t *testing.T) {
		_, err := manager().CreateSchedulerBackend(contextWith("spark.io.encryption.enabled", "true"), "mesos", nil)
		if !errors.Is(err, ErrIOEncryption) {
			t.Errorf("%v", err)
		}
	})
}

func TestURLsOfTheClusterManager(t *testing.T) {
	m := manager()
	for url, want := range map[string]bool{
		"mesos": true, "mesos://h:5050": true, "mesosphere": true, "Mesos://h": false, "spark://h:7077": false, "local": false, "": false, "xmesos://h": false,
	} {
		if m.CanCreate(url) != want {
			t.Errorf("CanCreate(%q) is %v", url, !want)
		}
	}
	for _, url := range []string{"mesos", "mesos:/h:5050", "mesosx"} {
		if _, err := m.CreateSchedulerBackend(contextWith(), url, nil); !errors.Is(err, ErrNoMasterInURL) {
			t.Errorf("%q: %v", url, err)
		}
	}
	b, err := m.CreateSchedulerBackend(contextWith(), "mesosx://mesos://h:5050", nil)
	if err != nil || b.(*Coarse).cfg.Master != "h:5050" {
		t.Errorf("the first match is not taken: %v", err)
	}
	if _, err := m.CreateSchedulerBackend(contextWith("spark.mesos.coarse", "maybe"), "mesos://h", nil); err == nil {
		t.Error("a value that is no boolean is taken for one")
	}
	for _, ts := range []TaskScheduler{nil, noScheduler{}} {
		if _, err := m.CreateSchedulerBackend(contextWith("spark.mesos.coarse", "false"), "mesos://h", ts); !errors.Is(err, ErrNoFineScheduler) {
			t.Errorf("%v", err)
		}
	}
}

func TestManagersFindTheOneThatFits(t *testing.T) {
	var all Managers
	if _, err := all.For("mesos://h"); !errors.Is(err, ErrNoManager) {
		t.Errorf("%v", err)
	}
	m := manager()
	all.Register(m)
	if cm, err := all.For("mesos://h"); err != nil || cm != m {
		t.Errorf("%v", err)
	}
	if _, err := all.For("yarn"); !errors.Is(err, ErrNoManager) {
		t.Errorf("%v", err)
	}
	all.Register(manager())
	if _, err := all.For("mesos://h"); !errors.Is(err, ErrManyManagers) {
		t.Errorf("%v", err)
	}
}

func TestInitializeBindsTheTwo(t *testing.T) {
	m, ts := manager(), new(fakeScheduler)
	b, err := m.CreateSchedulerBackend(contextWith(), "mesos://h:5050", ts)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Initialize(ts, b); err != nil || ts.backend != b {
		t.Errorf("%v", err)
	}
	if m.Initialize(nil, b) == nil || m.Initialize(ts, nil) == nil {
		t.Error("nothing is bound to something")
	}
	if other, err := m.CreateTaskScheduler(contextWith(), "anything"); err != nil || other == nil {
		t.Errorf("%v", err)
	}
}

func TestLaterApplicationsOfAProcessGetFrameworkIDsOfTheirOwn(t *testing.T) {
	m := manager()
	id := func(pairs ...string) string {
		b, err := m.CreateSchedulerBackend(contextWith(pairs...), "mesos://h:5050", nil)
		if err != nil {
			t.Fatal(err)
		}
		return b.(*Coarse).settings.Framework.ID
	}
	const key = "spark.mesos.driver.frameworkId"
	got := []string{id(), id(key, "fw"), id(key, "fw"), id(), id(key, "fw")}
	if want := []string{"", "fw", "fw-0001", "", "fw-0002"}; len(got) != len(want) || got[1] != want[1] || got[2] != want[2] || got[3] != "" || got[4] != want[4] {
		t.Errorf("%q, want %q", got, want)
	}
}
