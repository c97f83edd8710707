package auth

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"math/big"
)

// What the old protocol negotiates, and what is accepted of it. The client
// chooses the iterations, and each costs the server time.
const (
	legacyKDF           = "PBKDF2WithHmacSHA1"
	legacyMaxIterations = 100_000
	legacyRandom        = 16
)

// legacyChallenge is the client's message of the protocol of 2.2.0 to 3.1.2.
type legacyChallenge struct {
	appID      string
	kdf        string
	iterations int
	cipher     string
	keyBits    int
	nonce      []byte
	challenge  []byte
}

func parseLegacyChallenge(p []byte) (m legacyChallenge, ok bool) {
	f := fields{p: p[1:], ok: true}
	m = legacyChallenge{appID: string(f.bytes()), kdf: string(f.bytes()), iterations: f.i32(),
		cipher: string(f.bytes()), keyBits: f.i32(), nonce: f.bytes(), challenge: f.bytes()}
	return m, f.ok && len(f.p) == 0
}

func (m legacyChallenge) encode() []byte {
	p := appendField(appendField([]byte{tagLegacy}, []byte(m.appID)), []byte(m.kdf))
	p = binary.BigEndian.AppendUint32(p, uint32(m.iterations))
	p = binary.BigEndian.AppendUint32(appendField(p, []byte(m.cipher)), uint32(m.keyBits))
	return appendField(appendField(p, m.nonce), m.challenge)
}

func (m legacyChallenge) acceptable() bool {
	return m.kdf == legacyKDF && m.cipher == AESCTR && len(m.nonce) > 0 &&
		m.iterations > 0 && m.iterations <= legacyMaxIterations &&
		(m.keyBits == 128 || m.keyBits == 192 || m.keyBits == 256)
}

func (m legacyChallenge) key(secret string, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha1.New, secret, salt, m.iterations, m.keyBits/8)
}

// streams gives the two keystreams of the handshake itself: both directions
// start at the same key and counter, which is one of its weaknesses.
func (m legacyChallenge) streams(key []byte) (in, out cipher.Stream) {
	iv := make([]byte, aes.BlockSize)
	copy(iv, m.nonce)
	return mustCTR(key, iv), mustCTR(key, iv)
}

func (h *Handshake) receiveLegacy(body []byte) ([]byte, error) {
	m, ok := parseLegacyChallenge(body)
	if !ok || !m.acceptable() {
		return nil, errUnknown
	}
	secret, known := h.cfg.Secrets(m.appID)
	if !known {
		return nil, errUnauthenticated
	}
	key, err := m.key(secret, m.nonce)
	if err != nil {
		return nil, errUnauthenticated
	}
	in, out := m.streams(key)
	plain := make([]byte, len(m.challenge))
	in.XORKeyStream(plain, m.challenge)
	prefix := append([]byte(m.appID), m.nonce...)
	if len(plain) <= len(prefix) || subtle.ConstantTimeCompare(plain[:len(prefix)], prefix) != 1 {
		return nil, errUnauthenticated
	}
	answer := append(bytes.Clone(prefix), plusOne(plain[len(prefix):])...)
	salt, outIV, inIV := random(legacyRandom), random(aes.BlockSize), random(aes.BlockSize)
	sessionKey, err := m.key(secret, salt)
	if err != nil {
		return nil, errUnauthenticated
	}
	reply := []byte{tagChallenge} // the same byte as the new protocol's messages
	for _, part := range [][]byte{answer, salt, outIV, inIV} {
		sealed := make([]byte, len(part))
		out.XORKeyStream(sealed, part)
		reply = appendField(reply, sealed)
	}
	h.session = &Session{AppID: m.appID, Mechanism: "engine-legacy",
		Channel: sessionKeys{key: sessionKey, toServer: inIV, toPeer: outIV}.channel(AESCTR, true)}
	return reply, nil
}

// plusOne is Java's new BigInteger(b).add(ONE).toByteArray(): a signed
// big-endian number in as few bytes as two's complement allows.
func plusOne(b []byte) []byte {
	v := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	v.Add(v, big.NewInt(1))
	if v.Sign() < 0 {
		// BitLen of -v-1 is the number of bits below the sign bit.
		n := new(big.Int).Not(v).BitLen()/8 + 1
		out := new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*n))).Bytes()
		return out
	}
	return v.FillBytes(make([]byte, v.BitLen()/8+1))
}
