package raftstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore"
)

// authority signs certificates for nodes.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue writes the files of a node into dir.
func (a *authority) issue(dir, id string) *raftstore.TLSConfig {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: id},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	cfg := &raftstore.TLSConfig{CertFile: filepath.Join(dir, id+".crt"), KeyFile: filepath.Join(dir, id+".key"), CAFile: filepath.Join(dir, id+".ca")}
	for name, b := range map[string][]byte{
		cfg.CertFile: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		cfg.KeyFile:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		cfg.CAFile:   a.pem,
	} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cfg
}

func TestMutualTLS(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	c := newCluster(t, 3, overTCP(t, 3), func(_ int, cfg *raftstore.Config) { cfg.TLS = ca.issue(dir, cfg.NodeID) })
	for _, nd := range c.nodes {
		c.propose(nd, "from "+nd.cfg.NodeID)
	}
	waitMesh(t, c)
	// Fail-over works through TLS too.
	c.crash(c.leader())
	c.propose(c.running()[0], "after")
	c.sameState()
}

func TestStrangersAreRefused(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	c := newCluster(t, 1, overTCP(t, 1), func(_ int, cfg *raftstore.Config) { cfg.TLS = ca.issue(dir, cfg.NodeID) })
	s := c.leader().store
	for name, files := range map[string]*raftstore.TLSConfig{
		"certificate of another CA":   newAuthority(t).issue(t.TempDir(), "n2"),
		"certificate of another node": ca.issue(dir, "n3"),
		"no TLS":                      nil,
	} {
		t.Run(name, func(t *testing.T) {
			stranger := &node{cfg: raftstore.Config{NodeID: "n2", DataDir: filepath.Join(t.TempDir(), "d"),
				BindAddr: "127.0.0.1:0", TLS: files, Logger: testLogger()}}
			stranger.list = &list{}
			st, err := raftstore.Open(t.Context(), stranger.cfg, stranger.list)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Crash()
			if err := s.Join(timeout(t, 3*time.Second), raftstore.Peer{ID: "n2", Addr: st.Address()}, false); err == nil {
				t.Error("joined")
			}
			if n := len(s.Status().Members); n != 1 {
				t.Errorf("%d members", n)
			}
		})
	}
	// Plain bytes at the port end the connection and nothing else.
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for buf := make([]byte, 512); ; {
		if _, err := conn.Read(buf); err != nil {
			break
		}
	}
	c.propose(c.nodes[0], "still here")
}

func TestCertificatesAreReloaded(t *testing.T) {
	old, dir := newAuthority(t), t.TempDir()
	c := newCluster(t, 2, overTCP(t, 2), func(_ int, cfg *raftstore.Config) { cfg.TLS = old.issue(dir, cfg.NodeID) })
	c.propose(c.leader(), "old")
	// A new CA on both nodes; then one restarts and needs new connections.
	fresh := newAuthority(t)
	for _, nd := range c.nodes {
		fresh.issue(dir, nd.cfg.NodeID)
	}
	f := c.followers()[0]
	c.crash(f)
	c.open(f)
	c.propose(f, "new")
	c.sameState()
}
