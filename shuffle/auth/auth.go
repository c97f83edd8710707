package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Secrets finds the shared secret of an application. It must be safe for
// concurrent use. The second result is false if there is none.
type Secrets func(appID string) (secret string, ok bool)

// Config says which handshakes a server accepts. The zero value with Secrets
// set accepts SASL only.
type Config struct {
	Secrets Secrets
	// Crypto accepts AuthEngine handshakes (spark.network.crypto.enabled).
	Crypto bool
	// SASLFallback accepts SASL although Crypto is on (spark.network.crypto.saslFallback).
	SASLFallback bool
	// Legacy accepts the AuthEngine protocol of Spark 2.2.0 to 3.1.2, whose
	// session key an eavesdropper can recover (CVE-2021-38296).
	Legacy bool
	// Cipher is spark.network.crypto.cipher: AESCTR (also if empty) or AESGCM.
	Cipher string
	// EngineVersion is spark.network.crypto.authEngineVersion: 1 (also if zero) or 2.
	EngineVersion int
	// AlwaysEncrypt refuses SASL without encryption (spark.network.sasl.serverAlwaysEncrypt).
	AlwaysEncrypt bool
	// MaxEncryptedBlock bounds the plain bytes of one outgoing SASL block
	// (spark.network.sasl.maxEncryptedBlockSize); zero means 64 KiB.
	MaxEncryptedBlock int
}

// The ciphers of Config.Cipher.
const (
	AESCTR = "AES/CTR/NoPadding"
	AESGCM = "AES/GCM/NoPadding"
)

// Validate reports a setting that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.Secrets == nil:
		return errors.New("authentication needs secrets")
	case c.Cipher != "" && c.Cipher != AESCTR && c.Cipher != AESGCM:
		return fmt.Errorf("spark.network.crypto.cipher %q is not supported: use %s or %s", c.Cipher, AESCTR, AESGCM)
	case c.EngineVersion < 0 || c.EngineVersion > 2:
		return fmt.Errorf("spark.network.crypto.authEngineVersion %d is not supported: use 1 or 2", c.EngineVersion)
	case c.MaxEncryptedBlock < 0 || c.MaxEncryptedBlock > maxSASLBlock:
		return fmt.Errorf("spark.network.sasl.maxEncryptedBlockSize %d is not in 1 to %d", c.MaxEncryptedBlock, maxSASLBlock)
	}
	return nil
}

// Session is the outcome of a handshake.
type Session struct {
	AppID     string  // the application whose secret the peer knows
	Mechanism string  // for logs: "sasl", "sasl-conf", "engine-v1", "engine-v2", "engine-legacy"
	Channel   Channel // nil: the connection goes on in the clear
}

// Channel encrypts one connection in both directions. Seal and Reader may be
// used concurrently with each other, each by one goroutine.
type Channel interface {
	// Seal encrypts p, which it may overwrite, and returns the bytes to send;
	// they are valid until the next call.
	Seal(p []byte) []byte
	// Reader decrypts what arrives on src. It is called once.
	Reader(src io.Reader) io.Reader
}

// Error is a failed step. Its text is meant for the peer and holds no secret.
type Error struct {
	Text  string
	Fatal bool // the connection must be closed after the answer
}

func (e *Error) Error() string { return e.Text }

var (
	errUnauthenticated = &Error{Text: "Authentication failed.", Fatal: true}
	errNotSASL         = &Error{Text: "Expected SaslMessage, received something else (maybe your client does not have SASL enabled?)"}
	errUnknown         = &Error{Text: "Unknown challenge message.", Fatal: true}
)

// The first byte of the handshake messages.
const (
	tagSASL      = 0xEA
	tagLegacy    = 0xFA
	tagChallenge = 0xFB
)

// maxMessage bounds a handshake message; real ones are a few hundred bytes.
const maxMessage = 16 << 10

// Handshake authenticates one connection. It is not safe for concurrent use.
type Handshake struct {
	cfg     *Config
	sasl    *saslServer
	session *Session
}

// NewHandshake starts the handshake of one connection; cfg is not changed.
func NewHandshake(cfg *Config) *Handshake { return &Handshake{cfg: cfg} }

// Session is nil until the handshake has succeeded. It is in force for the
// bytes after the reply to the message that completed it.
func (h *Handshake) Session() *Session { return h.session }

// Receive takes the body of one RPC and gives the body of the answer. Every
// error is an [*Error]; if it is not fatal the peer may start over.
func (h *Handshake) Receive(body []byte) (reply []byte, err error) {
	switch {
	case len(body) == 0 || len(body) > maxMessage:
		return nil, errUnknown
	case body[0] == tagSASL && (!h.cfg.Crypto || h.cfg.SASLFallback):
		return h.receiveSASL(body)
	case body[0] == tagChallenge && h.cfg.Crypto:
		return h.receiveChallenge(body)
	case body[0] == tagLegacy && h.cfg.Crypto && h.cfg.Legacy:
		return h.receiveLegacy(body)
	case h.cfg.Crypto && !h.cfg.SASLFallback:
		return nil, errUnknown
	}
	return nil, errNotSASL
}

// fields reads the length-prefixed fields that all handshake messages consist of.
type fields struct {
	p  []byte
	ok bool
}

func (f *fields) i32() int {
	if len(f.p) < 4 {
		f.ok = false
		return 0
	}
	v := int32(binary.BigEndian.Uint32(f.p))
	f.p = f.p[4:]
	return int(v)
}

func (f *fields) bytes() []byte {
	n := f.i32()
	if !f.ok || n < 0 || n > len(f.p) {
		f.ok = false
		return nil
	}
	b := f.p[:n]
	f.p = f.p[n:]
	return b
}

func appendField(p []byte, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(p, uint32(len(b))), b...)
}
