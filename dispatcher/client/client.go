package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Config of a Client.
type Config struct {
	// Servers to try, at least one: host:port, or a URL with http, https, mesos
	// or spark as its scheme.
	Servers []string
	// Token is sent as a bearer token, if not empty.
	Token string
	// TLS is used for https servers; servers without a scheme are https ones
	// when it is set.
	TLS *tls.Config
	// AttemptTimeout limits one request to one server; default 15 s.
	AttemptTimeout time.Duration
	// RetryFor is how long to go on trying where that is safe; default 30 s.
	// Negative: try each server once.
	RetryFor time.Duration
}

// Client of one cluster. It is safe for concurrent use.
type Client struct {
	cfg     Config
	servers []string
	http    *http.Client
	good    atomic.Int64 // index of the server that answered last
}

// New makes a client. It does not connect yet.
func New(cfg Config) (*Client, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("client: no server given")
	}
	if cfg.AttemptTimeout == 0 {
		cfg.AttemptTimeout = 15 * time.Second
	}
	if cfg.RetryFor == 0 {
		cfg.RetryFor = 30 * time.Second
	}
	c := &Client{cfg: cfg}
	for _, s := range cfg.Servers {
		u, err := baseURL(s, cfg.TLS != nil)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, u)
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSClientConfig:     cfg.TLS,
			TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     30 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// NewKey makes an idempotency key for one request.
func NewKey() string { return uuid.NewString() }

func baseURL(server string, secure bool) (string, error) {
	scheme, host, found := strings.Cut(server, "://")
	if !found {
		scheme, host = "http", server
		if secure {
			scheme = "https"
		}
	}
	switch scheme {
	case "http", "https":
	case "mesos", "spark": // as spark-submit's --master has it
		scheme = "http"
	default:
		return "", fmt.Errorf("client: server %q: scheme must be http, https, mesos or spark", server)
	}
	u, err := url.Parse(scheme + "://" + strings.TrimSuffix(host, "/"))
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("client: server %q is not host:port", server)
	}
	return u.String(), nil
}
