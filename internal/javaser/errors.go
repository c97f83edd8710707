package javaser

import (
	"errors"
	"fmt"
)

// What can be wrong with a stream; a [SyntaxError] wraps one of them.
var (
	ErrNotStream = errors.New("not a Java serialisation stream")
	ErrTruncated = errors.New("the stream ends too early")
	ErrSyntax    = errors.New("the stream breaks the serialisation protocol")
	ErrLimit     = errors.New("the stream exceeds a limit of this reader")
	// ErrException says that the writer failed half-way and said so in the stream.
	ErrException = errors.New("the stream ends with an exception of its writer")
)

// SyntaxError says what is wrong with a stream, and where.
type SyntaxError struct {
	Offset int // bytes from the start
	Err    error
	Detail string
}

func (e *SyntaxError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("javaser: at byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("javaser: at byte %d: %v: %s", e.Offset, e.Err, e.Detail)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// TypeError says that a value is not of the class that was looked for.
type TypeError struct {
	Want, Got string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("javaser: expected %s, found %s", e.Want, e.Got)
}

func mismatch(want string, v Value) error { return &TypeError{Want: want, Got: ClassName(v)} }
