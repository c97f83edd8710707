package launch_test

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

func Example() {
	conf, _ := launch.ParseDispatcherConf(sparkconf.New(map[string]string{
		"spark.master": "mesos://master:5050",
		"spark.home":   "/opt/spark",
	}), "")
	driver, _, err := launch.Describe(conf, launch.Submission{
		AppResource: "http://repo/app.jar",
		MainClass:   "org.example.App",
		Args:        []string{"10"},
		Properties:  map[string]string{"spark.app.name": "example", "spark.driver.memory": "2g"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	need, _ := driver.Requirements()
	fmt.Println(need.CPUs, "cpus", need.MemMiB, "MiB")

	offer := []mesos.Resource{
		mesosutil.NewScalarResource("cpus", 4, "", nil),
		mesosutil.NewScalarResource("mem", 8192, "", nil),
	}
	_, used, _ := need.Carve(offer, mesosutil.OfferOrder)
	task, _ := launch.Task(conf, driver, launch.Placement{
		TaskID:      launch.TaskID("driver-1", 0),
		AgentID:     "agent",
		FrameworkID: launch.DriverFrameworkID("fw", "driver-1", 0),
		Resources:   used,
	})
	fmt.Println(task.Command.GetValue())

	_, _, err = launch.Describe(conf, launch.Submission{
		AppResource: "http://repo/app.jar",
		Properties:  map[string]string{"spark.app.name": "example", "spark.driver.cores": "-1"},
	})
	fmt.Println(err)
	// Output:
	// 1 cpus 2432 MiB
	// /opt/spark/./bin/spark-submit --name example --master mesos://master:5050 --driver-cores 1 --driver-memory 2048M --class org.example.App --conf spark.app.name=example --conf spark.driver.memory=2g ./app.jar 10
	// spark.driver.cores: expected a number from 0.01 to 1048576 (got "-1")
}
