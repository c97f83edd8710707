package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/registrar"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// service runs one until the test ends or stop is called.
func service(t testing.TB, change func(*shuffle.Config)) (addr string, stop func()) {
	t.Helper()
	cfg := shuffle.DefaultConfig()
	cfg.Addr, cfg.Log, cfg.CleanerInterval = "127.0.0.1:0", quiet, 10*time.Millisecond
	if change != nil {
		change(&cfg)
	}
	s, err := shuffle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-served, s.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s.Addr().String(), stop
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// executor registers one and returns the directory of its files.
func executor(t testing.TB, addr, app string, handshake *auth.Client) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blockmgr-"+app)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := peer.Dial(addr, handshake)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.RPC(wire.RegisterExecutor{AppID: app, ExecID: "1", LocalDirs: []string{dir}, SubDirs: 64}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// heard is a log that tells of the registration.
type heard struct{ registered chan struct{} }

func (heard) Enabled(context.Context, slog.Level) bool { return true }
func (h heard) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h heard) WithGroup(string) slog.Handler          { return h }
func (h heard) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "Successfully registered app") {
		close(h.registered)
	}
	return nil
}

// registered starts Register and waits until it holds.
func registered(t testing.TB, cfg registrar.Config, addr, app string, timeout, interval time.Duration) (stop func() error, ended <-chan error) {
	t.Helper()
	h := heard{make(chan struct{})}
	cfg.Logger = slog.New(h)
	r, err := registrar.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop, ended = registering(t, r, addr, app, timeout, interval)
	select {
	case <-h.registered:
	case err := <-ended:
		t.Fatalf("Register: %v", err)
	}
	return stop, ended
}

// registering runs Register until stop, which returns its error.
func registering(t testing.TB, r *registrar.Registrar, addr, app string, timeout, interval time.Duration) (stop func() error, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Register(ctx, addr, app, timeout, interval) }()
	t.Cleanup(cancel)
	return func() error { cancel(); return <-done }, done
}

func newRegistrar(t testing.TB, cfg registrar.Config) *registrar.Registrar {
	t.Helper()
	cfg.Logger = quiet
	r, err := registrar.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFilesStayWhileHeartbeatsCome(t *testing.T) {
	addr, _ := service(t, nil)
	kept, other := executor(t, addr, "kept", nil), executor(t, addr, "other", nil)
	const timeout = 500 * time.Millisecond
	stop, _ := registered(t, registrar.Config{}, addr, "kept", timeout, 10*time.Millisecond)

	// The other application registers three times in turn and says no more each
	// time, so that its end shows that several timeouts have gone by.
	c, err := peer.Dial(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if _, err := c.RPC(wire.RegisterDriver{AppID: "other", HeartbeatTimeoutMs: timeout.Milliseconds()}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the silent application's end", func() bool { return !exists(other) })
		other = executor(t, addr, "other", nil)
	}
	if !exists(kept) {
		t.Fatal("the files of an application with heartbeats were removed")
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Register: %v", err)
	}
	eventually(t, "removal after the last heartbeat", func() bool { return !exists(kept) })
}

func TestALostServiceEndsRegister(t *testing.T) {
	addr, stop := service(t, nil)
	_, ended := registered(t, registrar.Config{}, addr, "app", time.Hour, time.Minute)
	stop()
	if err := <-ended; !errors.Is(err, registrar.ErrLost) {
		t.Errorf("Register: %v", err)
	}
}

func TestAServiceThatIsNotThere(t *testing.T) {
	addr, stop := service(t, nil)
	stop()
	err := newRegistrar(t, registrar.Config{}).Register(t.Context(), addr, "app", time.Hour, time.Minute)
	if !errors.Is(err, registrar.ErrConnect) {
		t.Errorf("Register: %v", err)
	}
}

// TestASilentService: one that takes the connection and says nothing.
func TestASilentService(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	arrived := make(chan struct{}, 8)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			arrived <- struct{}{}
			go func() { defer c.Close(); _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	for name, secret := range map[string]string{"registration": "", "handshake": "s3cret"} {
		t.Run(name+" times out", func(t *testing.T) {
			r := newRegistrar(t, registrar.Config{Secret: secret, Timeout: 20 * time.Millisecond})
			if err := r.Register(t.Context(), ln.Addr().String(), "app", time.Hour, time.Minute); !errors.Is(err, registrar.ErrConnect) {
				t.Errorf("Register: %v", err)
			}
			<-arrived
		})
		t.Run(name+" ends with its context", func(t *testing.T) {
			stop, _ := registering(t, newRegistrar(t, registrar.Config{Secret: secret}), ln.Addr().String(), "app", time.Hour, time.Minute)
			<-arrived
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Register: %v", err)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	const secret = "correct horse battery staple"
	secrets := func(string) (string, bool) { return secret, true }
	for _, c := range []struct {
		name   string
		server auth.Config
		client registrar.Config
	}{
		{"sasl", auth.Config{}, registrar.Config{}},
		{"sasl with encryption", auth.Config{AlwaysEncrypt: true}, registrar.Config{Encrypt: true}},
		{"engine version 1", auth.Config{Crypto: true}, registrar.Config{Crypto: true}},
		{"engine version 2 with GCM", auth.Config{Crypto: true, EngineVersion: 2, Cipher: auth.AESGCM},
			registrar.Config{Crypto: true, EngineVersion: 2, Cipher: auth.AESGCM}},
		{"engine refused, fallback to sasl", auth.Config{}, registrar.Config{Crypto: true, SASLFallback: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.Secrets, c.client.Secret = secrets, secret
			addr, _ := service(t, func(cfg *shuffle.Config) { cfg.Auth = &c.server })
			handshake := &auth.Client{AppID: "app", Secret: secret, Engine: c.server.Crypto, EngineVersion: c.client.EngineVersion,
				Cipher: c.client.Cipher, Encrypt: c.client.Encrypt}
			dir := executor(t, addr, "app", handshake)
			stop, _ := registered(t, c.client, addr, "app", 100*time.Millisecond, 5*time.Millisecond)
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Register: %v", err)
			}
			// Only an application that was registered is ever removed.
			eventually(t, "removal", func() bool { return !exists(dir) })
		})
		t.Run(c.name+": wrong secret", func(t *testing.T) {
			c.server.Secrets, c.client.Secret = secrets, "wrong-secret"
			addr, _ := service(t, func(cfg *shuffle.Config) { cfg.Auth = &c.server })
			err := newRegistrar(t, c.client).Register(t.Context(), addr, "app", time.Hour, time.Minute)
			if err == nil || errors.Is(err, registrar.ErrLost) || strings.Contains(fmt.Sprint(err), "wrong-secret") || strings.Contains(err.Error(), secret) {
				t.Errorf("Register: %v", err)
			}
		})
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	r := newRegistrar(t, registrar.Config{})
	for _, c := range []struct {
		app               string
		timeout, interval time.Duration
	}{{"", time.Hour, time.Minute}, {"app", time.Minute, time.Hour}, {"app", time.Minute, 0}, {"app", 0, time.Second}} {
		if err := r.Register(t.Context(), "127.0.0.1:1", c.app, c.timeout, c.interval); err == nil || errors.Is(err, registrar.ErrConnect) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestProperties(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	if err := errors.Join(os.WriteFile(file, []byte("bytes"), 0o600), os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		props map[string]string
		want  string // in the error; empty: none
	}{
		{"no authentication", nil, ""},
		{"secret without authentication is not used", map[string]string{"spark.authenticate.secret": "x"}, ""},
		{"secret", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": "x"}, ""},
		{"secret in a file", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret.file": file}, ""},
		{"no secret", map[string]string{"spark.authenticate": "true"}, "there is no secret"},
		{"empty secret", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": ""}, "is empty"},
		{"empty file", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret.file": empty}, "the file is empty"},
		{"no such file", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret.driver.file": dir + "/none"}, "spark.authenticate.secret.driver.file"},
		{"not a boolean", map[string]string{"spark.authenticate": "perhaps"}, "spark.authenticate"},
		{"unknown cipher", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": "x", "spark.network.crypto.cipher": "ROT13"}, "ROT13"},
		{"unknown engine", map[string]string{"spark.authenticate": "true", "spark.authenticate.secret": "x", "spark.network.crypto.authEngineVersion": "3"}, "authEngineVersion"},
		{"not a duration", map[string]string{"spark.network.auth.rpcTimeout": "soon"}, "spark.network.auth.rpcTimeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := registrar.FromProperties(c.props)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func ExampleFromProperties() {
	r, err := registrar.FromProperties(map[string]string{
		"spark.authenticate":        "true",
		"spark.authenticate.secret": "known to the executors too",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A backend does this for each agent that has an executor.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err = r.Register(ctx, "127.0.0.1:1", "framework-id", 2*time.Minute, 10*time.Second)
	fmt.Println(errors.Is(err, registrar.ErrConnect))
	// Output: true
}
