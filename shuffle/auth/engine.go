package auth

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
)

// Sizes of the forward-secure handshake.
const (
	saltSize   = 16
	nonceSize  = 12
	sealedSize = nonceSize + 32 + 16 // nonce, X25519 public key, GCM tag
)

// authMessage is one side's half of the handshake: a public key, sealed under
// a key that both derive from the secret.
type authMessage struct {
	appID      string
	salt       []byte
	ciphertext []byte
}

func parseAuthMessage(p []byte) (m authMessage, ok bool) {
	f := fields{p: p[1:], ok: true}
	m = authMessage{appID: string(f.bytes()), salt: f.bytes(), ciphertext: f.bytes()}
	return m, f.ok && len(f.p) == 0 && len(m.salt) == saltSize && len(m.ciphertext) == sealedSize
}

func (m authMessage) encode() []byte {
	p := appendField([]byte{tagChallenge}, []byte(m.appID))
	return appendField(appendField(p, m.salt), m.ciphertext)
}

// additional is both the HKDF info and the AEAD's additional data; transcript
// is what went before, which ties the response to its challenge.
func (m authMessage) additional(transcript []byte) []byte {
	return bytes.Join([][]byte{[]byte(m.appID), m.salt, transcript}, nil)
}

func (m authMessage) aead(secret string, transcript []byte) cipher.AEAD {
	return mustGCM(derive([]byte(secret), m.salt, string(m.additional(transcript)), 16))
}

func (m authMessage) open(secret string, transcript []byte) (*ecdh.PublicKey, error) {
	raw, err := m.aead(secret, transcript).Open(nil, m.ciphertext[:nonceSize], m.ciphertext[nonceSize:], m.additional(transcript))
	if err != nil {
		return nil, err
	}
	return ecdh.X25519().NewPublicKey(raw)
}

func sealAuthMessage(appID, secret string, transcript []byte, pub *ecdh.PublicKey) authMessage {
	m := authMessage{appID: appID, salt: random(saltSize), ciphertext: random(nonceSize)}
	m.ciphertext = m.aead(secret, transcript).Seal(m.ciphertext, m.ciphertext, pub.Bytes(), m.additional(transcript))
	return m
}

func (h *Handshake) receiveChallenge(body []byte) ([]byte, error) {
	m, ok := parseAuthMessage(body)
	if !ok {
		return nil, errUnknown
	}
	secret, known := h.cfg.Secrets(m.appID)
	if !known {
		return nil, errUnauthenticated
	}
	peer, err := m.open(secret, nil)
	if err != nil {
		return nil, errUnauthenticated
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, errUnauthenticated
	}
	shared, err := private.ECDH(peer)
	if err != nil { // a low-order point
		return nil, errUnauthenticated
	}
	challenge := m.encode()
	response := sealAuthMessage(m.appID, secret, challenge, private.PublicKey()).encode()
	version := max(h.cfg.EngineVersion, 1)
	keys := engineKeys(shared, append(challenge, response...), version)
	h.session = &Session{AppID: m.appID, Mechanism: engineName(version), Channel: keys.channel(h.cfg.Cipher, true)}
	return response, nil
}

func engineName(version int) string {
	if version == 2 {
		return "engine-v2"
	}
	return "engine-v1"
}

// sessionKeys is what both sides know after a handshake.
type sessionKeys struct {
	key              []byte
	toServer, toPeer []byte // CTR's initial counters by direction; unused by GCM
}

// engineKeys derives the keys from the transcript. Version 1 uses the raw
// shared secret as an AES-256 key, version 2 one more derivation and AES-128.
func engineKeys(shared, transcript []byte, version int) sessionKeys {
	k := sessionKeys{
		key:      shared,
		toPeer:   derive(shared, transcript, "inputIv", aes.BlockSize),
		toServer: derive(shared, transcript, "outputIv", aes.BlockSize),
	}
	if version == 2 {
		k.key = derive(shared, transcript, "derivedKey", 16)
	}
	return k
}

func (k sessionKeys) channel(name string, server bool) Channel {
	if name == AESGCM {
		return &gcmChannel{key: k.key}
	}
	in, out := k.toServer, k.toPeer
	if !server {
		in, out = out, in
	}
	return &ctrChannel{in: mustCTR(k.key, in), out: mustCTR(k.key, out)}
}

func derive(ikm, salt []byte, info string, n int) []byte {
	key, err := hkdf.Key(sha256.New, ikm, salt, info, n)
	if err != nil {
		panic("auth: hkdf of a constant length: " + err.Error()) // only for n > 255 hashes
	}
	return key
}

func mustBlock(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic("auth: AES key of a wrong size: " + err.Error()) // sizes are ours, checked before
	}
	return b
}

func mustCTR(key, iv []byte) cipher.Stream { return cipher.NewCTR(mustBlock(key), iv) }

func mustGCM(key []byte) cipher.AEAD {
	a, err := cipher.NewGCM(mustBlock(key))
	if err != nil {
		panic("auth: GCM over AES: " + err.Error())
	}
	return a
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails; the runtime aborts if the kernel has no randomness
	return b
}
