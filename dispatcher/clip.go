package dispatcher

import (
	"strings"
	"unicode/utf8"
)

// clip makes a foreign text fit for the log: valid UTF-8, which protobuf demands,
// and at most limit bytes long.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for len(s) > 0 && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
