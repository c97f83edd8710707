package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/client"
)

// clientFlags are those of every verb that asks a server.
type clientFlags struct {
	servers   []string
	tokenFile string
	caFile    string
	certFile  string
	keyFile   string
	timeout   time.Duration
	json      bool
}

// registerServers adds the flags that say whom to ask, and how.
func (f *clientFlags) registerServers(c *cobra.Command) {
	def := []string{"127.0.0.1:7077", "127.0.0.1:7087", "127.0.0.1:7097"} // those of dev
	if env := os.Getenv("HA_DISPATCHER_SERVERS"); env != "" {
		def = strings.Split(env, ",")
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.servers, "server", def, "servers, tried in turn: host:port or URL (default $HA_DISPATCHER_SERVERS)")
	fl.StringVar(&f.tokenFile, "token-file", os.Getenv("HA_DISPATCHER_TOKEN_FILE"), "file with the token to authenticate with")
	fl.StringVar(&f.caFile, "ca", "", "CA of the servers' certificates (PEM); asks by HTTPS")
	fl.StringVar(&f.certFile, "cert", "", "certificate to authenticate with (PEM)")
	fl.StringVar(&f.keyFile, "key", "", "its key")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to go on trying")
}

// register adds the flags of a verb that can print its answer as JSON.
func (f *clientFlags) register(c *cobra.Command) {
	f.registerServers(c)
	c.Flags().BoolVar(&f.json, "json", false, "print JSON, for programs")
}

func (f *clientFlags) client() (*client.Client, error) {
	cfg := client.Config{Servers: f.servers, RetryFor: f.timeout}
	if f.tokenFile != "" {
		raw, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("token file: %w", err)
		}
		cfg.Token = strings.TrimSpace(string(raw))
		if _, token, found := strings.Cut(cfg.Token, ":"); found {
			cfg.Token = token // a line of the server's own file
		}
	}
	if f.caFile != "" || f.certFile != "" {
		conf, err := f.tls()
		if err != nil {
			return nil, err
		}
		cfg.TLS = conf
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, usageError("%v", err)
	}
	return c, nil
}

func (f *clientFlags) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		raw, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("CA file %s holds no certificate", f.caFile)
		}
	}
	if f.certFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// failed gives an error of the client its exit code.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, client.ErrOutcomeUnknown):
		return &exitError{exitUnknown, err}
	case errors.Is(err, client.ErrUnavailable):
		return &exitError{exitUnavailable, err}
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printLine prints v as one line, for verbs that print one thing after another.
func printLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func withClient(cf *clientFlags, do func(*client.Client) error) error {
	c, err := cf.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return failed(do(c))
}
