package auth

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Constants of Spark's use of DIGEST-MD5. The host part of the URI is the
// string "null" because Spark passes no server name to Java's SASL classes.
const (
	saslUser    = "sparkSaslUser"
	saslRealm   = "default"
	saslURI     = "null/default"
	saslCount   = "00000001"
	saslCipher  = "3des"
	qopAuth     = "auth"
	qopConf     = "auth-conf"
	emptyBody   = "00000000000000000000000000000000" // stands for the body's hash when qop is not auth
	saslNonceSz = 30
)

// saslServer is a handshake between its first and its second message.
type saslServer struct {
	appID  string
	secret string
	known  bool
	nonce  string
}

// parseSASL takes off Spark's wrapper: the application id, which also names the
// secret, and the length of the payload, which nobody reads.
func parseSASL(p []byte) (appID string, payload []byte, ok bool) {
	f := fields{p: p[1:], ok: true}
	appID = string(f.bytes())
	f.i32()
	return appID, f.p, f.ok
}

func encodeSASL(appID string, payload []byte) []byte {
	return appendField(appendField([]byte{tagSASL}, []byte(appID)), payload)
}

func (h *Handshake) receiveSASL(body []byte) ([]byte, error) {
	appID, payload, ok := parseSASL(body)
	if !ok {
		return nil, errNotSASL
	}
	if h.sasl == nil || len(payload) == 0 {
		h.sasl = &saslServer{appID: appID, nonce: base64.StdEncoding.EncodeToString(random(saslNonceSz))}
		h.sasl.secret, h.sasl.known = h.cfg.Secrets(appID)
		return []byte(h.saslChallenge()), nil
	}
	s := h.sasl
	h.sasl = nil // a nonce is good for one try
	r, err := parseDirectives(string(payload))
	if err != nil {
		return nil, &Error{Text: "Malformed SASL response: " + err.Error(), Fatal: true}
	}
	if err := h.checkSASL(r); err != nil {
		return nil, err
	}
	d := digest{secret: s.secret, nonce: s.nonce, cnonce: r["cnonce"], qop: r["qop"]}
	proven := subtle.ConstantTimeCompare([]byte(d.response("AUTHENTICATE")), []byte(r["response"])) == 1
	if !proven || !s.known || r["nonce"] != s.nonce || appID != s.appID {
		return nil, errUnauthenticated
	}
	h.session = &Session{AppID: s.appID, Mechanism: "sasl"}
	if d.qop == qopConf {
		h.session.Mechanism = "sasl-conf"
		h.session.Channel = newSASLChannel(d.a1(), true, h.cfg.MaxEncryptedBlock)
	}
	return []byte("rspauth=" + d.response("")), nil
}

// saslChallenge offers 3DES alone. Java's server also lists DES and 40-bit
// RC4; since the list is not protected against tampering, offering them would
// let anyone on the path choose them.
func (h *Handshake) saslChallenge() string {
	qop := qopConf + "," + qopAuth
	if h.cfg.AlwaysEncrypt {
		qop = qopConf
	}
	return fmt.Sprintf(`realm="%s",nonce="%s",qop="%s",charset=utf-8,cipher="%s",algorithm=md5-sess`,
		saslRealm, h.sasl.nonce, qop, saslCipher)
}

func (h *Handshake) checkSASL(r map[string]string) error {
	refuse := func(format string, args ...any) error {
		return &Error{Text: "SASL: " + fmt.Sprintf(format, args...), Fatal: true}
	}
	qop := r["qop"]
	switch {
	case r["username"] != base64.StdEncoding.EncodeToString([]byte(saslUser)), r["realm"] != saslRealm,
		r["digest-uri"] != saslURI, r["nc"] != saslCount, r["cnonce"] == "", len(r["response"]) != 32:
		return refuse("not a response that Spark's client gives")
	case qop != qopAuth && qop != qopConf:
		return refuse("protection %q was not offered", qop)
	case qop == qopAuth && h.cfg.AlwaysEncrypt:
		return refuse("this server demands encryption (spark.authenticate.enableSaslEncryption)")
	case qop == qopConf && r["cipher"] != saslCipher:
		return refuse("cipher %q was not offered", r["cipher"])
	}
	return nil
}

// digest computes the hashes of RFC 2831 section 2.1.2.1.
type digest struct{ secret, nonce, cnonce, qop string }

func (d digest) a1() [md5.Size]byte {
	user := base64.StdEncoding.EncodeToString([]byte(saslUser))
	password := base64.StdEncoding.EncodeToString([]byte(d.secret))
	h := md5.Sum([]byte(user + ":" + saslRealm + ":" + password))
	return md5.Sum([]byte(string(h[:]) + ":" + d.nonce + ":" + d.cnonce))
}

// response is the client's proof for method AUTHENTICATE, the server's for "".
func (d digest) response(method string) string {
	a1 := d.a1()
	a2 := method + ":" + saslURI
	if d.qop != qopAuth {
		a2 += ":" + emptyBody
	}
	return hexMD5(hex.EncodeToString(a1[:]) + ":" + d.nonce + ":" + saslCount + ":" + d.cnonce + ":" + d.qop + ":" + hexMD5(a2))
}

func hexMD5(s string) string {
	h := md5.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// parseDirectives reads name=value,name="quoted value",… A repeated name is
// refused, since the two ends could disagree about which one counts.
func parseDirectives(s string) (map[string]string, error) {
	out := map[string]string{}
	for s = strings.TrimLeft(s, ", "); s != ""; s = strings.TrimLeft(s, ", ") {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("no value in %q", s)
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			if value, rest, ok = unquote(rest[1:]); !ok {
				return nil, fmt.Errorf("unfinished quote after %s", name)
			}
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s given twice", name)
		}
		out[name], s = value, rest
	}
	return out, nil
}

func unquote(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
