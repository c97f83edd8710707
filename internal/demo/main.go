// Command demo shows the main job: three dispatcher nodes and a small Mesos on
// loopback take drivers, the leader is killed with SIGKILL while they run, and
// every driver ends in the process in which it began.
//
// It needs bin/ha-dispatcher. With a JDK 17 and pip it submits real Spark
// drivers with the real spark-submit; without, plain commands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/devcluster"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
)

const limit = 170 * time.Second // of the whole demo

func main() {
	binary := flag.String("binary", "bin/ha-dispatcher", "the program to show")
	noSpark := flag.Bool("no-spark", false, "use plain commands even where Spark could be had")
	keep := flag.Bool("keep", false, "keep the directory with logs and sandboxes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, *binary, *noSpark, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, noSpark, keep bool) (err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ha-dispatcher-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if keep || err != nil {
			fmt.Println("logs and sandboxes are in", dir)
			return
		}
		os.RemoveAll(dir)
	}()
	s := newStory(dir)
	spark := s.findSpark(ctx, noSpark)

	s.step("starting a small Mesos with 2 agents, and 3 dispatcher nodes")
	conf := []string{"spark.mesos.dispatcher.driverMaster=local[2]"}
	if spark != nil {
		conf = append(conf, "spark.mesos.executor.home="+spark.Home(), "spark.home="+spark.Home())
	}
	s.cluster, err = devcluster.Start(ctx, devcluster.Options{Binary: binary, DataDir: dir, Conf: conf})
	if err != nil {
		return err
	}
	defer s.cluster.Close()
	for _, n := range s.cluster.Info().Nodes {
		s.say("%s  pid %d  %s", n.ID, n.PID, n.REST)
	}
	if spark != nil {
		s.work = &sparkJobs{story: s, spark: spark}
	} else {
		s.work = &plainJobs{story: s}
	}
	return s.tell(ctx)
}

// findSpark is the real Spark, or nil after saying how to get it.
func (s *story) findSpark(ctx context.Context, not bool) *sparkfixture.Spark {
	if not {
		return nil
	}
	s.step("looking for Spark 3.5.1 (the first time it comes from PyPI, about 310 MB)")
	done := s.progress("still fetching and compiling")
	spark, err := sparkfixture.Find(ctx, sparkfixture.Version3)
	done()
	if err != nil {
		s.say("no real Spark here: %v", err)
		if !errors.Is(err, sparkfixture.ErrUnavailable) {
			s.say("that is unexpected")
		}
		s.say("for real Spark drivers install a JDK 17 (javac) and Python with pip, and run this again")
		s.say("going on with plain commands as drivers")
		return nil
	}
	s.say("Spark at %s", spark.Home())
	return spark
}
