package javaser_test

import (
	"fmt"
	"os"

	"github.com/ha-dispatcher/ha-dispatcher/internal/javaser"
)

func Example() {
	data, err := os.ReadFile("testdata/queued-3.5.1.bin") // of a dispatcher's ZooKeeper
	if err != nil {
		panic(err)
	}
	v, err := javaser.Decode(data, javaser.Limits{})
	if err != nil {
		panic(err)
	}
	driver := v.(*javaser.Object)
	id, _ := driver.Field("submissionId")
	conf, _ := driver.Field("conf")
	settings, _ := conf.(*javaser.Object).Field("settings")
	properties, err := javaser.StringMap(settings)
	if err != nil {
		panic(err)
	}
	fmt.Println(id, properties["spark.driver.memory"])
	// Output: driver-20261122141233-0009 512m
}
