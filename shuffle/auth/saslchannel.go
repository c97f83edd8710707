package auth

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// Sizes of the encrypted SASL stream: blocks of length:i64 (counting itself)
// and a token, cipher(msg | pad | mac[0..9]) | 0x0001 | seq:i32.
const (
	defaultSASLBlock = 64 << 10
	maxSASLBlock     = 1 << 20
	saslMAC          = 10
	saslTrailer      = 6
)

// saslChannel is auth-conf: 3DES in CBC mode, chained over the whole
// connection, and an HMAC-MD5 over each token and its number.
type saslChannel struct {
	max       int
	enc       cipher.BlockMode
	dec       cipher.BlockMode
	outMAC    []byte
	inMAC     []byte
	outSeq    uint32
	inSeq     uint32
	out       []byte
	in, plain []byte
	src       io.Reader
}

func newSASLChannel(a1 [md5.Size]byte, server bool, maxBlock int) *saslChannel {
	if maxBlock == 0 {
		maxBlock = defaultSASLBlock
	}
	key := func(magic string) []byte {
		h := md5.Sum(append(a1[:], magic...))
		return h[:]
	}
	const sign, seal = "Digest session key to %s signing key magic constant", "Digest H(A1) to %s sealing key magic constant"
	in, out := "client-to-server", "server-to-client"
	if !server {
		in, out = out, in
	}
	c := &saslChannel{max: maxBlock, inMAC: key(fmt.Sprintf(sign, in)), outMAC: key(fmt.Sprintf(sign, out))}
	block, iv := tripleDES(key(fmt.Sprintf(seal, in)))
	c.dec = cipher.NewCBCDecrypter(block, iv)
	block, iv = tripleDES(key(fmt.Sprintf(seal, out)))
	c.enc = cipher.NewCBCEncrypter(block, iv)
	return c
}

// tripleDES makes the two-key EDE cipher and the IV of a sealing key.
func tripleDES(kc []byte) (cipher.Block, []byte) {
	k1, k2 := desKey(kc[:7]), desKey(kc[7:14])
	b, err := des.NewTripleDESCipher(slices.Concat(k1, k2, k1))
	if err != nil {
		panic("auth: 3DES key of a wrong size: " + err.Error())
	}
	return b, kc[8:16]
}

// desKey spreads 56 bits over 8 bytes, the lowest bit of each making its parity odd.
func desKey(k []byte) []byte {
	var v uint64
	for _, b := range k {
		v = v<<8 | uint64(b)
	}
	out := make([]byte, 8)
	for i := range out {
		b := byte(v>>(49-7*i)) << 1
		out[i] = b | byte(1-bits.OnesCount8(b)%2)
	}
	return out
}

func (c *saslChannel) Seal(p []byte) []byte {
	c.out = c.out[:0]
	for len(p) > 0 {
		n := min(len(p), c.max)
		c.seal(p[:n])
		p = p[n:]
	}
	return c.out
}

func (c *saslChannel) seal(msg []byte) {
	seq := binary.BigEndian.AppendUint32(nil, c.outSeq)
	c.outSeq++
	pad := des.BlockSize - (len(msg)+saslMAC)%des.BlockSize
	sealed := len(msg) + pad + saslMAC
	c.out = binary.BigEndian.AppendUint64(c.out, uint64(8+sealed+saslTrailer))
	start := len(c.out)
	c.out = append(c.out, msg...)
	for range pad {
		c.out = append(c.out, byte(pad))
	}
	c.out = append(c.out, hmacMD5(c.outMAC, seq, msg)[:saslMAC]...)
	c.enc.CryptBlocks(c.out[start:], c.out[start:])
	c.out = append(append(c.out, 0, 1), seq...)
}

func (c *saslChannel) Reader(src io.Reader) io.Reader {
	c.src = src
	return (*saslReader)(c)
}

type saslReader saslChannel

func (r *saslReader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

func (r *saslReader) fill() error {
	var head [8]byte
	if _, err := io.ReadFull(r.src, head[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint64(head[:])) - 8
	if n < 2*des.BlockSize+saslTrailer || n > maxSASLBlock+64 || (n-saslTrailer)%des.BlockSize != 0 {
		return fmt.Errorf("%w: token of %d bytes", ErrTampered, n)
	}
	r.in = slices.Grow(r.in[:0], int(n))[:n]
	if _, err := io.ReadFull(r.src, r.in); err != nil {
		return midway(err)
	}
	return r.open()
}

func (r *saslReader) open() error {
	sealed, trailer := r.in[:len(r.in)-saslTrailer], r.in[len(r.in)-saslTrailer:]
	r.dec.CryptBlocks(sealed, sealed)
	seq := binary.BigEndian.AppendUint32(nil, r.inSeq)
	padded, mac := sealed[:len(sealed)-saslMAC], sealed[len(sealed)-saslMAC:]
	pad := int(padded[len(padded)-1])
	ok := pad >= 1 && pad <= des.BlockSize && pad <= len(padded)
	if !ok {
		pad = 0 // go on, so that a bad pad costs as much as a bad MAC
	}
	msg := padded[:len(padded)-pad]
	want := hmacMD5(r.inMAC, seq, msg)[:saslMAC]
	if subtle.ConstantTimeCompare(mac, want) != 1 || !ok || trailer[0] != 0 || trailer[1] != 1 || string(trailer[2:]) != string(seq) {
		return fmt.Errorf("%w: token %d", ErrTampered, r.inSeq)
	}
	r.inSeq++
	r.plain = msg
	return nil
}
