package registrar_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkfixture"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registrar"
)

// sparkService runs Spark's own shuffle service for Mesos and returns its address
// and what it logs.
func sparkService(t *testing.T, properties ...string) (addr string, log <-chan string) {
	t.Helper()
	spark := sparkfixture.Require(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // Spark takes a port, and says of none which it got
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	ln.Close()
	args := []string{"-Xmx256m", "-XX:+IgnoreUnrecognizedVMOptions", "-cp", filepath.Join(spark.Home(), "jars", "*")}
	for _, p := range []string{"java.lang", "java.lang.invoke", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent", "sun.nio.ch"} {
		args = append(args, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	for _, p := range append(slices.Clone(properties), "spark.shuffle.service.port="+port) {
		args = append(args, "-D"+p)
	}
	cmd := fixture.Command(t.Context(), "java", append(args, "org.apache.spark.deploy.mesos.MesosExternalShuffleService")...)
	cmd.Env = append(os.Environ(), "SPARK_LOCAL_IP=127.0.0.1", "SPARK_LOCAL_DIRS="+t.TempDir())
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			default:
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-read
		_ = cmd.Wait() // its exit code says how it took the signal
	})
	return addr, lines
}

func awaitLine(t *testing.T, log <-chan string, part string) {
	t.Helper()
	late := time.After(2 * time.Minute)
	var all []string
	for {
		select {
		case line, ok := <-log:
			if !ok {
				t.Fatalf("Spark's service ended without %q:\n%s", part, strings.Join(all, "\n"))
			}
			if all = append(all, line); strings.Contains(line, part) {
				return
			}
		case <-late:
			t.Fatalf("Spark's service never said %q:\n%s", part, strings.Join(all, "\n"))
		}
	}
}

// TestSparksOwnService registers with the service that Spark brings.
func TestSparksOwnService(t *testing.T) {
	for _, c := range []struct {
		name       string
		properties []string
	}{
		{"in the clear", nil},
		{"sasl", []string{"spark.authenticate=true", "spark.authenticate.secret=s3cret"}},
		{"sasl with encryption", []string{"spark.authenticate=true", "spark.authenticate.secret=s3cret",
			"spark.authenticate.enableSaslEncryption=true", "spark.network.sasl.serverAlwaysEncrypt=true"}},
		{"AuthEngine", []string{"spark.authenticate=true", "spark.authenticate.secret=s3cret", "spark.network.crypto.enabled=true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, log := sparkService(t, c.properties...)
			props := make(map[string]string)
			for _, p := range c.properties {
				k, v, _ := strings.Cut(p, "=")
				props[k] = v
			}
			awaitLine(t, log, "Starting shuffle service on port")
			r, err := registrar.FromProperties(props)
			if err != nil {
				t.Fatal(err)
			}
			var stop func() error
			eventually(t, "the service to listen", func() bool {
				end, ended := registering(t, r, addr, "app-1", 2*time.Second, 100*time.Millisecond)
				select {
				case err := <-ended:
					if !errors.Is(err, registrar.ErrConnect) {
						t.Fatalf("Register: %v", err)
					}
					return false
				case line := <-log:
					stop = end
					if !strings.Contains(line, "Received registration request from app app-1") {
						awaitLine(t, log, "Received registration request from app app-1")
					}
					return true
				}
			})
			// That the service removes the files of an application that has ended is
			// not asked for: Spark's looks for such applications in a thread that it
			// starts before the table of applications is there, and which dies of that
			// now and then.
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Register: %v", err)
			}
		})
	}
}
