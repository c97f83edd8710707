package mesosutil

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/realmesos"
)

// cluster is a Mesos that these stories run against.
type cluster struct {
	masters       string
	standby       string // a master that does not lead
	restartMaster func(t *testing.T)
}

// onEachMesos runs the story on every Mesos there is.
func onEachMesos(t *testing.T, story func(*testing.T, cluster)) {
	t.Run("local", func(t *testing.T) {
		m := startLocal(t, localmesos.Options{Standbys: []string{"127.0.0.1:0"}})
		story(t, cluster{masters: m.Addr(), standby: m.Addrs()[1], restartMaster: func(t *testing.T) {
			if err := m.FailoverMaster(t.Context()); err != nil {
				t.Fatal(err)
			}
		}})
	})
	t.Run("real", func(t *testing.T) { story(t, startReal(t, realmesos.Options{Separate: true, Standby: true})) })
}

func startLocal(t *testing.T, options localmesos.Options) *localmesos.Mesos {
	t.Helper()
	m, err := localmesos.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func startReal(t *testing.T, options realmesos.Options) cluster {
	t.Helper()
	realmesos.Require(t)
	m, err := realmesos.Start(context.Background(), options)
	fixture.Require(t, realmesos.Name, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	c := cluster{masters: m.Addr(), restartMaster: func(t *testing.T) {
		m.KillMaster()
		if err := m.RestartMaster(context.Background()); err != nil {
			t.Fatal(err)
		}
	}}
	if options.Standby {
		c.standby = strings.TrimPrefix(m.StandbyURL(), "http://")
	}
	return c
}

// onMesos starts a driver with a framework of its own, or with that of id.
func onMesos(t *testing.T, masters, id string, change func(*DriverConfig)) *running {
	t.Helper()
	return startDriver(t, masters, func(c *DriverConfig) {
		info, err := DriverFramework{User: "root", Name: t.Name(), ID: id, FailoverTimeout: time.Minute}.Info()
		if err != nil {
			t.Fatal(err)
		}
		c.Framework = info
		if change != nil {
			change(c)
		}
	})
}

// await receives events until one is a T that fits; offers met on the way are
// declined and updates acknowledged.
func await[T Event](d *running, fits func(T) bool) T {
	d.t.Helper()
	for {
		ev := receive(d.t, d.Events(), "an event")
		switch ev := ev.(type) {
		case EventUpdate:
			status := ev.Status
			if err := d.Acknowledge(bg, status.AgentID.GetValue(), status.TaskID.Value, status.UUID); err != nil && !subscriptionEnded(err) {
				d.t.Error(err)
			}
		case EventOffers:
			if _, wanted := Event(ev).(T); !wanted {
				for _, o := range ev.Offers {
					if err := d.Decline(bg, []string{o.ID.Value}, 0); err != nil && !subscriptionEnded(err) {
						d.t.Error(err)
					}
				}
			}
		}
		if got, ok := ev.(T); ok && (fits == nil || fits(got)) {
			return got
		}
	}
}

// subscriptionEnded tells that a call came too late, which happens to tests that
// break the subscription.
func subscriptionEnded(err error) bool {
	return errors.Is(err, ErrNotSubscribed) || errors.Is(err, ErrStaleStream) || errors.Is(err, ErrStaleOffer) ||
		errors.Is(err, ErrMasterGone) || errors.Is(err, ErrCallOutcomeUnknown)
}

func awaitState(d *running, taskID string, state mesos.TaskState) mesos.TaskStatus {
	d.t.Helper()
	return await(d, func(u EventUpdate) bool {
		if u.Status.TaskID.Value == taskID && u.Status.GetState() != state {
			d.t.Logf("%s is %v: %s", taskID, u.Status.GetState(), u.Status.GetMessage())
		}
		return u.Status.TaskID.Value == taskID && u.Status.GetState() == state
	}).Status
}

// launch starts a shell command on the next offer and returns its agent.
func launch(d *running, taskID, command string) (agentID string) {
	d.t.Helper()
	if err := d.Revive(bg); err != nil {
		d.t.Fatal(err)
	}
	offer := await[EventOffers](d, nil).Offers[0]
	scalar := func(name string, value float64) mesos.Resource {
		kind := mesos.SCALAR
		return mesos.Resource{Name: name, Type: &kind, Scalar: &mesos.Value_Scalar{Value: value}, AllocationInfo: offer.AllocationInfo}
	}
	task := mesos.TaskInfo{
		Name: taskID, TaskID: mesos.TaskID{Value: taskID}, AgentID: offer.AgentID,
		Resources: []mesos.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
		Command:   &mesos.CommandInfo{Value: &command},
	}
	if err := d.Accept(bg, []string{offer.ID.Value}, []mesos.TaskInfo{task}, 0); err != nil {
		d.t.Fatal(err)
	}
	return offer.AgentID.Value
}

func TestMesosRunsATaskAndKillsIt(t *testing.T) {
	for _, codec := range []DriverCodec{DriverCodecProtobuf, DriverCodecJSON} {
		t.Run(string(codec), func(t *testing.T) {
			onEachMesos(t, func(t *testing.T, c cluster) {
				d := onMesos(t, c.masters, "", func(cfg *DriverConfig) { cfg.Codec = codec })
				if sub := expect[EventSubscribed](d); sub.FrameworkID == "" || sub.Master == nil || sub.HeartbeatInterval < time.Second {
					t.Fatalf("%+v", sub)
				}
				launch(d, "short", "exit 0")
				if last := awaitState(d, "short", mesos.TASK_FINISHED); len(last.UUID) == 0 {
					t.Fatal("an update from the agent without UUID")
				}
				agent := launch(d, "long", "sleep 1000")
				awaitState(d, "long", mesos.TASK_RUNNING)

				for _, ask := range [][]DriverTask{nil, {{"long", agent}}} {
					if err := d.Reconcile(bg, ask); err != nil {
						t.Fatal(err)
					}
					answer := awaitState(d, "long", mesos.TASK_RUNNING)
					if answer.GetReason() != mesos.REASON_RECONCILIATION || len(answer.UUID) != 0 {
						t.Fatalf("answer to reconciliation: %v", answer)
					}
				}
				if err := d.Reconcile(bg, []DriverTask{{"never", agent}}); err != nil {
					t.Fatal(err)
				}
				awaitState(d, "never", mesos.TASK_GONE)

				grace := time.Second
				if err := d.Kill(bg, "long", agent, &grace); err != nil {
					t.Fatal(err)
				}
				awaitState(d, "long", mesos.TASK_KILLED)
				if err := d.Teardown(bg); err != nil {
					t.Fatal(err)
				}
				if err := d.end(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestMesosFencesTheOldLeader(t *testing.T) {
	onEachMesos(t, func(t *testing.T, c cluster) {
		old := onMesos(t, c.masters, "", nil)
		id := expect[EventSubscribed](old).FrameworkID
		agent := launch(old, "task", "sleep 1000")
		awaitState(old, "task", mesos.TASK_RUNNING)
		old.mu.Lock()
		fenced := old.current
		old.mu.Unlock()

		leader := onMesos(t, c.masters, id, nil)
		if got := await[EventSubscribed](leader, nil); got.FrameworkID != id {
			t.Fatalf("subscribed as %s, want %s", got.FrameworkID, id)
		}
		if err := old.end(); !errors.Is(err, ErrFailedOver) {
			t.Fatalf("the old leader's Run ended with %v", err)
		}
		// Even a call that left before the old leader knew.
		kill := &scheduler.Call{Type: scheduler.Call_KILL, FrameworkID: &mesos.FrameworkID{Value: id}, Kill: &scheduler.Call_Kill{TaskID: mesos.TaskID{Value: "task"}}}
		fenced.run = context.Background()
		if err := old.post(bg, fenced, kill); !errors.Is(err, ErrStaleStream) {
			t.Fatalf("a call on the old stream: %v", err)
		}
		if err := leader.Reconcile(bg, []DriverTask{{"task", agent}}); err != nil {
			t.Fatal(err)
		}
		awaitState(leader, "task", mesos.TASK_RUNNING)
		if err := leader.Teardown(bg); err != nil {
			t.Fatal(err)
		}
		if err := leader.end(); err != nil {
			t.Fatal(err)
		}
		late := onMesos(t, c.masters, id, nil)
		if err := late.end(); !errors.Is(err, ErrFrameworkRemoved) {
			t.Fatalf("subscribing with the id of a removed framework: %v", err)
		}
	})
}

// An offer that was made to the old leader is refused to it and of no use to
// the new one.
func TestMesosTakesOffersBackAtFailover(t *testing.T) {
	onEachMesos(t, func(t *testing.T, c cluster) {
		old := onMesos(t, c.masters, "", nil)
		id := expect[EventSubscribed](old).FrameworkID
		offer := expect[EventOffers](old).Offers[0].ID.Value
		leader := onMesos(t, c.masters, id, nil)
		expect[EventSubscribed](leader)
		if err := leader.Accept(bg, []string{offer}, taskNamed("n"), 0); !errors.Is(err, ErrStaleOffer) {
			t.Fatal(err)
		}
		if got := expect[EventOffers](leader).Offers[0].ID.Value; got == offer {
			t.Fatal("the same offer again")
		}
		if err := leader.Teardown(bg); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMesosMasterRestarts(t *testing.T) {
	onEachMesos(t, func(t *testing.T, c cluster) {
		d := onMesos(t, c.masters, "", nil)
		id := expect[EventSubscribed](d).FrameworkID
		agent := launch(d, "task", "sleep 1000")
		awaitState(d, "task", mesos.TASK_RUNNING)
		c.restartMaster(t)
		await[EventDisconnected](d, nil)
		if again := await[EventSubscribed](d, nil); again.FrameworkID != id || !again.Resubscribed {
			t.Fatalf("%+v", again)
		}
		// A new master answers for a task once its agent has come back.
		awaitAnswer(d, DriverTask{"task", agent}, mesos.TASK_RUNNING)
		if err := d.Teardown(bg); err != nil {
			t.Fatal(err)
		}
		if err := d.end(); err != nil {
			t.Fatal(err)
		}
	})
}

// awaitAnswer reconciles, again and again, until the task is in the state.
func awaitAnswer(d *running, task DriverTask, state mesos.TaskState) {
	d.t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			_ = d.Reconcile(bg, []DriverTask{task})
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	awaitState(d, task.TaskID, state)
	close(stop)
	<-stopped
}

func TestMesosStandbyRedirects(t *testing.T) {
	onEachMesos(t, func(t *testing.T, c cluster) {
		d := onMesos(t, c.standby, "", nil)
		_, port, _ := strings.Cut(c.masters, ":") // the host may have another name
		if got := expect[EventSubscribed](d).MasterURL; !strings.HasSuffix(got, ":"+port) {
			t.Fatalf("subscribed at %s, not at the leader %s", got, c.masters)
		}
		if err := d.Teardown(bg); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMesosRefusesABadFramework(t *testing.T) {
	onEachMesos(t, func(t *testing.T, c cluster) {
		d := onMesos(t, c.masters, "", func(cfg *DriverConfig) { cfg.Framework.Capabilities = nil }) // roles need MULTI_ROLE
		if err := d.end(); !errors.Is(err, ErrRefused) {
			t.Fatalf("Run ended with %v", err)
		}
	})
}

func TestMesosAuthenticates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte(`{"credentials":[{"principal":"spark","secret":"right"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("local", func(t *testing.T) {
		authenticates(t, startLocal(t, localmesos.Options{Credentials: map[string]string{"spark": "right"}}).Addr())
	})
	t.Run("real", func(t *testing.T) {
		authenticates(t, startReal(t, realmesos.Options{Separate: true, Env: []string{
			"MESOS_AUTHENTICATE_HTTP_FRAMEWORKS=true", "MESOS_HTTP_FRAMEWORK_AUTHENTICATORS=basic", "MESOS_CREDENTIALS=file://" + file}}).masters)
	})
}

func authenticates(t *testing.T, masters string) {
	t.Helper()
	for secret, want := range map[string]error{"right": nil, "wrong": ErrUnauthorized, "": ErrUnauthorized} {
		creds, err := NewCredentials("spark", secret)
		if err != nil {
			t.Fatal(err)
		}
		d := onMesos(t, masters, "", func(cfg *DriverConfig) { cfg.Credentials = creds })
		if want != nil {
			if err := d.end(); !errors.Is(err, want) {
				t.Errorf("secret %q: %v, want %v", secret, err, want)
			}
			continue
		}
		expect[EventSubscribed](d)
		if err := d.Teardown(bg); err != nil {
			t.Error(err)
		}
	}
}
