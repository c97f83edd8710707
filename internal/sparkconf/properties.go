package sparkconf

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxPropertiesSize is the largest properties file that is read, in bytes.
const MaxPropertiesSize = 1 << 20

// SyntaxError says where a properties file is malformed.
type SyntaxError struct {
	Line   int // first line of the entry, from 1
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("properties file, line %d: %s", e.Line, e.Reason)
}

// ErrPropertiesTooLarge says that a file is over MaxPropertiesSize.
var ErrPropertiesTooLarge = errors.New("the properties file is larger than 1 MiB; split it or drop what is not needed")

// ParseProperties reads a file such as spark-defaults.conf: the syntax of
// java.util.Properties in UTF-8, of which only the keys that start with
// "spark." are kept, with blanks around their values removed.
//
//	entry   := blank* key ( blank* ("=" | ":") blank* | blank+ ) value
//	comment := blank* ("#" | "!") anything
//	blank   := space | tab | form feed
//
// A line that ends with an odd number of backslashes continues on the next
// one, whose leading blanks do not count. `\t`, `\n`, `\r`, `\f` and `\uXXXX`
// are escapes; a backslash before any other character stands for that
// character. Of a key that comes twice, the last value counts. Errors are a
// *SyntaxError, ErrPropertiesTooLarge, or those of r.
func ParseProperties(r io.Reader) (map[string]string, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxPropertiesSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxPropertiesSize {
		return nil, ErrPropertiesTooLarge
	}
	out := make(map[string]string)
	lines := splitLines(string(data))
	for i := 0; i < len(lines); i++ {
		first := i + 1
		entry := strings.TrimLeft(lines[i], propertyBlanks)
		if entry == "" || entry[0] == '#' || entry[0] == '!' {
			continue
		}
		for continues(entry) {
			entry = entry[:len(entry)-1]
			if i+1 == len(lines) {
				break
			}
			i++
			entry += strings.TrimLeft(lines[i], propertyBlanks)
		}
		key, value, err := parseEntry(entry)
		if err != nil {
			return nil, &SyntaxError{Line: first, Reason: err.Error()}
		}
		if strings.HasPrefix(key, "spark.") {
			out[key] = strings.TrimSpace(value)
		}
	}
	return out, nil
}

const propertyBlanks = " \t\f"

func splitLines(text string) []string {
	text = strings.TrimPrefix(text, "\ufeff")
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

// continues reports whether a line ends with an odd number of backslashes.
func continues(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

func parseEntry(entry string) (key, value string, err error) {
	end := keyEnd(entry)
	rest := strings.TrimLeft(entry[end:], propertyBlanks)
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], propertyBlanks)
	}
	if key, err = unescape(entry[:end]); err != nil {
		return "", "", err
	}
	value, err = unescape(rest)
	return key, value, err
}

// keyEnd returns the index of the first separator that is not escaped.
func keyEnd(entry string) int {
	for i := 0; i < len(entry); i++ {
		switch entry[i] {
		case '\\':
			i++
		case '=', ':', ' ', '\t', '\f':
			return i
		}
	}
	return len(entry)
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		if s[i+1] == 'u' {
			r, n, err := unicodeEscape(s[i:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += n
			continue
		}
		b.WriteByte(controlEscape(s[i+1]))
		i += 2
	}
	return b.String(), nil
}

func controlEscape(c byte) byte {
	switch c {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	}
	return c
}

// unicodeEscape reads one \uXXXX, or two that form a surrogate pair, at the
// start of s and returns the rune and the bytes it took.
func unicodeEscape(s string) (rune, int, error) {
	hi, ok := hexUnit(s)
	if !ok {
		return 0, 0, fmt.Errorf(`malformed \uXXXX escape in %.6q`, s)
	}
	if utf16.IsSurrogate(hi) {
		if lo, ok := hexUnit(s[6:]); ok {
			if r := utf16.DecodeRune(hi, lo); r != utf8.RuneError {
				return r, 12, nil
			}
		}
		return utf8.RuneError, 6, nil
	}
	return hi, 6, nil
}

func hexUnit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(v), err == nil
}
