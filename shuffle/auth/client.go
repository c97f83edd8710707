package auth

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
)

// Client is the peer's side of a handshake, as Spark's client does it: for the
// registrar, for tests and for measuring tools. The service itself never connects
// anywhere.
type Client struct {
	AppID, Secret string
	// Engine uses the X25519 handshake; otherwise SASL.
	Engine bool
	// EngineVersion and Cipher are as in Config.
	EngineVersion int
	Cipher        string
	// Encrypt asks for auth-conf (SASL only).
	Encrypt bool
}

// Run does the handshake; call sends the body of an RPC and returns the
// answer's. The channel is nil when the connection stays in the clear.
func (c Client) Run(call func([]byte) ([]byte, error)) (Channel, error) {
	if c.Engine {
		return c.runEngine(call)
	}
	return c.runSASL(call)
}

func (c Client) runEngine(call func([]byte) ([]byte, error)) (Channel, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	challenge := sealAuthMessage(c.AppID, c.Secret, nil, private.PublicKey()).encode()
	raw, err := call(challenge)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 || raw[0] != tagChallenge {
		return nil, errors.New("not a handshake response")
	}
	m, ok := parseAuthMessage(raw)
	if !ok || m.appID != c.AppID {
		return nil, errors.New("malformed handshake response")
	}
	peer, err := m.open(c.Secret, challenge)
	if err != nil {
		return nil, fmt.Errorf("the server does not know the secret: %w", err)
	}
	shared, err := private.ECDH(peer)
	if err != nil {
		return nil, err
	}
	keys := engineKeys(shared, append(bytes.Clone(challenge), raw...), c.EngineVersion)
	return keys.channel(c.Cipher, false), nil
}

func (c Client) runSASL(call func([]byte) ([]byte, error)) (Channel, error) {
	raw, err := call(encodeSASL(c.AppID, nil))
	if err != nil {
		return nil, err
	}
	offer, err := parseDirectives(string(raw))
	if err != nil {
		return nil, err
	}
	d := digest{secret: c.Secret, nonce: offer["nonce"], cnonce: base64.StdEncoding.EncodeToString(random(saslNonceSz)), qop: qopAuth}
	extra := ""
	if c.Encrypt {
		d.qop, extra = qopConf, `,cipher="3des"`
	}
	text := fmt.Sprintf(`charset=utf-8,username="%s",realm="default",nonce="%s",nc=%s,cnonce="%s",digest-uri="%s",maxbuf=65536,response=%s,qop=%s%s`,
		base64.StdEncoding.EncodeToString([]byte(saslUser)), d.nonce, saslCount, d.cnonce, saslURI, d.response("AUTHENTICATE"), d.qop, extra)
	raw, err = call(encodeSASL(c.AppID, []byte(text)))
	if err != nil {
		return nil, err
	}
	if string(raw) != "rspauth="+d.response("") {
		return nil, errors.New("the server does not know the secret")
	}
	if !c.Encrypt {
		return nil, nil
	}
	return newSASLChannel(d.a1(), false, 0), nil
}
