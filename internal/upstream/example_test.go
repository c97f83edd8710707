package upstream_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Not run: it needs a Mesos and a ZooKeeper. internal/e2e takes such a
// dispatcher over.
func Example() {
	dir, err := os.MkdirTemp("", "upstream-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	d, err := upstream.Start(context.Background(), upstream.Options{
		Master: "127.0.0.1:5050", ZooKeeper: "127.0.0.1:2181", Dir: "/spark_mesos_dispatcher", WorkDir: dir,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("spark-submit --master mesos://" + d.URL())
	d.Stop() // its drivers run on
}

func TestADispatcherWithoutMesosIsNotTakenForStarted(t *testing.T) {
	d, err := upstream.Start(cancelled(t), upstream.Options{Master: "127.0.0.1:1", ZooKeeper: "127.0.0.1:1", Dir: "/d", WorkDir: t.TempDir()})
	if err == nil {
		d.Kill()
		t.Error("it counts as started")
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
