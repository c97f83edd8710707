package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
)

// The variables by which operators tell libmesos to speak TLS.
const (
	envSSLEnabled = "LIBPROCESS_SSL_ENABLED"
	envSSLCert    = "LIBPROCESS_SSL_CERT_FILE"
	envSSLKey     = "LIBPROCESS_SSL_KEY_FILE"
	envSSLCA      = "LIBPROCESS_SSL_CA_FILE"
	envSSLVerify  = "LIBPROCESS_SSL_VERIFY_CERT"
	envSSLVerify2 = "LIBPROCESS_SSL_VERIFY_SERVER_CERT" // its name since Mesos 1.10
)

// MesosTLS reads what libmesos would read from the environment; nil without
// TLS. libmesos verifies the master's certificate only when it is told to; here
// it must be told not to.
func (c *Config) MesosTLS() (*tls.Config, error) {
	if on, err := c.flag(envSSLEnabled, false); err != nil || !on {
		return nil, err
	}
	verify, err := c.flag(envSSLVerify, true)
	if err != nil {
		return nil, err
	}
	verify2, err := c.flag(envSSLVerify2, true)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !verify || !verify2} //nolint:gosec // only when the operator says so
	if !verify || !verify2 {
		c.Logger.Warn("the certificate of the Mesos master is not verified", "variable", envSSLVerify)
	}
	if file, _ := c.env(envSSLCA); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", envSSLCA, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in %s", envSSLCA, file)
		}
	}
	cert, _ := c.env(envSSLCert)
	key, _ := c.env(envSSLKey)
	if cert == "" && key == "" {
		return conf, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", envSSLCert, envSSLKey, err)
	}
	conf.Certificates = []tls.Certificate{pair}
	return conf, nil
}

// flag reads a boolean variable as libprocess does.
func (c *Config) flag(name string, def bool) (bool, error) {
	text, _ := c.env(name)
	switch strings.ToLower(text) {
	case "":
		return def, nil
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is %q: true, 1, false or 0 is wanted", name, text)
}
