package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest"
	"github.com/ha-dispatcher/ha-dispatcher/internal/node"
)

// certificate writes a certificate for 127.0.0.1 that is its own CA.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "n1"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestPagesByHTTPS(t *testing.T) {
	cfg := single(t)
	cert, key := certificate(t)
	cfg.WebTLS = rest.TLSConfig{CertFile: cert, KeyFile: key}
	n := start(t, cfg)
	if !strings.HasPrefix(n.WebURL(), "https://") || !strings.HasPrefix(n.RESTURL(), "http://") {
		t.Fatal(n.WebURL(), n.RESTURL())
	}
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(n.WebURL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	for _, wrong := range []rest.TLSConfig{{CertFile: cert}, {KeyFile: key}, {CertFile: key, KeyFile: cert}} {
		cfg := single(t)
		cfg.WebTLS = wrong
		if n, err := node.Start(t.Context(), cfg); err == nil {
			n.Crash()
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// libmesos reads these from the environment; so does its replacement.
func TestTLSToMesosIsThatOfLibprocess(t *testing.T) {
	cert, key := certificate(t)
	with := func(env map[string]string) func(*node.Config) {
		return func(c *node.Config) {
			c.Env = func(name string) (string, bool) {
				v, ok := env[name]
				return v, ok
			}
		}
	}
	if got, _ := registration(t, nil, with(map[string]string{"LIBPROCESS_SSL_CA_FILE": cert})); got.TLS != nil {
		t.Error("TLS without LIBPROCESS_SSL_ENABLED")
	}
	got, _ := registration(t, nil, with(map[string]string{
		"LIBPROCESS_SSL_ENABLED": "1", "LIBPROCESS_SSL_CA_FILE": cert, "LIBPROCESS_SSL_CERT_FILE": cert, "LIBPROCESS_SSL_KEY_FILE": key,
	}))
	if got.TLS == nil || got.TLS.InsecureSkipVerify || got.TLS.RootCAs == nil || len(got.TLS.Certificates) != 1 {
		t.Errorf("%+v", got.TLS)
	}
	got, _ = registration(t, nil, with(map[string]string{"LIBPROCESS_SSL_ENABLED": "true", "LIBPROCESS_SSL_VERIFY_CERT": "false"}))
	if got.TLS == nil || !got.TLS.InsecureSkipVerify {
		t.Errorf("%+v", got.TLS)
	}
	for name, env := range map[string]map[string]string{
		"LIBPROCESS_SSL_ENABLED":   {"LIBPROCESS_SSL_ENABLED": "maybe"},
		"LIBPROCESS_SSL_CA_FILE":   {"LIBPROCESS_SSL_ENABLED": "1", "LIBPROCESS_SSL_CA_FILE": key},
		"LIBPROCESS_SSL_CERT_FILE": {"LIBPROCESS_SSL_ENABLED": "1", "LIBPROCESS_SSL_CERT_FILE": cert},
	} {
		cfg := single(t)
		with(env)(&cfg)
		n, err := node.Start(t.Context(), cfg)
		if err == nil {
			n.Crash()
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
