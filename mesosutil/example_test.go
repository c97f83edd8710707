package mesosutil_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/internal/localmesos"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// A scheduler that runs one command on Mesos and then leaves.
func ExampleDriver() {
	cluster, err := localmesos.Start(context.Background(), localmesos.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	framework, err := mesosutil.DriverFramework{Name: "example", FailoverTimeout: time.Hour}.Info()
	if err != nil {
		fmt.Println(err)
		return
	}
	driver, err := mesosutil.NewDriver(mesosutil.DriverConfig{
		Master:    "mesos://" + cluster.Addr(),
		Framework: framework,
		// Gate: verify here that this node still leads.
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- driver.Run(ctx) }()

	launched := false
	for event := range driver.Events() {
		var err error
		switch event := event.(type) {
		case mesosutil.EventSubscribed:
			fmt.Println("subscribed") // commit event.FrameworkID before using an offer
		case mesosutil.EventOffers:
			if launched {
				err = driver.Decline(ctx, []string{event.Offers[0].ID.Value}, time.Minute)
				break
			}
			launched = true
			err = launchHello(ctx, driver, event.Offers[0]) // commit the intent first
		case mesosutil.EventUpdate:
			status := event.Status
			fmt.Println(status.GetState()) // commit the status, then acknowledge it
			err = driver.Acknowledge(ctx, status.AgentID.GetValue(), status.TaskID.Value, status.UUID)
			if status.GetState() == mesos.TASK_FINISHED {
				err = errors.Join(err, driver.Teardown(ctx)) // ends Run, which closes Events
			}
		}
		if err != nil {
			fmt.Println(err)
			cancel()
		}
	}
	fmt.Println("Run returned", <-done)
	// Output:
	// subscribed
	// TASK_STARTING
	// TASK_RUNNING
	// TASK_FINISHED
	// Run returned <nil>
}

func launchHello(ctx context.Context, driver *mesosutil.Driver, offer mesos.Offer) error {
	command, scalar := "echo hello", mesos.SCALAR
	task := mesos.TaskInfo{
		Name: "hello", TaskID: mesos.TaskID{Value: "hello-1"}, AgentID: offer.AgentID,
		Command: &mesos.CommandInfo{Value: &command},
		Resources: []mesos.Resource{
			{Name: "cpus", Type: &scalar, Scalar: &mesos.Value_Scalar{Value: 0.1}, AllocationInfo: offer.AllocationInfo},
			{Name: "mem", Type: &scalar, Scalar: &mesos.Value_Scalar{Value: 32}, AllocationInfo: offer.AllocationInfo},
		},
	}
	return driver.Accept(ctx, []string{offer.ID.Value}, []mesos.TaskInfo{task}, time.Minute)
}

// Credentials come from the same places as Spark's.
func ExampleCredentialsFrom() {
	conf := map[string]string{"spark.mesos.principal": "spark", "spark.mesos.secret": "hush"}
	lookup := func(key string) (string, bool) { v, ok := conf[key]; return v, ok }
	none := func(string) (string, bool) { return "", false } // os.LookupEnv in earnest
	credentials, err := mesosutil.CredentialsFrom(lookup, none)
	fmt.Println(credentials, err)
	// Output: spark:[redacted] <nil>
}

func ExampleParseMaster() {
	for _, url := range []string{"mesos://m1:5050,m2", "mesos://zk://z1,z2:2182/mesos", "m1:http"} {
		master, err := mesosutil.ParseMaster(url)
		fmt.Println(master, err)
	}
	// Output:
	// m1:5050,m2:5050 <nil>
	// zk://z1:2181,z2:2182/mesos <nil>
	//  invalid mesos master: port "http" of "m1:http" is not a number from 1 to 65535
}
