package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of [Reader.Next] that say more than "the stream ended".
var (
	// ErrFrameTooLarge is wrapped when a frame is longer than the reader's limit.
	ErrFrameTooLarge = errors.New("frame too large")
	// ErrNoMemory is wrapped when the [Budget] has no room for an unfinished frame.
	ErrNoMemory = errors.New("no memory left for large requests")
)

// FrameError is a frame that was refused before it was read. When enough of it
// had arrived to know whom to answer, Type and RequestID say so. The stream is
// out of step afterwards; the caller answers and hangs up.
type FrameError struct {
	Err       error
	Known     bool // Type and RequestID are valid
	Type      FrameType
	RequestID int64
}

func (e *FrameError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *FrameError) Unwrap() error { return e.Err }

// Budget lends memory for frames that do not fit a reader's own buffer. It is
// shared by all connections and must be safe for concurrent use.
type Budget interface {
	// Acquire reserves n bytes, or reports that it cannot.
	Acquire(n int64) bool
	// Release gives n bytes back.
	Release(n int64)
}

// growStep is how much memory an unfinished large frame gets at a time. A peer
// that declares a large frame and then stalls holds no more than this beyond
// what it really sent.
const growStep = 256 << 10

// Reader cuts frames out of a byte stream. It is not safe for concurrent use.
type Reader struct {
	br     *bufio.Reader
	max    int64
	budget Budget
	skip   int   // bytes of the last frame still in br
	held   int64 // bytes acquired for the last frame
	// Started, if set, is called when the first bytes of a frame have arrived.
	Started func()
}

// NewReader reads frames of at most max bytes from br. Frames that fit br's
// buffer are decoded in place; larger ones take memory from budget (nil: no bound).
func NewReader(br *bufio.Reader, max int64, budget Budget) *Reader {
	return &Reader{br: br, max: min(max, maxFrame), budget: budget}
}

// Reset makes the reader go on with another byte stream, as when encryption
// starts. Bytes that were read ahead of the switch are returned.
func (r *Reader) Reset(src io.Reader) (ahead []byte) {
	r.release()
	if n := r.br.Buffered(); n > 0 {
		p, _ := r.br.Peek(n)
		ahead = append(ahead, p...)
	}
	r.br.Reset(src)
	return ahead
}

// SetMax changes the limit on frames, as when a peer has authenticated.
func (r *Reader) SetMax(max int64) { r.max = min(max, maxFrame) }

// Raw reads the bytes that follow a frame (StreamResponse, UploadStream). The
// last frame becomes invalid.
func (r *Reader) Raw() io.Reader {
	r.release()
	return r.br
}

func (r *Reader) release() {
	if r.skip > 0 {
		r.br.Discard(r.skip) // cannot fail: the bytes were peeked
		r.skip = 0
	}
	if r.held > 0 {
		r.budget.Release(r.held)
		r.held = 0
	}
}

// Close gives back what the last frame holds.
func (r *Reader) Close() { r.release() }

// Next reads one frame. The frame and what it aliases are valid until the next
// call. It returns io.EOF at a clean end, io.ErrUnexpectedEOF inside a frame,
// a [*FrameError] for a refused frame, an error that wraps [ErrMalformed] for
// one that makes no sense.
func (r *Reader) Next() (Frame, error) {
	r.release()
	head, err := r.br.Peek(lengthSize)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	if r.Started != nil {
		r.Started()
	}
	length := int64(binary.BigEndian.Uint64(head))
	switch {
	case length <= lengthSize:
		return Frame{}, &FrameError{Err: fmt.Errorf("%w: Frame length should be positive: %d", ErrMalformed, length-lengthSize)}
	case length > r.max:
		return Frame{}, r.refuse(length, fmt.Errorf("%w: Too large frame: %d, limit %d", ErrFrameTooLarge, length-lengthSize, r.max))
	case length <= int64(r.br.Size()):
		return r.small(int(length))
	}
	return r.large(length)
}

func (r *Reader) small(n int) (Frame, error) {
	p, err := r.br.Peek(n)
	if err != nil {
		return Frame{}, unexpected(err)
	}
	r.skip = n
	return DecodeFrame(p[lengthSize:])
}

func (r *Reader) large(length int64) (Frame, error) {
	r.br.Discard(lengthSize)
	left := length - lengthSize
	var p []byte
	for left > 0 {
		n := min(left, max(growStep, int64(len(p)))) // doubling: copies stay linear
		if r.budget != nil {
			if !r.budget.Acquire(n) {
				return Frame{}, refused(p, fmt.Errorf("%w: %d of %d bytes read; try again later or send smaller requests",
					ErrNoMemory, len(p), length))
			}
			r.held += n
		}
		got := len(p)
		p = append(make([]byte, 0, got+int(n)), p...)[:got+int(n)]
		if _, err := io.ReadFull(r.br, p[got:]); err != nil {
			return Frame{}, unexpected(err)
		}
		left -= n
	}
	return DecodeFrame(p)
}

// refuse looks at the start of a frame that will not be read, to learn whom to answer.
func (r *Reader) refuse(length int64, err error) error {
	p, _ := r.br.Peek(int(min(length, lengthSize+1+8)))
	return refused(p[min(lengthSize, len(p)):], err)
}

func refused(p []byte, err error) *FrameError {
	e := &FrameError{Err: err}
	if len(p) >= 9 && FrameType(p[0]) == RPCRequest {
		e.Known, e.Type, e.RequestID = true, RPCRequest, int64(binary.BigEndian.Uint64(p[1:]))
	}
	return e
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
