package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

// startWait bounds the start of a JVM on a busy machine.
const startWait = 3 * time.Minute

// Options of a dispatcher.
type Options struct {
	Master    string // host:port of Mesos
	ZooKeeper string // host:port, where it keeps its state
	Dir       string // its directory there
	WorkDir   string // for its log and its configuration; must exist
	// Conf are further properties, as "spark.mesos.maxDrivers=10".
	Conf []string
}

// Dispatcher is a running dispatcher. Its methods are for one goroutine.
type Dispatcher struct {
	url, log string
	cmd      *exec.Cmd
	exited   chan struct{}
}

// Start runs a dispatcher, and returns when it has registered with Mesos and
// takes submissions. It wraps fixture.ErrUnavailable where it cannot be built on
// this machine. On failure nothing is left running.
func Start(ctx context.Context, o Options) (*Dispatcher, error) {
	p, err := build(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	args := []string{"org.apache.spark.deploy.mesos.MesosClusterDispatcher", "--host", "127.0.0.1", "--port", ports[0],
		"--webui-port", ports[1], "--master", "mesos://" + o.Master, "--name", "old"}
	java := "-Dspark.deploy.recoveryMode=ZOOKEEPER -Dspark.deploy.zookeeper.url=" + o.ZooKeeper + " -Dspark.deploy.zookeeper.dir=" + o.Dir
	for _, c := range o.Conf {
		java += " -D" + c
	}
	cmd := exec.Command(filepath.Join(p.spark.Home(), "bin", "spark-class"), args...)
	cmd.Dir = o.WorkDir
	cmd.Env = append(p.spark.Env(), "SPARK_LOCAL_HOSTNAME=127.0.0.1", "SPARK_CONF_DIR="+o.WorkDir, "SPARK_DAEMON_MEMORY=512m",
		"SPARK_DAEMON_JAVA_OPTS="+java, "MESOS_NATIVE_JAVA_LIBRARY="+p.library,
		"LIBPROCESS_IP=127.0.0.1", "LIBPROCESS_SSL_ENABLED=false", "LIBPROCESS_NUM_WORKER_THREADS=4")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d := &Dispatcher{url: "http://127.0.0.1:" + ports[0], log: filepath.Join(o.WorkDir, "dispatcher.log"), cmd: cmd, exited: make(chan struct{})}
	if err := d.run(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Dispatcher) run(ctx context.Context) error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	go func() {
		defer close(d.exited)
		_ = d.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := d.await(ctx); err != nil {
		d.Kill()
		return err
	}
	return nil
}

// await waits until the REST server answers, which is started last of all.
func (d *Dispatcher) await(ctx context.Context) error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for {
		r, err := c.Get(d.url + "/v1/submissions/status/none")
		if err == nil {
			_ = r.Body.Close()
			return nil
		}
		select {
		case <-d.exited:
			text, _ := os.ReadFile(d.log)
			return fmt.Errorf("upstream: the dispatcher ended: %s", text[max(0, len(text)-2000):])
		case <-ctx.Done():
			text, _ := os.ReadFile(d.log)
			return fmt.Errorf("upstream: the dispatcher does not answer: %w: %s", ctx.Err(), text[max(0, len(text)-2000):])
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// URL of its REST server.
func (d *Dispatcher) URL() string { return d.url }

// Log is the path of its log.
func (d *Dispatcher) Log() string { return d.log }

// Stop ends it as stop-mesos-dispatcher.sh does. Drivers run on.
func (d *Dispatcher) Stop() { d.end(syscall.SIGTERM) }

// Kill ends it as a crash would. It is a no-op where it has ended.
func (d *Dispatcher) Kill() { d.end(syscall.SIGKILL) }

func (d *Dispatcher) end(s syscall.Signal) {
	_ = syscall.Kill(-d.cmd.Process.Pid, s)
	select {
	case <-d.exited:
	case <-time.After(30 * time.Second):
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.exited
	}
}

// freePorts are ports that are free now, and most likely a moment later.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, e := net.Listen("tcp", "127.0.0.1:0")
		if e != nil {
			return nil, errors.Join(err, e)
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, err
}

// TB is the part of testing.TB that Require needs.
type TB interface {
	fixture.TB
	Context() context.Context
	Cleanup(func())
}

// Require runs a dispatcher until the end of a test; see fixture.Require. It goes
// by the names of the fixtures that it is made of.
func Require(t TB, o Options) *Dispatcher {
	t.Helper()
	d, err := Start(t.Context(), o)
	name := "upstream"
	var missing *fixture.UnavailableError
	if errors.As(err, &missing) {
		name = missing.Name
	}
	fixture.Require(t, name, err)
	t.Cleanup(d.Kill)
	return d
}
