package backend

import (
	"fmt"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"pgregory.net/rapid"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Whatever is offered and whatever the scheduler answers: nothing is used that was
// not offered, each offer is either used or declined, and ids ascend.
func TestEveryPlanOfTasksUsesOnlyWhatIsOffered(t *testing.T) {
	set := fineSettings(t, Context{SparkHome: "/p"}, "spark.executor.memory", "512m", "spark.task.cpus", "2", "spark.mesos.mesosExecutor.cores", "0.5")
	rapid.Check(t, func(t *rapid.T) {
		amount := func(label string, limit float64) float64 { return rapid.Float64Range(0, limit).Draw(t, label) }
		a := &fsm.App{NextNumber: 5, AgentExecutors: []*fsm.AgentExecutor{{AgentId: "s0", First: 1}}}
		var offers []mesos.Offer
		for i := range rapid.IntRange(0, 6).Draw(t, "offers") {
			o := offerOf(fmt.Sprint(i%4), amount("mem", 3000), amount("cpus", 6), mesosutil.NewScalarResource("cpus", amount("more", 3), "role", nil))
			o.ID.Value = fmt.Sprint("o", i)
			offers = append(offers, o)
		}
		p := sortOffers(a, set, offers, time.UnixMilli(1e12), func(agent string) bool { return agent == "s3" })
		given := p.workerOffers(set)
		var tasks []TaskDescription
		for range rapid.IntRange(0, 12).Draw(t, "tasks") {
			tasks = append(tasks, TaskDescription{
				ID:         rapid.Int64Range(-1, 20).Draw(t, "id"),
				ExecutorID: fmt.Sprint("s", rapid.IntRange(0, 4).Draw(t, "agent")),
				CPUs:       rapid.SampledFrom([]float64{0, 0, 0.3, 1, 2.5, -1}).Draw(t, "cpus"),
			})
		}
		refused := p.assign(set, tasks, a.NextNumber)
		ids, placed, met := make(map[int64]bool), 0, len(p.declines)
		for i, g := range p.usable {
			met += len(g.offers)
			var all, used []mesos.Resource
			for _, o := range g.offers {
				all = append(all, o.Resources...)
			}
			used = append(used, g.started...)
			for n, task := range g.tasks {
				placed++
				if ids[task.ID] || task.ID < 5 || n > 0 && task.ID <= g.tasks[n-1].ID {
					t.Fatalf("ids of %+v", g.tasks)
				}
				ids[task.ID] = true
				used = append(used, task.resources...)
				if got := mesosutil.ScalarSum(task.resources, "cpus"); got != task.CPUs {
					t.Fatalf("task %+v has %g cpus", task.TaskDescription, got)
				}
			}
			for _, name := range []string{"cpus", "mem"} {
				if was, now := mesosutil.ScalarSum(all, name), mesosutil.ScalarSum(used, name)+mesosutil.ScalarSum(g.left, name); was-now > 1e-6 || now-was > 1e-6 {
					t.Fatalf("%s of %s were %g, are %g", name, g.agentID, was, now)
				}
			}
			if starts := g.executor == nil && len(g.tasks) > 0; starts != (mesosutil.ScalarSum(g.started, "mem") == float64(set.MemoryMiB)) {
				t.Fatalf("%+v", g)
			}
			if g.agentID == "s3" || given[i].Cores < 2 {
				t.Fatalf("%+v is offered", given[i])
			}
		}
		if placed+len(refused) != len(tasks) || met != len(offers) {
			t.Fatalf("%d placed and %d refused of %d tasks; %d of %d offers", placed, len(refused), len(tasks), met, len(offers))
		}
	})
}
