package javaser

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeUTF reads Java's modified UTF-8: NUL takes two bytes, and characters
// outside the basic plane are two surrogates of three bytes each. A surrogate
// without its partner becomes U+FFFD, as a Go string cannot hold it.
func decodeUTF(raw []byte) (string, bool) {
	if plain(raw) {
		return string(raw), true
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); {
		unit, n := codeUnit(raw[i:])
		if n == 0 {
			return "", false
		}
		i += n
		if !utf16.IsSurrogate(unit) {
			b.WriteRune(unit)
			continue
		}
		low, m := rune(0), 0
		if i < len(raw) {
			low, m = codeUnit(raw[i:])
		}
		if r := utf16.DecodeRune(unit, low); m > 0 && r != utf8.RuneError {
			b.WriteRune(r)
			i += m
			continue
		}
		b.WriteRune(utf8.RuneError)
	}
	return b.String(), true
}

func plain(raw []byte) bool {
	for _, c := range raw {
		if c == 0 || c >= 0x80 {
			return false
		}
	}
	return true
}

// codeUnit reads one UTF-16 code unit and how many bytes it takes; 0 if there
// is none.
func codeUnit(b []byte) (rune, int) {
	next := func(i int) (rune, bool) {
		if i >= len(b) || b[i]&0xc0 != 0x80 {
			return 0, false
		}
		return rune(b[i] & 0x3f), true
	}
	switch c := b[0]; {
	case c != 0 && c < 0x80:
		return rune(c), 1
	case c&0xe0 == 0xc0:
		if low, ok := next(1); ok {
			return rune(c&0x1f)<<6 | low, 2
		}
	case c&0xf0 == 0xe0:
		mid, ok := next(1)
		low, also := next(2)
		if ok && also {
			return rune(c&0x0f)<<12 | mid<<6 | low, 3
		}
	}
	return 0, 0
}
