package rest

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	annsToken = "anns-token-0123456789"
	bobsToken = "bobs-token-0123456789"
)

func tokenFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func TestStateChangesNeedAToken(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "# people\n\nann: "+annsToken+"\nbob:"+bobsToken+"\n")
	for name, c := range map[string]struct {
		header string
		status int
		user   string
	}{
		"none":                    {"", 401, ""},
		"bearer":                  {"Bearer " + annsToken, 200, "ann"},
		"bearer in small letters": {"bearer " + bobsToken, 200, "bob"},
		"wrong token":             {"Bearer " + annsToken + "x", 401, ""},
		"prefix of a token":       {"Bearer " + annsToken[:10], 401, ""},
		"empty bearer":            {"Bearer ", 401, ""},
		"basic":                   {basic("ann", annsToken), 200, "ann"},
		"basic of somebody else":  {basic("ann", bobsToken), 401, ""},
		"unknown scheme":          {"Digest x", 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			s := newServer(t, cfg, n)
			w := do(s, "POST", "/v1/submissions/create", minimal, "Authorization", c.header)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d; body %s", w.Code, c.status, w.Body)
			}
			if c.status == 401 && (w.Header().Get("WWW-Authenticate") == "" || !strings.Contains(w.Body.String(), "ErrorResponse")) {
				t.Errorf("headers %v, body %s", w.Header(), w.Body)
			}
			if c.status == 200 && n.asked[0].User != c.user {
				t.Errorf("user %q, want %q", n.asked[0].User, c.user)
			}
			if w := do(s, "GET", "/v1/drivers", ""); w.Code != 200 {
				t.Errorf("a read without a token: status %d", w.Code)
			}
		})
	}
}

func TestReadsNeedATokenWhereConfigured(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile, cfg.Auth.Reads = tokenFile(t, "ann:"+annsToken), true
	s := newServer(t, cfg, newNode())
	for _, path := range []string{"/v1/drivers", "/v1/drivers/x", "/v1/cluster", "/v1/events", "/v1/submissions/status/x"} {
		if w := do(s, "GET", path, ""); w.Code != 401 {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	if w := do(s, "GET", "/v2", ""); w.Code != 468 {
		t.Errorf("an unknown path: status %d", w.Code)
	}
}

func TestTokensAreReadAgainWhenTheFileChanges(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "ann:"+annsToken)
	s := newServer(t, cfg, newNode())
	submit := func(token string) int {
		return do(s, "POST", "/v1/submissions/create", minimal, "Authorization", "Bearer "+token).Code
	}
	if got := submit(bobsToken); got != 401 {
		t.Fatalf("status %d before the change", got)
	}
	eventually(t, "the new token is accepted", func() bool {
		if err := os.WriteFile(cfg.Auth.TokenFile, []byte("bob:"+bobsToken+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return submit(bobsToken) == 200
	})
	if got := submit(annsToken); got != 401 {
		t.Errorf("status %d for a token that was taken away", got)
	}
	s.auth.file.looked = time.Time{}
	if err := os.WriteFile(cfg.Auth.TokenFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := submit(bobsToken); got != 200 {
		t.Errorf("status %d after the file was broken; the tokens must stay", got)
	}
}

func TestTokenFilesThatCannotBeUsedAreRefused(t *testing.T) {
	for _, content := range []string{"", "# none\n", "ann", "ann:short", ":" + annsToken} {
		cfg := testConfig()
		cfg.Auth.TokenFile = tokenFile(t, content)
		if _, err := New(cfg, newNode(), nil, nil); err == nil || strings.Contains(err.Error(), annsToken) {
			t.Errorf("%q: error %v", content, err)
		}
	}
	cfg := testConfig()
	cfg.Auth.TokenFile = filepath.Join(t.TempDir(), "none")
	if _, err := New(cfg, newNode(), nil, nil); err == nil {
		t.Error("a missing file is accepted")
	}
}

func TestNetworksDecideWhoIsServedAndWhoNeedsNoToken(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "ann:"+annsToken)
	cfg.Auth.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	cfg.Auth.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	s := newServer(t, cfg, newNode())
	for source, want := range map[string]int{
		"192.168.0.1:5": 403, "10.2.0.1:5": 401, "10.1.0.1:5": 200, "[::ffff:10.1.0.1]:5": 200, "[fd00::1]:5": 401, "[fe80::1%eth0]:5": 403, "x": 403,
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/submissions/create", strings.NewReader(minimal))
		r.RemoteAddr = source
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", source, w.Code, want)
		}
	}
}

func TestPagesOfOtherOriginsCannotSubmit(t *testing.T) {
	n := newNode()
	s := newServer(t, testConfig(), n)
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://elsewhere.example"}, {"Origin", "null"},
	} {
		w := do(s, "POST", "/v1/submissions/create", minimal, append(header, "Content-Type", "text/plain")...)
		if w.Code != 403 || !strings.Contains(w.Body.String(), "not_executed") {
			t.Errorf("%v: status %d, body %s", header, w.Code, w.Body)
		}
	}
	if len(n.asked) != 0 {
		t.Errorf("%d submissions got through", len(n.asked))
	}
	if w := do(s, "POST", "/v1/submissions/create", minimal, "Sec-Fetch-Site", "same-origin"); w.Code != 200 {
		t.Errorf("same origin: status %d", w.Code)
	}
}

func TestAnOpenPortIsRefusedUnlessItIsMeant(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"loopback":            {Config{Addr: "127.0.0.1:7077"}, ""},
		"loopback by name":    {Config{Addr: "localhost:7077"}, ""},
		"loopback of IPv6":    {Config{Addr: "[::1]:7077"}, ""},
		"all interfaces":      {Config{Addr: ":7077"}, "run commands"},
		"an address":          {Config{Addr: "10.0.0.1:7077"}, "run commands"},
		"with tokens":         {Config{Addr: ":7077", Auth: AuthConfig{TokenFile: "f"}}, ""},
		"meant":               {Config{Addr: ":7077", Auth: AuthConfig{AllowUnauthenticated: true}}, ""},
		"with a client CA":    {Config{Addr: ":7077", TLS: TLSConfig{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}}, ""},
		"TLS alone":           {Config{Addr: ":7077", TLS: TLSConfig{CertFile: "c", KeyFile: "k"}}, "run commands"},
		"no key":              {Config{Addr: "127.0.0.1:1", TLS: TLSConfig{CertFile: "c"}}, "key file"},
		"client CA alone":     {Config{Addr: "127.0.0.1:1", TLS: TLSConfig{ClientCAFile: "c"}}, "server certificate"},
		"reads without means": {Config{Addr: "127.0.0.1:1", Auth: AuthConfig{Reads: true}}, "neither a token file"},
		"no address":          {Config{}, "host:port"},
		"negative limit":      {Config{Addr: "127.0.0.1:1", Limits: Limits{MaxInFlight: -1}}, "MaxInFlight"},
	} {
		err := c.cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not so within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
