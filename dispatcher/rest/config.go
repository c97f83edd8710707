package rest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Config of a Server. The zero value of a field means its default.
type Config struct {
	// NodeID is told to clients in the header X-HA-Dispatcher-Node.
	NodeID string
	// Addr is the address that Validate judges, host:port. An empty host means
	// all interfaces.
	Addr string
	// ServerSparkVersion is what replies claim to be. Default "3.5.1".
	ServerSparkVersion string
	// Applications serves /v1/apps; nil: the node hosts none.
	Applications Applications

	Limits Limits
	Auth   AuthConfig
	TLS    TLSConfig
}

// Limits on what clients may cost. The zero value of a field means its default.
type Limits struct {
	MaxBodyBytes   int64 // of one request; default 10 MiB
	MaxHeaderBytes int   // default 64 KiB
	// MaxBodyMemory is for all bodies together, beyond 64 KiB each; default 256 MiB.
	MaxBodyMemory int64
	// MaxConnections open at once; default 8192. More wait in the backlog.
	MaxConnections int
	// MaxInFlight is how many requests are worked on at once; default 2048.
	// A request counts only after its body was read.
	MaxInFlight int
	// MaxEventStreams is how many readers of /v1/events there may be; default 256.
	MaxEventStreams int
	// MaxAppStreams is how many readers of events of one application there may be,
	// of all applications together; default 2048.
	MaxAppStreams int

	ReadHeaderTimeout time.Duration // default 10 s
	ReadTimeout       time.Duration // header and body; default 60 s
	WriteTimeout      time.Duration // of one reply, or one batch of events; default 30 s
	IdleTimeout       time.Duration // between requests; default 120 s
	EventHeartbeat    time.Duration // comment on an idle event stream; default 15 s
}

// AuthConfig says who may do what.
type AuthConfig struct {
	// TokenFile has one "name:token" per line; blank lines and those that begin
	// with # are skipped. It is read again when it changes. A client shows
	// "Authorization: Bearer <token>", or Basic with name and token.
	TokenFile string
	// Reads makes the reading routes ask for authentication too.
	Reads bool
	// AllowUnauthenticated permits a bind beyond loopback without any.
	AllowUnauthenticated bool
	// AllowedNetworks are the sources that are served at all; empty: every one.
	AllowedNetworks []netip.Prefix
	// TrustedNetworks are sources that need not authenticate. Spark's own
	// clients cannot send a token, so this is the way to let them in.
	TrustedNetworks []netip.Prefix
}

// TLSConfig makes the port speak HTTPS.
type TLSConfig struct {
	// CertFile and KeyFile, PEM; both or neither. They are read again when they
	// change.
	CertFile, KeyFile string
	// ClientCAFile makes a client certificate of this CA count as
	// authentication; its common name is the user. It is read once.
	ClientCAFile string
}

func (c Config) withDefaults() Config {
	if c.ServerSparkVersion == "" {
		c.ServerSparkVersion = "3.5.1"
	}
	l := &c.Limits
	orDefault(&l.MaxBodyBytes, 10<<20)
	orDefault(&l.MaxHeaderBytes, 64<<10)
	orDefault(&l.MaxBodyMemory, 256<<20)
	orDefault(&l.MaxConnections, 8192)
	orDefault(&l.MaxInFlight, 2048)
	orDefault(&l.MaxEventStreams, 256)
	orDefault(&l.MaxAppStreams, 2048)
	orDefault(&l.ReadHeaderTimeout, 10*time.Second)
	orDefault(&l.ReadTimeout, time.Minute)
	orDefault(&l.WriteTimeout, 30*time.Second)
	orDefault(&l.IdleTimeout, 2*time.Minute)
	orDefault(&l.EventHeartbeat, 15*time.Second)
	return c
}

func orDefault[T ~int | ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports everything that is wrong with the configuration. It does not
// read the files.
func (c Config) Validate() error {
	var errs []error
	l := c.Limits
	for name, v := range map[string]int64{
		"MaxBodyBytes": l.MaxBodyBytes, "MaxHeaderBytes": int64(l.MaxHeaderBytes), "MaxBodyMemory": l.MaxBodyMemory,
		"MaxConnections": int64(l.MaxConnections), "MaxInFlight": int64(l.MaxInFlight),
		"MaxEventStreams": int64(l.MaxEventStreams), "MaxAppStreams": int64(l.MaxAppStreams), "ReadHeaderTimeout": int64(l.ReadHeaderTimeout),
		"ReadTimeout": int64(l.ReadTimeout), "WriteTimeout": int64(l.WriteTimeout),
		"IdleTimeout": int64(l.IdleTimeout), "EventHeartbeat": int64(l.EventHeartbeat),
	} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("rest: limit %s is negative", name))
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		errs = append(errs, errors.New("rest: TLS needs both a certificate file and a key file"))
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		errs = append(errs, errors.New("rest: client certificates need a server certificate too"))
	}
	if c.Auth.Reads && !c.authenticates() {
		errs = append(errs, errors.New("rest: reads are to be authenticated, but there is neither a token file nor a client CA"))
	}
	if err := c.validateBind(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// authenticates tells whether there is any way to authenticate.
func (c Config) authenticates() bool { return c.Auth.TokenFile != "" || c.TLS.ClientCAFile != "" }

// validateBind refuses to offer "run this command on my cluster" to a network
// by oversight, which is what upstream does (CVE-2018-11770).
func (c Config) validateBind() error {
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("rest: address %q is not host:port: %w", c.Addr, err)
	}
	if isLoopback(host) || c.authenticates() || c.Auth.AllowUnauthenticated {
		return nil
	}
	return fmt.Errorf("rest: %s can be reached from other machines, and anyone who reaches it can run commands "+
		"on the cluster: set a token file or a client CA, or allow unauthenticated access explicitly", c.Addr)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
