package sparkconf_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func Example() {
	properties, _ := sparkconf.ParseProperties(strings.NewReader(`
# defaults of this cluster
spark.mesos.rejectOfferDuration  30s
spark.driver.memory = 2g
spark.mesos.coarse = maybe
`))
	conf := sparkconf.New(properties)
	refuse, _ := conf.Time("spark.mesos.rejectOfferDuration", time.Second, 120*time.Second)
	memory, _ := conf.Memory("spark.driver.memory", 1<<30)
	fmt.Println(refuse, sparkconf.MiB(memory), "MiB")
	for _, wrong := range sparkconf.Check(conf, sparkconf.Application|sparkconf.Dispatcher).Wrong {
		fmt.Println(wrong)
	}
	// Output:
	// 30s 2048 MiB
	// property spark.mesos.coarse has the value "maybe"; expected "true" or "false"
}
