package zkmigrate_test

import (
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/internal/zkmigrate"
)

func ExampleParseSource() {
	s, err := zkmigrate.ParseSource("zk://zk1:2181,zk2:2181/prod", zkmigrate.DefaultDir)
	fmt.Println(s.Servers, s.Dir, err)
	// Output: [zk1:2181 zk2:2181] /prod/spark_mesos_dispatcher <nil>
}
