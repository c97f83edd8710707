package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// malformedError is a request that cannot be understood. Its text goes to the
// client; it must not quote values, because they may be secrets.
type malformedError struct{ text string }

func (e *malformedError) Error() string { return e.text }

func malformed(format string, args ...any) error {
	return &malformedError{fmt.Sprintf(format, args...)}
}

// maxDepth is how deep a value of an unknown field may nest.
const maxDepth = 64

// scanner walks over one JSON text without building a tree. encoding/json can
// express neither that a key came twice nor that a null stood where a string
// was due, and a Decoder costs several times as much as the rest of a
// submission's handler. What is not on the hot path (escapes, numbers, values
// of unknown fields) is left to encoding/json.
//
// The strings it returns are parts of data, which saves an allocation each.
type scanner struct {
	data string
	pos  int
}

func (s *scanner) syntax(what string) error {
	if s.pos >= len(s.data) {
		return malformed("unexpected end of the JSON text at byte %d, where %s should be", s.pos, what)
	}
	return malformed("invalid JSON at byte %d, where %s should be", s.pos, what)
}

// peek is the next byte that is not white space, or 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte, what string) error {
	if s.peek() != c {
		return s.syntax(what)
	}
	s.pos++
	return nil
}

// object calls member for each member with the scanner ahead of its value.
func (s *scanner) object(member func(key string) error) error {
	return s.list('{', '}', "'}' or ','", func() error {
		if s.peek() != '"' {
			return s.syntax("a field name in double quotes")
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := s.take(':', "':'"); err != nil {
			return err
		}
		return member(key)
	})
}

// array calls element with the scanner ahead of each element.
func (s *scanner) array(element func() error) error {
	return s.list('[', ']', "']' or ','", element)
}

func (s *scanner) list(begin, end byte, what string, item func() error) error {
	if err := s.take(begin, "'"+string(begin)+"'"); err != nil {
		return err
	}
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case end:
			s.pos++
			return nil
		default:
			return s.syntax(what)
		}
	}
}

// text reads the string that the scanner stands at. Bytes that are no UTF-8
// become U+FFFD, because the replicated log takes nothing else.
func (s *scanner) text() (string, error) {
	start := s.pos
	simple, ascii := true, true
	for i := start + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			if !simple {
				return s.unescape(s.data[start:s.pos])
			}
			v := s.data[start+1 : i]
			if !ascii && !utf8.ValidString(v) {
				v = strings.ToValidUTF8(v, "\uFFFD")
			}
			return v, nil
		case c == '\\':
			simple = false
			i++
		case c < ' ':
			s.pos = i
			return "", s.syntax("an escape in place of a control character")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.pos = len(s.data)
	return "", s.syntax("'\"'")
}

func (s *scanner) unescape(quoted string) (string, error) {
	var v string
	if err := json.Unmarshal([]byte(quoted), &v); err != nil {
		return "", malformed("invalid escape in the string that ends at byte %d", s.pos)
	}
	return v, nil
}

// kind of a JSON value.
type kind int

const (
	kindScalar kind = iota
	kindNull
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"a string", "null", "an array", "an object"}[k]
}

// scalar reads a value as Spark's server does where it wants a string: numbers
// and booleans stand for their text. For any other kind the string is empty.
func (s *scanner) scalar() (string, kind, error) {
	switch s.peek() {
	case '"':
		v, err := s.text()
		return v, kindScalar, err
	case '{':
		return "", kindObject, s.skip()
	case '[':
		return "", kindArray, s.skip()
	}
	literal, err := s.literal()
	if literal == "null" {
		return "", kindNull, err
	}
	return literal, kindScalar, err
}

// literal reads a number, true, false or null.
func (s *scanner) literal() (string, error) {
	start := s.pos
	end := start
	for end < len(s.data) && !strings.ContainsRune(" \t\r\n,:]}[{\"", rune(s.data[end])) {
		end++
	}
	if !json.Valid([]byte(s.data[start:end])) {
		return "", s.syntax("a value")
	}
	s.pos = end
	return s.data[start:end], nil
}

// skip passes over any value.
func (s *scanner) skip() error {
	switch s.peek() {
	case '"':
		_, err := s.text()
		return err
	case '{', '[':
	default:
		_, err := s.literal()
		return err
	}
	start, depth := s.pos, 0
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			if _, err := s.text(); err != nil {
				return err
			}
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return malformed("values nest deeper than %d levels at byte %d", maxDepth, s.pos)
			}
		case '}', ']':
			depth--
		}
		s.pos++
		if depth == 0 {
			if !json.Valid([]byte(s.data[start:s.pos])) {
				return malformed("invalid JSON in the value that begins at byte %d", start)
			}
			return nil
		}
	}
	return s.syntax("the end of a value")
}
