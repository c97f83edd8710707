package launch

import (
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

func benchSubmission() Submission {
	return Submission{AppResource: "http://h/app.jar", MainClass: "org.example.App", Args: []string{"10", "two words"},
		Environment: props{"SPARK_SCALA_VERSION": "2.12"},
		Properties: props{"spark.app.name": "bench", "spark.driver.memory": "2g", "spark.driver.cores": "2", "spark.executor.memory": "2g",
			"spark.cores.max": "8", "spark.master.rest.enabled": "true", "spark.submit.pyFiles": "", "spark.app.submitTime": "1795346564034"}}
}

// BenchmarkDescribe bounds what checking adds to one submission.
func BenchmarkDescribe(b *testing.B) {
	c, err := ParseDispatcherConf(sparkconf.New(props{"spark.master": "m:1", "spark.home": "/s"}), "")
	if err != nil {
		b.Fatal(err)
	}
	s := benchSubmission()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Describe(c, s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRequirements bounds what one waiting driver costs the scheduler.
func BenchmarkRequirements(b *testing.B) {
	d := &Description{Cores: 1, MemoryMiB: 1024, OverheadMiB: 384}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Requirements(); err != nil {
			b.Fatal(err)
		}
	}
}
