// Command coarse runs one node of a coarse-grained backend that survives the
// loss of any node. Start it three times:
//
//	P=n1=127.0.0.1:7201,n2=127.0.0.1:7202,n3=127.0.0.1:7203
//	coarse -id n1 -data /tmp/n1 -peers $P -master 127.0.0.1:5050 -spark-home /opt/spark -driver 10.0.0.1:34041
//
// and likewise n2 and n3. Then type, to any of them:
//
//	scale 4     so many executors are wanted
//	kill 0 2    end these
//	status      what there is
//	stop        end the application, on all nodes
//
// The end of the input, or of the process, ends this node alone.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "coarse:", err)
		os.Exit(1)
	}
}

type flags struct {
	id, data, peers, master, name, home, driver, command string
	verbose                                              bool
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var f flags
	set := flag.NewFlagSet("coarse", flag.ContinueOnError)
	set.StringVar(&f.id, "id", "", "this node")
	set.StringVar(&f.data, "data", "", "directory of this node's log")
	set.StringVar(&f.peers, "peers", "", "all nodes, as id=host:port,…")
	set.StringVar(&f.master, "master", "", "Mesos master")
	set.StringVar(&f.name, "name", "example", "name of the application")
	set.StringVar(&f.home, "spark-home", "/opt/spark", "Spark on the agents")
	set.StringVar(&f.driver, "driver", "127.0.0.1:7078", "host:port of the Spark driver")
	set.StringVar(&f.command, "command", "", "run this in place of Spark's executor; $ID is its id")
	set.BoolVar(&f.verbose, "v", false, "log to standard error")
	if err := set.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if f.verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	peers, err := parsePeers(f.peers)
	if err != nil {
		return err
	}

	// The replicated state, and the log that changes it.
	state := fsm.New()
	store, err := raftstore.Open(ctx, raftstore.Config{NodeID: f.id, DataDir: f.data, Peers: peers, Logger: log}, backend.Machine{State: state})
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = store.Close(bounded) // hands leadership over
	}()

	// The application, on top of both.
	app, err := f.application(state, store, log)
	if err != nil {
		return err
	}
	defer app.Close()
	if err := app.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "started", app.ApplicationID())
	return serve(ctx, app, in, out)
}

func (f *flags) application(state *fsm.State, store *raftstore.Store, log *slog.Logger) (*backend.Coarse, error) {
	host, port, err := net.SplitHostPort(f.driver)
	if err != nil {
		return nil, err
	}
	cfg := backend.Config{
		State: state, Log: store, Master: f.master, Logger: log,
		Context: backend.Context{AppName: f.name, SparkHome: f.home, Conf: map[string]string{
			"spark.driver.host": host, "spark.driver.port": port,
			"spark.executor.cores": "1", "spark.executor.memory": "512m",
			"spark.executor.extraJavaOptions": backend.JavaModuleOptions,
			"spark.dynamicAllocation.enabled": "true", // begin with no executor
		}},
	}
	if f.command != "" {
		cfg.Command = func(e backend.ExecutorSpec) (*mesos.CommandInfo, error) {
			line := "ID=" + e.ExecutorID + "; " + f.command
			return &mesos.CommandInfo{Value: &line}, nil
		}
	}
	return backend.New(cfg)
}

// errStopped ends serve after the command stop.
var errStopped = errors.New("stopped")

// serve carries out what is typed, one line an answer.
func serve(ctx context.Context, app *backend.Coarse, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		answer, err := answer(ctx, app, words[0], words[1:])
		switch {
		case errors.Is(err, errStopped):
			fmt.Fprintln(out, "ok")
			return nil
		case err != nil:
			fmt.Fprintln(out, "error:", err)
		default:
			fmt.Fprintln(out, answer)
		}
	}
	return lines.Err()
}

func answer(ctx context.Context, app *backend.Coarse, verb string, args []string) (string, error) {
	switch verb {
	case "scale":
		n, err := strconv.Atoi(strings.Join(args, " "))
		if err == nil {
			err = app.RequestTotalExecutors(ctx, backend.Totals{Executors: n})
		}
		return "ok", err
	case "kill":
		return "ok", app.KillExecutors(ctx, args...)
	case "stop":
		if err := app.Stop(ctx); err != nil {
			return "", err
		}
		return "", errStopped
	case "status":
		st := app.Status()
		return fmt.Sprintf("leads=%t live=%d running=%d framework=%s", st.Subscribed, st.Live, st.Running, st.ApplicationID), nil
	}
	return "", fmt.Errorf("unknown command %q; there are scale, kill, status and stop", verb)
}

func parsePeers(text string) ([]raftstore.Peer, error) {
	var peers []raftstore.Peer
	for item := range strings.SplitSeq(text, ",") {
		id, addr, found := strings.Cut(item, "=")
		if !found {
			return nil, fmt.Errorf("-peers: %q is not id=host:port", item)
		}
		peers = append(peers, raftstore.Peer{ID: id, Addr: addr})
	}
	return peers, nil
}
