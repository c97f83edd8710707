package raftstore

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// TLSConfig names the PEM files for TLS between nodes. Both sides show a
// certificate that CAFile signed and that carries the node id as common name
// or DNS name. Files that change on disk are taken up within a second, for
// new connections.
type TLSConfig struct {
	CertFile, KeyFile, CAFile string
}

// tlsFiles keeps the parsed form of a TLSConfig and reloads it when a file's
// time or size changes.
type tlsFiles struct {
	cfg TLSConfig

	mu      sync.Mutex
	checked time.Time
	stamp   string
	cert    *tls.Certificate
	roots   *x509.CertPool
}

func newTLSFiles(cfg TLSConfig) (*tlsFiles, error) {
	f := &tlsFiles{cfg: cfg}
	if _, _, err := f.current(); err != nil {
		return nil, err
	}
	return f, nil
}

// current returns certificate and roots. Broken files after a good load are
// ignored: an operator may be in the middle of replacing them.
func (f *tlsFiles) current() (*tls.Certificate, *x509.CertPool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cert != nil && time.Since(f.checked) < time.Second {
		return f.cert, f.roots, nil
	}
	f.checked = time.Now()
	stamp, err := f.stat()
	if err == nil && stamp != f.stamp {
		err = f.load(stamp)
	}
	if f.cert == nil {
		return nil, nil, err
	}
	return f.cert, f.roots, nil
}

func (f *tlsFiles) stat() (string, error) {
	stamp := ""
	for _, name := range []string{f.cfg.CertFile, f.cfg.KeyFile, f.cfg.CAFile} {
		st, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("raftstore: TLS file: %w", err)
		}
		stamp += fmt.Sprint(st.ModTime().UnixNano(), ":", st.Size(), " ")
	}
	return stamp, nil
}

func (f *tlsFiles) load(stamp string) error {
	cert, err := tls.LoadX509KeyPair(f.cfg.CertFile, f.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("raftstore: TLS certificate: %w", err)
	}
	pem, err := os.ReadFile(f.cfg.CAFile)
	if err != nil {
		return fmt.Errorf("raftstore: TLS CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("raftstore: TLS CA: no certificate in %s", f.cfg.CAFile)
	}
	f.stamp, f.cert, f.roots = stamp, &cert, roots
	return nil
}

// server is the accepting side. Who the client is gets checked after the
// handshake, against the id it claims in the preamble.
func (f *tlsFiles) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, roots, err := f.current()
			if err != nil {
				return nil, err
			}
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				Certificates: []tls.Certificate{*cert},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    roots,
			}, nil
		},
	}
}

// client dials the node target; "" accepts any node of our CA. The chain is
// verified here and not by crypto/tls, because node ids are no host names and
// the roots may have been reloaded.
func (f *tlsFiles) client(target string) (*tls.Config, error) {
	cert, roots, err := f.current()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{*cert},
		InsecureSkipVerify: true, // replaced by VerifyConnection below
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyServer(cs, roots, target)
		},
	}, nil
}

func verifyServer(cs tls.ConnectionState, roots *x509.CertPool, target string) error {
	inter := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	leaf := cs.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: inter,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if target != "" && !names(leaf, target) {
		return fmt.Errorf("%w: certificate is for %q %q, not for node %q", ErrUntrusted, leaf.Subject.CommonName, leaf.DNSNames, target)
	}
	return nil
}

// names says whether a certificate belongs to a node id: exact, no wildcards.
func names(c *x509.Certificate, id string) bool {
	return c.Subject.CommonName == id || slices.Contains(c.DNSNames, id)
}
