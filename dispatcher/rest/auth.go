package rest

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// authenticator decides whether a request may go on, and finds out who asks.
type authenticator struct {
	cfg      Config
	log      *slog.Logger
	required bool

	mu     sync.Mutex
	file   watchedFile
	tokens []token
}

// token is kept as a hash, so that comparing takes the same time whatever its
// length, and so that a core dump of the process does not hold it.
type token struct {
	name string
	hash [sha256.Size]byte
}

func newAuthenticator(cfg Config, log *slog.Logger) (*authenticator, error) {
	a := &authenticator{cfg: cfg, log: log, required: cfg.authenticates()}
	if cfg.Auth.TokenFile == "" {
		return a, nil
	}
	a.file.paths = []string{cfg.Auth.TokenFile}
	a.file.changed()
	tokens, err := readTokens(cfg.Auth.TokenFile)
	if err != nil {
		return nil, err
	}
	a.tokens = tokens
	return a, nil
}

// check returns nil when the request may go on.
func (a *authenticator) check(x *exchange) *failure {
	nets := a.cfg.Auth
	var source netip.Addr
	if len(nets.AllowedNetworks)+len(nets.TrustedNetworks) > 0 {
		source = sourceOf(x.r)
	}
	if len(nets.AllowedNetworks) > 0 && !within(source, nets.AllowedNetworks) {
		return &failure{
			status: http.StatusForbidden, outcome: notExecuted,
			message: "Requests from this network address are not allowed.",
		}
	}
	if !a.required || x.access() == accessNone || x.access() == accessRead && !nets.Reads {
		return nil
	}
	user, ok := a.identify(x.r)
	if ok {
		x.user = user
		return nil
	}
	if within(source, nets.TrustedNetworks) {
		return nil
	}
	return &failure{
		status: http.StatusUnauthorized, outcome: notExecuted, challenge: a.challenge(),
		message: "Authentication is required: send a token of this server as 'Authorization: Bearer <token>' " +
			"or as a Basic password, or use a client certificate where those are accepted.",
	}
}

func (a *authenticator) challenge() string {
	return `Bearer realm="ha-dispatcher", Basic realm="ha-dispatcher", charset="UTF-8"`
}

// identify finds the user by certificate or token.
func (a *authenticator) identify(r *http.Request) (user string, ok bool) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.VerifiedChains[0][0].Subject.CommonName, true
	}
	if name, password, basic := r.BasicAuth(); basic {
		return a.find(password, name)
	}
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "", false
	}
	return a.find(strings.TrimSpace(credentials), "")
}

// find looks for the token among all of them in constant time. A name that is
// given must be the token's.
func (a *authenticator) find(secret, name string) (user string, ok bool) {
	hash := sha256.Sum256([]byte(secret))
	for _, t := range a.current() {
		match := subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1
		if match && (name == "" || name == t.name) {
			user, ok = t.name, true
		}
	}
	return user, ok
}

// current returns the tokens, reading the file again when it has changed. A
// file that cannot be read leaves the tokens as they were.
func (a *authenticator) current() []token {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.file.paths) == 0 || !a.file.changed() {
		return a.tokens
	}
	tokens, err := readTokens(a.cfg.Auth.TokenFile)
	if err != nil {
		a.log.Error("token file changed and cannot be used; the tokens stay as they were", "err", err)
		return a.tokens
	}
	a.tokens = tokens
	a.log.Info("tokens read again", "count", len(tokens))
	return tokens
}

func readTokens(path string) ([]token, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("rest: token file: %w", err)
	}
	defer f.Close()
	var tokens []token
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, secret, found := strings.Cut(line, ":")
		name, secret = strings.TrimSpace(name), strings.TrimSpace(secret)
		if !found || name == "" || len(secret) < minToken {
			return nil, fmt.Errorf("rest: token file %s, line %d: want name:token, with a token of at least %d characters",
				path, n, minToken)
		}
		tokens = append(tokens, token{name, sha256.Sum256([]byte(secret))})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("rest: token file %s: %w", path, err)
	}
	if len(tokens) == 0 {
		return nil, errors.New("rest: token file " + path + " has no token")
	}
	return tokens, nil
}

// minToken keeps out what can be guessed: 16 characters of base64 are 96 bits.
const minToken = 16

func sourceOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
