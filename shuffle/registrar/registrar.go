package registrar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/internal/peer"
	"github.com/ha-dispatcher/ha-dispatcher/shuffle/wire"
)

// The errors of Register, for errors.Is.
var (
	// ErrConnect: the service was not reached. It may not run yet.
	ErrConnect = errors.New("the shuffle service was not reached")
	// ErrRefused: the service answered that it does not take the application, as
	// with a wrong secret. The text is the service's.
	ErrRefused = errors.New("the shuffle service refused the application")
	// ErrLost: the application was registered, and then the connection broke.
	ErrLost = errors.New("the connection to the shuffle service was lost")
)

// Config of a Registrar. The zero value speaks to services that do not
// authenticate.
type Config struct {
	// Secret of the application (spark.authenticate.secret); empty: none.
	Secret string
	// Crypto uses Spark's AuthEngine (spark.network.crypto.enabled), with
	// SASLFallback followed by SASL where the service does not know it.
	Crypto, SASLFallback bool
	// EngineVersion and Cipher are as in auth.Config.
	EngineVersion int
	Cipher        string
	// Encrypt asks for the encryption of SASL
	// (spark.authenticate.enableSaslEncryption).
	Encrypt bool
	// Timeout bounds connecting, the handshake and the registration, each, and
	// the sending of a heartbeat. Default 30 s.
	Timeout time.Duration
	Logger  *slog.Logger // default slog.Default()
}

// Registrar registers applications with external shuffle services. It is safe
// for concurrent use.
type Registrar struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Registrar, error) {
	check := auth.Config{
		Secrets: func(string) (string, bool) { return "", false },
		Cipher:  cfg.Cipher, EngineVersion: cfg.EngineVersion,
	}
	if err := check.Validate(); err != nil {
		return nil, err
	}
	switch {
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("a timeout of %s is negative", cfg.Timeout)
	case cfg.Secret == "" && (cfg.Crypto || cfg.Encrypt):
		return nil, errors.New("encryption needs a secret: set spark.authenticate.secret")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Registrar{cfg: cfg}, nil
}

const (
	readBuffer   = 4 << 10
	largestReply = 1 << 20 // a failure carries a stack trace
)

// Register tells the service at addr (host:port) that the application is there,
// and sends a heartbeat at once and then each interval, until ctx ends, whose
// error it returns then, or until the service is lost. timeout is how long the
// service is to wait for a heartbeat before it removes the application's files;
// the interval must be shorter.
//
// Errors: ErrConnect, ErrRefused, ErrLost, that of ctx.
func (r *Registrar) Register(ctx context.Context, addr, appID string, timeout, interval time.Duration) error {
	if appID == "" || interval <= 0 || timeout <= interval {
		return fmt.Errorf("register %q: a heartbeat every %s does not keep an application that is given up after %s", appID, interval, timeout)
	}
	c, err := r.connect(ctx, addr, appID)
	if err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Close)()
	c.Conn.SetDeadline(time.Now().Add(r.cfg.Timeout))
	if _, err := c.RPC(wire.RegisterDriver{AppID: appID, HeartbeatTimeoutMs: timeout.Milliseconds()}); err != nil {
		return cmp.Or(ctx.Err(), failed(addr, err))
	}
	c.Conn.SetDeadline(time.Time{})
	r.cfg.Logger.Info("Successfully registered app "+appID+" with external shuffle service.", "address", addr)
	err = r.beat(ctx, c, appID, interval)
	return cmp.Or(ctx.Err(), err)
}

// connect makes a connection that is authenticated as the properties say.
func (r *Registrar) connect(ctx context.Context, addr, appID string) (*peer.Client, error) {
	if r.cfg.Secret == "" {
		return r.dial(ctx, addr, nil)
	}
	handshake := &auth.Client{
		AppID: appID, Secret: r.cfg.Secret, Engine: r.cfg.Crypto,
		EngineVersion: r.cfg.EngineVersion, Cipher: r.cfg.Cipher, Encrypt: r.cfg.Encrypt,
	}
	c, err := r.dial(ctx, addr, handshake)
	if err == nil || !handshake.Engine || !r.cfg.SASLFallback || !errors.Is(err, ErrRefused) {
		return c, err
	}
	r.cfg.Logger.Info("the shuffle service does not take the AuthEngine handshake; trying SASL", "address", addr, "error", err)
	handshake.Engine = false
	return r.dial(ctx, addr, handshake)
}

func (r *Registrar) dial(ctx context.Context, addr string, handshake *auth.Client) (*peer.Client, error) {
	dialer := net.Dialer{Timeout: r.cfg.Timeout}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	c := peer.New(nc, readBuffer, largestReply)
	if handshake == nil {
		return c, nil
	}
	defer context.AfterFunc(ctx, c.Close)()
	nc.SetDeadline(time.Now().Add(r.cfg.Timeout))
	if err := c.Authenticate(handshake); err != nil {
		c.Close()
		return nil, failed(addr, err)
	}
	return c, nil
}

// failed tells what the service refused from what broke.
func failed(addr string, err error) error {
	var broken net.Error
	if errors.As(err, &broken) || isEnd(err) {
		return fmt.Errorf("%w: %s: %w", ErrConnect, addr, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrRefused, addr, err)
}

// beat sends heartbeats until one does not go out, or the service closes the
// connection, which only a reader notices.
func (r *Registrar) beat(ctx context.Context, c *peer.Client, appID string, interval time.Duration) error {
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Next(); err != nil { // there is nothing that a service would say
				ended <- err
				return
			}
		}
	}()
	err := r.send(ctx, c, appID, interval, ended)
	c.Close()
	return fmt.Errorf("%w: %w", ErrLost, err)
}

func (r *Registrar) send(ctx context.Context, c *peer.Client, appID string, interval time.Duration, ended <-chan error) error {
	beat := wire.Frame{Type: wire.OneWayMessage, Body: wire.AppendMessage(nil, wire.Heartbeat{AppID: appID})}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		c.Conn.SetWriteDeadline(time.Now().Add(r.cfg.Timeout))
		if err := c.Send(beat); err != nil {
			c.Close()
			return errors.Join(err, <-ended)
		}
		select {
		case <-tick.C:
		case err := <-ended:
			return err
		case <-ctx.Done():
			c.Close()
			return <-ended
		}
	}
}

// isEnd tells a connection that ended.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
