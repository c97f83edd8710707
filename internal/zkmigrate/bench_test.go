package zkmigrate

import (
	"fmt"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/testcluster"
)

// BenchmarkImport imports 5,000 queued drivers into three nodes, with a log entry
// for each, and with as many to an entry as are allowed, one after the other.
func BenchmarkImport(b *testing.B) {
	const drivers = 5000
	all := make([]dispatcher.ImportedDriver, drivers)
	for i := range all {
		all[i] = dispatcher.ImportedDriver{
			ID: fmt.Sprintf("driver-20261122141233-%05d", i), State: fsm.DriverQueued,
			Submission: launch.Submission{Properties: map[string]string{
				"spark.app.name": "job", "spark.mesos.dispatcher.command": "true", "spark.driver.memory": "512m", "spark.eventLog.enabled": "true",
			}},
		}
	}
	took := make(map[int]time.Duration)
	for b.Loop() {
		for _, batch := range []int{1, drivers} {
			c := testcluster.New(b, testcluster.Options{Conf: map[string]string{"spark.mesos.dispatcher.awaitMigration": "true"}})
			leader, err := c.WaitLeader(b.Context())
			c.Do(err)
			began := time.Now()
			for i := 0; i < drivers; i += batch {
				out, err := leader.Inside().Service().Import(b.Context(), "fw", all[i:i+batch], false)
				c.Do(err)
				if out[0].Err != nil || out[0].Known {
					b.Fatalf("%+v", out[0])
				}
			}
			took[batch] += time.Since(began)
		}
	}
	for batch, name := range map[int]string{1: "single", drivers: "batched"} {
		b.ReportMetric(float64(drivers*b.N)/took[batch].Seconds(), name+"-drivers/s")
	}
	b.ReportMetric(float64(took[1])/float64(took[drivers]), "times-faster")
}
