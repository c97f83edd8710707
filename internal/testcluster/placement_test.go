package testcluster_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// TestPlacementOnEveryKindOfResource: what Decide makes of offers is what Mesos
// accepts: reserved resources first, GPUs, ports, attributes of each type, and
// the offers of one agent together.
func TestPlacementOnEveryKindOfResource(t *testing.T) {
	c := testcluster.New(t, testcluster.Options{
		Memory: true,
		Conf:   map[string]string{"spark.mesos.role": "spark", "spark.mesos.gpus.max": "1"},
		Mesos: localmesos.Options{AgentOptions: []localmesos.AgentOptions{
			{Resources: "cpus(spark):1;mem(spark):64;cpus:4;mem:4096;ports:[31000-31009]", Attributes: "rack:a;level:1"},
			{Resources: "cpus:4;mem:4096;gpus:1;ports:[32000-32009,33000-33000]", Attributes: "rack:b;level:5;slots:[10-20]"},
		}},
	})
	leader := c.Ready()
	agents, tasks := c.Mesos.Agents(), record(c.Mesos)
	for name, tc := range map[string]struct {
		conf  map[string]string
		agent int
		want  map[string]float64 // by name(role)
		port  uint64
	}{
		"reserved resources first": {map[string]string{"spark.driver.cores": "1.5", "spark.driver.memory": "100m", "spark.mesos.driver.constraints": "rack:a"},
			0, map[string]float64{"cpus(spark)": 1, "cpus(*)": 0.5, "mem(spark)": 64, "mem(*)": 36}, 0},
		"a text attribute":          {map[string]string{"spark.mesos.driver.constraints": "rack:b,c"}, 1, nil, 0},
		"a scalar attribute":        {map[string]string{"spark.mesos.driver.constraints": "level:3"}, 1, nil, 0},
		"a range attribute":         {map[string]string{"spark.mesos.driver.constraints": "slots:5,15"}, 1, nil, 0},
		"an attribute of any value": {map[string]string{"spark.mesos.driver.constraints": "slots:"}, 1, nil, 0},
		"a GPU":                     {map[string]string{"spark.mesos.dispatcher.driver.gpus": "1"}, 1, map[string]float64{"gpus(*)": 1}, 0},
		"a port":                    {map[string]string{"spark.mesos.dispatcher.driver.ports": "33000"}, 1, nil, 33000},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			id := c.Submit(leader, testcluster.Submission{Key: key, Conf: tc.conf})
			d := c.In(id, fsm.DriverRunning)
			c.Runs(key, 1)
			if d.Current().AgentID != agents[tc.agent].ID {
				t.Errorf("runs on %s", d.Current().AgentID)
			}
			got, ports := tasks.used(id)
			for name, want := range tc.want {
				if got[name] != want {
					t.Errorf("uses %v, want %v of %s", got, want, name)
				}
			}
			if tc.port != 0 && (len(ports) != 1 || ports[0] != mesos.Value_Range{Begin: tc.port, End: tc.port}) {
				t.Errorf("ports %v", ports)
			}
			c.Kill(leader, id)
			c.In(id, fsm.DriverKilled)
		})
	}
	c.Consistent()
}

// tasksOf records what a Mesos is told to launch.
type tasksOf struct {
	mu   sync.Mutex
	byID map[string]mesos.TaskInfo
}

func record(m *localmesos.Mesos) *tasksOf {
	r := &tasksOf{byID: make(map[string]mesos.TaskInfo)}
	m.SetFaults(localmesos.Faults{Call: func(call *scheduler.Call) localmesos.Action {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range call.GetAccept().GetOperations() {
			for _, task := range call.Accept.Operations[i].GetLaunch().GetTaskInfos() {
				r.byID[task.TaskID.Value] = task
			}
		}
		return localmesos.Pass
	}})
	return r
}

// used are the scalar resources of a task by name(role), and its ports.
func (r *tasksOf) used(task string) (map[string]float64, []mesos.Value_Range) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rs := r.byID[task].Resources
	out := make(map[string]float64)
	for i := range rs {
		if rs[i].Scalar != nil {
			out[rs[i].Name+"("+mesosutil.ResourceRole(&rs[i])+")"] += rs[i].Scalar.Value
		}
	}
	return out, mesosutil.RangeValues(rs, mesosutil.PortsResource)
}

// TestMasterFailoverInMidLaunch: the master goes between the committed intent and
// its ACCEPT, and between the ACCEPT and the first status.
func TestMasterFailoverInMidLaunch(t *testing.T) {
	for name, fail := range map[string]func(*testcluster.T, *testcluster.Node) string{
		"before the ACCEPT": func(c *testcluster.T, leader *testcluster.Node) string {
			trap := c.Arm(dispatcher.FailIntentCommitted, testcluster.HoldThere)
			id := c.Submit(leader, testcluster.Submission{Key: "d"})
			c.Snap(trap)
			c.Do(c.Mesos.FailoverMaster(c.Ctx()))
			trap.Release()
			return id
		},
		"with the ACCEPT": func(c *testcluster.T, leader *testcluster.Node) string {
			c.Mesos.SetFaults(first(1, scheduler.Call_ACCEPT, localmesos.Drop))
			id := c.Submit(leader, testcluster.Submission{Key: "d"})
			c.In(id, fsm.DriverLaunching)
			c.Do(c.Mesos.FailoverMaster(c.Ctx()))
			return id
		},
		"after the ACCEPT": func(c *testcluster.T, leader *testcluster.Node) string {
			trap := c.Arm(dispatcher.FailAccepted, testcluster.HoldThere)
			id := c.Submit(leader, testcluster.Submission{Key: "d"})
			c.Snap(trap)
			c.Do(c.Mesos.FailoverMaster(c.Ctx()))
			trap.Release()
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testcluster.New(t, testcluster.Options{Memory: true})
			id := fail(c, c.Ready())
			c.In(id, fsm.DriverRunning)
			c.Runs("d", 1)
			c.End("d", 0)
			if d := c.In(id, fsm.DriverFinished); startedAttempts(d) != 1 {
				t.Errorf("%s", attempts(d))
			}
			c.Consistent()
		})
	}
}

// TestAgentGoneForGood: an agent that is removed takes its drivers along.
func TestAgentGoneForGood(t *testing.T) {
	for _, policy := range []string{"relaunch", "wait"} {
		t.Run(policy, func(t *testing.T) {
			c := testcluster.New(t, testcluster.Options{
				Memory: true, Conf: map[string]string{"spark.mesos.dispatcher.unreachable": policy}, Mesos: localmesos.Options{Agents: 3},
			})
			leader := c.Ready()
			plain := c.Submit(leader, testcluster.Submission{Key: "plain"})
			supervised := c.Submit(leader, testcluster.Submission{Key: "supervised", Supervise: true})
			c.Runs("plain", 1)
			c.Runs("supervised", 1)
			gone := map[string]bool{
				c.In(plain, fsm.DriverRunning).Current().AgentID: true, c.In(supervised, fsm.DriverRunning).Current().AgentID: true,
			}
			if len(gone) == len(c.Mesos.Agents()) {
				t.Fatal("no agent would be left")
			}
			for agent := range gone {
				c.Do(c.Mesos.RemoveAgent(agent))
			}
			c.In(plain, fsm.DriverLost)
			c.Runs("supervised", 2)
			d := c.Driver(supervised, func(d *fsm.Driver) bool { return d.State == fsm.DriverRunning && len(d.Attempts) == 2 })
			if gone[d.Current().AgentID] {
				t.Errorf("%+v", d.Current())
			}
			c.Same()
		})
	}
}

// TestKillGracePeriod: a driver has the time that it asked for between SIGTERM
// and SIGKILL, which is 1 s in this Mesos unless asked for.
func TestKillGracePeriod(t *testing.T) {
	for name, tc := range map[string]struct {
		grace  string
		rounds int    // of 20 ms that the driver takes to clean up
		killed string // what the status says
	}{
		"long enough": {"60s", 100, "Command exited with status 7"},
		"too short":   {"50ms", 3000, "Command terminated with signal Killed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := testcluster.New(t, testcluster.Options{Memory: true})
			leader := c.Ready()
			ready := t.TempDir() + "/ready"
			id := c.Submit(leader, testcluster.Submission{
				Key: "d", Conf: map[string]string{"spark.mesos.dispatcher.driver.killGracePeriod": tc.grace},
				Command: fmt.Sprintf("trap 'n=0; while [ $n -lt %d ]; do sleep 0.02; n=$((n+1)); done; exit 7' TERM; "+
					"echo > %s; while :; do sleep 0.02; done", tc.rounds, ready),
			})
			c.Until("the trap", func() bool {
				_, err := os.Stat(ready)
				return err == nil
			})
			c.Kill(leader, id)
			if st := c.In(id, fsm.DriverKilled).LastStatus(); st.Message != tc.killed {
				t.Errorf("%s", st.Message)
			}
		})
	}
}
