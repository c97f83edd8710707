package loadgen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Mode is what the clients ask for.
type Mode string

// The modes of a run.
const (
	Submit Mode = "submit"
	Status Mode = "status" // of Config.IDs
	Mixed  Mode = "mixed"  // both, by Config.StatusShare
)

// Bounds of a run.
const (
	MaxClients    = 4096
	MaxCount      = 5_000_000
	MaxDuration   = time.Hour
	MaxProperties = 10_000
	MaxRate       = 1_000_000
)

// Config of a run.
type Config struct {
	// Servers are base URLs, http://host:port or https://host:port. Client k
	// begins with server k modulo their number, and after a broken connection
	// goes on to the next.
	Servers []string
	// AnyHost allows servers that are not on the loopback interface: load is an
	// attack on whoever did not ask for it.
	AnyHost bool

	Mode    Mode // default Submit
	Clients int  // default 1
	// The run ends after Count requests or after Duration, whichever is first; at
	// least one is to be given.
	Count    int
	Duration time.Duration
	// Rate is the mean number of requests a second of all clients together; 0:
	// as fast as they are answered.
	Rate float64
	Seed uint64 // of the random times and of Mixed

	CloseConnections bool // a connection for each request, as spark-submit does
	// Properties is how many Spark properties a submission carries; default 8,
	// and at least as many as it must.
	Properties int
	// Extra properties of each submission, on top of that number.
	Extra map[string]string
	// IdempotencyKeys sends a key of its own with each submission.
	IdempotencyKeys bool
	// StatusShare is the part of Mixed, 0 to 1, that asks for a status.
	StatusShare float64
	IDs         []string // to ask for, with Status
	Stale       bool     // ask for statuses with consistency=stale
	// Token is sent as "Authorization: Bearer".
	Token   string
	Timeout time.Duration // of one request; default 30 s
}

const defaultProperties = 8

func (c Config) complete() (Config, error) {
	if c.Mode == "" {
		c.Mode = Submit
	}
	if c.Clients == 0 {
		c.Clients = 1
	}
	if c.Properties == 0 {
		c.Properties = defaultProperties
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Duration == 0 {
		c.Duration = MaxDuration
		if c.Count == 0 {
			return c, errors.New("a number of requests or a duration is wanted")
		}
	}
	if c.Count == 0 {
		c.Count = MaxCount
	}
	return c, errors.Join(c.checkNumbers(), c.checkMode(), c.checkServers())
}

func (c Config) checkNumbers() error {
	var errs []error
	within := func(what string, v, least, most float64) {
		if !(v >= least && v <= most) {
			errs = append(errs, fmt.Errorf("%s %v: %v to %v is allowed", what, v, least, most))
		}
	}
	within("clients", float64(c.Clients), 1, MaxClients)
	within("count", float64(c.Count), 1, MaxCount)
	within("duration in seconds", c.Duration.Seconds(), 0.001, MaxDuration.Seconds())
	within("rate", c.Rate, 0, MaxRate)
	within("properties", float64(c.Properties), 0, MaxProperties)
	within("timeout in seconds", c.Timeout.Seconds(), 0.001, MaxDuration.Seconds())
	within("status share", c.StatusShare, 0, 1)
	return errors.Join(errs...)
}

func (c Config) checkMode() error {
	switch c.Mode {
	case Submit, Mixed:
		return nil
	case Status:
		if len(c.IDs) == 0 {
			return errors.New("ids to ask the status of are wanted")
		}
		return nil
	}
	return fmt.Errorf("mode %q: %s, %s or %s is wanted", c.Mode, Submit, Status, Mixed)
}

func (c Config) checkServers() error {
	if len(c.Servers) == 0 {
		return errors.New("a server is wanted, such as http://127.0.0.1:7077")
	}
	if strings.ContainsAny(c.Token, "\r\n") {
		return errors.New("the token has a line break in it")
	}
	for _, s := range c.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("server %q: http://host:port is wanted", s)
		}
		if !c.AnyHost && !loopback(u.Hostname()) {
			return fmt.Errorf("server %s is not on this machine; loading it must be asked for expressly", s)
		}
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// address of a server with its port.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
