package rest

import "unicode/utf8"

// object writes one JSON object the way Jackson does with INDENT_OUTPUT, which
// is how Spark's replies look: `"key" : value`, two blanks, keys in the order of
// the alphabet (which is the caller's part), no newline at the end.
type object struct{ b []byte }

func newObject(b []byte, action string) object {
	o := object{append(b, '{')}
	o.text("action", action)
	return o
}

func (o *object) key(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, "\n  \""...)
	o.b = append(o.b, name...)
	o.b = append(o.b, "\" : "...)
}

func (o *object) text(name, value string) {
	o.key(name)
	o.b = appendString(o.b, value)
}

func (o *object) optional(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) bool(name string, value bool) {
	o.key(name)
	if value {
		o.b = append(o.b, "true"...)
	} else {
		o.b = append(o.b, "false"...)
	}
}

func (o *object) optionalTexts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	o.key(name)
	o.b = append(o.b, "[ "...)
	for i, v := range values {
		if i > 0 {
			o.b = append(o.b, ", "...)
		}
		o.b = appendString(o.b, v)
	}
	o.b = append(o.b, " ]"...)
}

func (o *object) end() []byte { return append(o.b, "\n}"...) }

const upperHex = "0123456789ABCDEF"

// appendString quotes as Jackson does: only what JSON demands is escaped.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		b = appendEscape(b, c)
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\t':
		return append(b, '\\', 't')
	case '\r':
		return append(b, '\\', 'r')
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	}
	return append(b, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
}
