package rest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// listen serves on a port of its own until the test ends.
func listen(t testing.TB, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return ln.Addr().String()
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func post(t testing.TB, addr, body string) (int, string) {
	t.Helper()
	r, err := http.Post("http://"+addr+"/v1/submissions/create", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(text)
}

func TestBodiesAreLimited(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxBodyBytes = 100 << 10
	s := newServer(t, cfg, newNode())
	big := strings.Replace(minimal, `"t"`, `"`+strings.Repeat("x", 100<<10)+`"`, 1)
	if w := do(s, "POST", "/v1/submissions/create", big); w.Code != 413 || !strings.Contains(w.Body.String(), "not_executed") {
		t.Errorf("announced: status %d, body %s", w.Code, w.Body)
	}
	addr := listen(t, s)
	req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/submissions/create", io.MultiReader(strings.NewReader(big))) // chunked
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: status %d", r.StatusCode)
	}
	if got := s.bodies.Load(); got != 0 {
		t.Errorf("%d bytes of body memory are not given back", got)
	}
}

// Spark's client writes the whole body before it reads, and a reply must not get
// lost over that.
func TestABodyThatNobodyWantsDoesNotCostTheReply(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxBodyBytes = 1 << 20
	addr := listen(t, newServer(t, cfg, newNode()))
	cfg.Auth.TokenFile = tokenFile(t, "ann:"+annsToken+"\n")
	guarded := listen(t, newServer(t, cfg, newNode()))
	for name, c := range map[string]struct {
		addr, path string
		status     int
	}{
		"too large":       {addr, "/v1/submissions/create", 413},
		"no token":        {guarded, "/v1/submissions/create", 401},
		"a kill with one": {addr, "/v1/submissions/kill/x", 200},
		"unknown path":    {addr, "/v2/x", 468},
	} {
		for _, connection := range []string{"close", "keep-alive"} {
			t.Run(name+", "+connection, func(t *testing.T) {
				conn := dial(t, c.addr)
				body := bytes.Repeat([]byte("x"), 8<<20)
				if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n", c.path, connection, len(body)); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write(body); err != nil {
					t.Fatal(err)
				}
				reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || reply.StatusCode != c.status {
					t.Fatalf("%+v, %v", reply, err)
				}
				reply.Body.Close()
			})
		}
	}
}

func TestBodyMemoryIsSharedOut(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxBodyMemory = 100 << 10
	s := newServer(t, cfg, newNode())
	if w := do(s, "POST", "/v1/submissions/create", strings.Repeat(" ", 200<<10)+minimal); w.Code != 503 {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
	if w := do(s, "POST", "/v1/submissions/create", minimal); w.Code != 200 || s.bodies.Load() != 0 {
		t.Errorf("afterwards: status %d, %d bytes held", w.Code, s.bodies.Load())
	}
}

func TestRequestsAtOnceAreLimited(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxInFlight = 2
	n := newNode()
	n.hold = make(chan struct{})
	s := newServer(t, cfg, n)
	addr := listen(t, s)
	replies := make(chan int, 2)
	for range 2 {
		go func() {
			code, _ := post(t, addr, minimal)
			replies <- code
		}()
	}
	eventually(t, "both wait", func() bool { return s.inFlight.Load() == 2 })
	code, text := post(t, addr, minimal)
	if code != 503 || !strings.Contains(text, "not_executed") {
		t.Errorf("the third: status %d, body %s", code, text)
	}
	close(n.hold)
	for range 2 {
		if code := <-replies; code != 200 {
			t.Errorf("status %d", code)
		}
	}
	eventually(t, "slots are given back", func() bool { return s.inFlight.Load() == 0 })
}

func TestASlowBodyHoldsNoSlotAndEnds(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxInFlight = 1
	cfg.Limits.ReadTimeout = 300 * time.Millisecond
	s := newServer(t, cfg, newNode())
	addr := listen(t, s)
	slow := dial(t, addr)
	fmt.Fprintf(slow, "POST /v1/submissions/create HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{")
	if code, text := post(t, addr, minimal); code != 200 {
		t.Errorf("beside a slow client: status %d, body %s", code, text)
	}
	reply, _ := io.ReadAll(slow)
	if !bytes.HasPrefix(reply, []byte("HTTP/1.1 400")) {
		t.Errorf("the slow client got %.60q", reply)
	}
}

// The deadline of the reply before must not catch "100 Continue".
func TestALargeBodyMayWaitForAContinueOnAnOldConnection(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.WriteTimeout = 50 * time.Millisecond
	addr := listen(t, newServer(t, cfg, newNode()))
	c := dial(t, addr)
	in := bufio.NewReader(c)
	head := fmt.Sprintf("POST /v1/submissions/create HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n", len(minimal))
	fmt.Fprintf(c, "%s\r\n%s", head, minimal)
	first, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	time.Sleep(2 * cfg.Limits.WriteTimeout) // what is tested is that this time has passed
	fmt.Fprintf(c, "%sExpect: 100-continue\r\n\r\n", head)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = in.ReadString('\n')
	fmt.Fprint(c, minimal)
	second, err := http.ReadResponse(in, nil)
	if err != nil || second.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", second, err)
	}
}

func TestAHeaderThatDoesNotEndIsCut(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.ReadHeaderTimeout = 200 * time.Millisecond
	cfg.Limits.MaxHeaderBytes = 8 << 10
	addr := listen(t, newServer(t, cfg, newNode()))
	c := dial(t, addr)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: h\r\nX: ")
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("read: %v", err)
	}
	c = dial(t, addr)
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	status, _ := bufio.NewReader(c).ReadString('\n')
	if status != "" && !strings.Contains(status, "431") {
		t.Errorf("reply to a header of 64 KiB: %q", status)
	}
}

func TestQuietConnectionsMakeRoomForNewOnes(t *testing.T) {
	cfg := testConfig()
	cfg.Limits.MaxConnections = 4
	s := newServer(t, cfg, newNode())
	addr := listen(t, s)
	idle := make([]net.Conn, 20)
	for i := range idle {
		idle[i] = dial(t, addr)
	}
	if code, text := post(t, addr, minimal); code != 200 {
		t.Errorf("status %d, body %s", code, text)
	}
	eventually(t, "there are no more than four", func() bool {
		s.conns.mu.Lock()
		defer s.conns.mu.Unlock()
		return len(s.conns.open) <= 4
	})
	if _, err := io.ReadAll(idle[0]); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the first connection: %v", err)
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	n := newNode()
	n.hold = make(chan struct{})
	s := newServer(t, testConfig(), n)
	addr := listen(t, s)
	reply := make(chan int, 1)
	go func() {
		code, _ := post(t, addr, minimal)
		reply <- code
	}()
	eventually(t, "the request is under way", func() bool { return s.inFlight.Load() == 1 })
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	<-s.stopping
	close(n.hold)
	if code := <-reply; code != 200 {
		t.Errorf("status %d", code)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestMetricsAreByRouteAndNotByPath(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := New(testConfig(), newNode(), nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	do(s, "POST", "/v1/submissions/create", minimal)
	do(s, "GET", "/v1/submissions/status/x", "")
	do(s, "BREW", "/coffee/1", "")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		for _, m := range f.Metric {
			text.WriteString(f.GetName())
			for _, l := range m.Label {
				text.WriteString(" " + l.GetValue())
			}
			text.WriteString("\n")
		}
	}
	for _, want := range []string{
		"ha_dispatcher_rest_requests_total 200 POST create\n", "ha_dispatcher_rest_requests_total 200 GET status\n",
		"ha_dispatcher_rest_requests_total 468 other error\n", "ha_dispatcher_rest_in_flight_requests\n",
		"ha_dispatcher_rest_request_duration_seconds create\n", "ha_dispatcher_rest_event_streams\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if _, err := New(testConfig(), newNode(), nil, reg); err == nil {
		t.Error("a second server with the same registry is accepted")
	}
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", true)
	return a
}

// issue writes <name>.pem and <name>.key.
func (a *authority) issue(t *testing.T, name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: ca,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if ca {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	rawKey, _ := x509.MarshalECPrivateKey(key)
	for suffix, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func TestAClientCertificateIsAnIdentity(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "server", false)
	a.issue(t, "carol", false)
	cfg := testConfig()
	cfg.TLS = TLSConfig{CertFile: a.path("server.pem"), KeyFile: a.path("server.key"), ClientCAFile: a.path("ca.pem")}
	n := newNode()
	addr := listen(t, newServer(t, cfg, n))
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for who, want := range map[string]int{"": 401, "carol": 200} {
		conf := &tls.Config{RootCAs: roots}
		if who != "" {
			pair, err := tls.LoadX509KeyPair(a.path(who+".pem"), a.path(who+".key"))
			if err != nil {
				t.Fatal(err)
			}
			conf.Certificates = []tls.Certificate{pair}
		}
		transport := &http.Transport{TLSClientConfig: conf}
		r, err := (&http.Client{Transport: transport}).Post("https://"+addr+"/v1/submissions/create", "", strings.NewReader(minimal))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		transport.CloseIdleConnections()
		if r.StatusCode != want {
			t.Errorf("%q: status %d, want %d", who, r.StatusCode, want)
		}
	}
	if len(n.asked) != 1 || n.asked[0].User != "carol" {
		t.Errorf("requests %+v", n.asked)
	}
}

func TestACertificateIsReadAgainWhenItChanges(t *testing.T) {
	a := newAuthority(t)
	first, _ := a.issue(t, "server", false)
	cfg := testConfig()
	cfg.TLS = TLSConfig{CertFile: a.path("server.pem"), KeyFile: a.path("server.key")}
	addr := listen(t, newServer(t, cfg, newNode()))
	serial := func() *big.Int {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // looks at the certificate only
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber
	}
	if serial().Cmp(first.SerialNumber) != 0 {
		t.Fatal("not the first certificate")
	}
	second, _ := a.issue(t, "server", false)
	eventually(t, "the second certificate is shown", func() bool { return serial().Cmp(second.SerialNumber) == 0 })
	for _, broken := range []TLSConfig{
		{CertFile: "none", KeyFile: "none"}, {CertFile: a.path("server.pem"), KeyFile: a.path("ca.key")},
		{CertFile: a.path("server.pem"), KeyFile: a.path("server.key"), ClientCAFile: a.path("ca.key")},
	} {
		cfg.TLS = broken
		if _, err := New(cfg, newNode(), nil, nil); err == nil {
			t.Errorf("%+v is accepted", broken)
		}
	}
}
