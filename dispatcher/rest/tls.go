package rest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Load reads the certificates, for this server or for another one beside it. It
// returns nil when TLS is not configured. log is told of certificates that
// changed and cannot be used.
func (c TLSConfig) Load(log *slog.Logger) (*tls.Config, error) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("rest: TLS needs both a certificate file and a key file")
	}
	if c.CertFile == "" {
		return nil, nil
	}
	source := &certificate{cfg: c, log: log, file: watchedFile{paths: []string{c.CertFile, c.KeyFile}}}
	source.file.changed()
	if err := source.load(); err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: source.get}
	if c.ClientCAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("rest: client CA: %w", err)
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("rest: client CA: no certificate in %s", c.ClientCAFile)
	}
	// Given, not required: a token is the other way to authenticate, and which
	// routes need either is decided for each request.
	t.ClientAuth = tls.VerifyClientCertIfGiven
	return t, nil
}

// certificate is the server's, read again when its files change.
type certificate struct {
	cfg TLSConfig
	log *slog.Logger

	mu   sync.Mutex
	file watchedFile
	cert *tls.Certificate
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("rest: server certificate: %w", err)
	}
	c.cert = &pair
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file.changed() {
		if err := c.load(); err != nil {
			c.log.Error("certificate changed and cannot be used; the old one stays", "err", err)
		}
	}
	return c.cert, nil
}

// watchedFile tells when one of some files has changed. It looks at most once
// in a second, and only when it is asked.
type watchedFile struct {
	paths  []string
	looked time.Time
	seen   string
}

func (w *watchedFile) changed() bool {
	now := time.Now()
	if now.Sub(w.looked) < time.Second {
		return false
	}
	w.looked = now
	var print string
	for _, p := range w.paths {
		if info, err := os.Stat(p); err == nil {
			print += fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
		}
	}
	was := w.seen
	w.seen = print
	return was != print
}
