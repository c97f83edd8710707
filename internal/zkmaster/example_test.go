package zkmaster_test

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmaster"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

func ExampleNew() {
	master, err := mesosutil.ParseMaster("mesos://zk://zk1,zk2,zk3/mesos")
	if err != nil {
		panic(err)
	}
	detector, err := zkmaster.New(master, zkmaster.Options{})
	if err != nil {
		panic(err)
	}
	config := mesosutil.DriverConfig{Detector: detector}
	fmt.Println(config.Detector != nil)
	// Output: true
}
