package zkfixture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/fixture"
)

// Name of the fixture in HA_DISPATCHER_REQUIRE.
const Name = "zookeeper"

// JarsEnv names another directory with the jars.
const JarsEnv = "HA_DISPATCHER_ZOOKEEPER_JARS"

const (
	debianJars = "/usr/share/java"
	startWait  = 60 * time.Second
	tick       = 100 * time.Millisecond
)

// MinSession is the shortest session that the server grants.
const MinSession = 2 * tick

// jars that the server needs, those of other directories' versions included.
var jars = []string{
	"zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "metrics-core", "snappy-java",
	"commons-cli", "commons-io", "commons-lang3", "netty-all", "jackson-core", "jackson-databind", "jackson-annotations",
}

// Server is a ZooKeeper server. Its methods are for one goroutine.
type Server struct {
	dir, addr, classPath string
	cmd                  *exec.Cmd
	exited               chan struct{}
}

// Start runs a server with its data in dir, which must be empty and is left to
// the caller. It returns when the server answers.
func Start(ctx context.Context, dir string) (*Server, error) {
	classPath, err := findJars()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, classPath: classPath}
	// A port that is free now may be taken a moment later.
	for range 5 {
		if s.addr, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.configure(); err != nil {
			return nil, err
		}
		if err = s.Restart(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// TB is the part of testing.TB that Require needs.
type TB interface {
	fixture.TB
	Context() context.Context
	TempDir() string
	Cleanup(func())
}

// Require runs a server for the duration of a test; see fixture.Require.
func Require(t TB) *Server {
	t.Helper()
	s, err := Start(t.Context(), t.TempDir())
	fixture.Require(t, Name, err)
	t.Cleanup(s.Kill)
	return s
}

func findJars() (string, error) {
	const remedy = "install it (Debian: apt-get install zookeeper)"
	if _, err := exec.LookPath("java"); err != nil {
		return "", &fixture.UnavailableError{Name: Name, Missing: "no java in PATH", Remedy: remedy}
	}
	dir := os.Getenv(JarsEnv)
	if dir == "" {
		dir = debianJars
	}
	var found []string
	for _, jar := range jars {
		path := filepath.Join(dir, jar+".jar")
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		} else if strings.HasPrefix(jar, Name) {
			return "", &fixture.UnavailableError{Name: Name, Missing: "no " + path, Remedy: remedy}
		}
	}
	return strings.Join(found, ":"), nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *Server) config() string { return filepath.Join(s.dir, "zoo.cfg") }
func (s *Server) log() string    { return filepath.Join(s.dir, "log") }

func (s *Server) configure() error {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`tickTime=%d
dataDir=%s
clientPortAddress=%s
clientPort=%s
admin.enableServer=false
maxClientCnxns=0
4lw.commands.whitelist=*
`, tick.Milliseconds(), filepath.Join(s.dir, "data"), host, port)
	return os.WriteFile(s.config(), []byte(text), 0o644)
}

// Restart starts a server that was stopped or killed, on its port and its data.
func (s *Server) Restart(ctx context.Context) error {
	if s.cmd != nil {
		return errors.New("zkfixture: the server is running")
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dzookeeper.forceSync=no", "-Dzookeeper.jmx.log4j.disable=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", s.classPath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", s.config())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("zkfixture: %w", err)
	}
	s.cmd, s.exited = cmd, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		_ = cmd.Wait()
	}(s.exited)
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := s.await(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// await waits until the server answers.
func (s *Server) await(ctx context.Context) error {
	for !s.answers() {
		select {
		case <-s.exited:
			text, _ := os.ReadFile(s.log())
			return fmt.Errorf("zkfixture: the server ended: %s", lastLines(string(text)))
		case <-ctx.Done():
			return fmt.Errorf("zkfixture: the server does not answer: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	// Unlike "ruok", this tells whether sessions are granted.
	if _, err := conn.Write([]byte("srvr")); err != nil {
		return false
	}
	answer, _ := io.ReadAll(conn)
	return strings.Contains(string(answer), "Mode:")
}

// Addr is host:port for clients.
func (s *Server) Addr() string { return s.addr }

// Stop ends the server in good order. Sessions live on when it is started again.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would. It is a no-op where none runs.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, sig)
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.exited
	}
	s.cmd = nil
}

// Freeze stops the server's process from running until Thaw: it keeps its
// connections and answers nothing.
func (s *Server) Freeze() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGSTOP) }

// Thaw lets a frozen server run on.
func (s *Server) Thaw() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGCONT) }

func lastLines(text string) string {
	const most = 2000
	text = strings.TrimSpace(text)
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return text
}
