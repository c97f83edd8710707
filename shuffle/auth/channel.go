package auth

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrTampered is wrapped by a channel's reader when what arrived was not
// sealed by the peer. The connection must be closed.
var ErrTampered = errors.New("encrypted stream is damaged")

// ctrChannel is AES-CTR: one endless keystream each way, no integrity.
type ctrChannel struct{ in, out cipher.Stream }

func (c *ctrChannel) Seal(p []byte) []byte {
	c.out.XORKeyStream(p, p)
	return p
}

func (c *ctrChannel) Reader(src io.Reader) io.Reader { return cipher.StreamReader{S: c.in, R: src} }

// The GCM form: each message is
//
//	total:i64 | headerLen:i8 | salt(K) | noncePrefix(7) | segments
//
// with K the session key's length, and each segment at most 32 KiB with its tag.
const (
	gcmSegment = 32<<10 - gcmTag
	gcmTag     = 16
	gcmPrefix  = 7
	// maxGCMMessage bounds what one incoming message may claim; Spark sends one
	// message per write, so a request with its frame.
	maxGCMMessage = 1<<31 - 1
)

// gcmChannel is AES-GCM with a key of its own for every message.
type gcmChannel struct {
	key []byte
	out []byte
}

func (c *gcmChannel) headerLen() int { return 1 + len(c.key) + gcmPrefix }

func (c *gcmChannel) messageKey(salt []byte, total uint64) cipher.AEAD {
	info := binary.BigEndian.AppendUint64(nil, total)
	return mustGCM(derive(c.key, salt, string(info), len(c.key)))
}

func (c *gcmChannel) Seal(p []byte) []byte {
	segments := max(1, (len(p)+gcmSegment-1)/gcmSegment)
	total := uint64(8 + c.headerLen() + len(p) + segments*gcmTag)
	salt := random(len(c.key) + gcmPrefix)
	out := binary.BigEndian.AppendUint64(c.out[:0], total)
	out = append(append(out, byte(c.headerLen())), salt...)
	aead := c.messageKey(salt[:len(c.key)], total)
	nonce := append([]byte(nil), salt[len(c.key):]...)
	nonce = append(nonce, make([]byte, 5)...)
	for i := range segments {
		n := min(gcmSegment, len(p))
		setGCMNonce(nonce, i, i == segments-1)
		out = aead.Seal(out, nonce, p[:n], nil)
		p = p[n:]
	}
	c.out = out
	return out
}

func setGCMNonce(nonce []byte, segment int, last bool) {
	binary.BigEndian.PutUint32(nonce[gcmPrefix:], uint32(segment))
	nonce[gcmPrefix+4] = 0
	if last {
		nonce[gcmPrefix+4] = 1
	}
}

func (c *gcmChannel) Reader(src io.Reader) io.Reader { return &gcmReader{c: c, src: src} }

// gcmReader opens one segment at a time, so that a message costs 32 KiB
// however long it says it is.
type gcmReader struct {
	c       *gcmChannel
	src     io.Reader
	aead    cipher.AEAD
	nonce   [gcmPrefix + 5]byte
	left    int64 // sealed bytes of the current message still to come
	segment int
	buf     []byte
	plain   []byte
}

func (r *gcmReader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

func (r *gcmReader) fill() error {
	if r.left == 0 {
		if err := r.header(); err != nil {
			return err
		}
	}
	if r.buf == nil {
		r.buf = make([]byte, gcmSegment+gcmTag)
	}
	sealed := r.buf[:min(r.left, int64(len(r.buf)))]
	if _, err := io.ReadFull(r.src, sealed); err != nil {
		return midway(err)
	}
	r.left -= int64(len(sealed))
	setGCMNonce(r.nonce[:], r.segment, r.left == 0)
	r.segment++
	var err error
	if r.plain, err = r.aead.Open(sealed[:0], r.nonce[:], sealed, nil); err != nil {
		return fmt.Errorf("%w: segment %d does not open", ErrTampered, r.segment-1)
	}
	return nil
}

func (r *gcmReader) header() error {
	head := make([]byte, 8+r.c.headerLen())
	if _, err := io.ReadFull(r.src, head); err != nil {
		return err // io.EOF between messages is a clean end
	}
	total := binary.BigEndian.Uint64(head)
	r.left = int64(total) - int64(len(head))
	if total > maxGCMMessage || r.left < gcmTag || int(head[8]) != r.c.headerLen() {
		return fmt.Errorf("%w: message of %d bytes with a header of %d", ErrTampered, total, head[8])
	}
	r.aead = r.c.messageKey(head[9:9+len(r.c.key)], total)
	copy(r.nonce[:], head[9+len(r.c.key):])
	r.segment = 0
	return nil
}

func midway(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
