package mesosutil

import "strings"

// Characters that make ShellEscape quote a word. The first group is Spark's;
// Spark leaves the second group bare, which lets a newline or `~` through.
const (
	sparkSpecial = " '<>&|?*;!#\\()\"$`"
	shellSpecial = sparkSpecial + "\t\n\r~[]{}"
)

// ShellEscape makes s one word of a POSIX shell command line. It writes the
// bytes that Spark's dispatcher writes:
//
//   - text in matching quotes ('…' or "…", with something inside) passes
//     untouched: the submitter did the quoting;
//   - text with a character that the shell treats specially is put in double
//     quotes, with ", `, $ and \ escaped by a backslash;
//   - other text, and the empty string, passes untouched. (An empty argument
//     therefore vanishes; a caller that must keep it writes "".)
//
// It differs from Spark where Spark's result is not one word:
//
//   - quoted text passes untouched only if nothing inside ends the quotes or
//     runs a command: `"a";cmd;"b"`, `'a';cmd;'b'`, "`cmd`", "$(cmd)" and text
//     whose last quote is escaped are quoted like any other text;
//   - newline, carriage return, tab, ~, [, ], { and } are special as well.
//
// A NUL byte cannot be written in a command line; callers refuse it before.
//
//	app name  →  "app name"        --a=$2  →  "--a=\$2"
//	\value    →  "\\value"         it's    →  "it's"
func ShellEscape(s string) string {
	if isSafelyQuoted(s) || !strings.ContainsAny(s, shellSpecial) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if strings.IndexByte("\"`$\\", s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isSafelyQuoted reports whether s is one quoted shell word that runs nothing.
func isSafelyQuoted(s string) bool {
	if len(s) < 3 || s[0] != s[len(s)-1] || strings.ContainsAny(s, "\n\r\x00") {
		return false
	}
	inner := s[1 : len(s)-1]
	switch s[0] {
	case '\'':
		return !strings.Contains(inner, "'")
	case '"':
		return closedInDoubleQuotes(inner)
	}
	return false
}

// closedInDoubleQuotes reports whether text between double quotes neither ends
// them nor substitutes a command.
func closedInDoubleQuotes(inner string) bool {
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '\\':
			i++
			if i == len(inner) {
				return false // would escape the closing quote
			}
		case '"', '`':
			return false
		case '$':
			if i+1 < len(inner) && inner[i+1] != '\\' && !isVariableStart(inner[i+1:]) {
				return false
			}
		}
	}
	return true
}

// isVariableStart reports whether s, which follows a "$", begins a plain
// variable (name or {name}); "(", "[" and the operators inside "${…}" can run
// commands.
func isVariableStart(s string) bool {
	if s[0] == '{' {
		name, _, ok := strings.Cut(s[1:], "}")
		return ok && isName(name)
	}
	return isNameByte(s[0])
}

func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isNameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// LibraryPathPrefix returns the assignment that puts library directories in
// front of the agent's own, for writing before a command:
//
//	LD_LIBRARY_PATH="<p1>:<p2>:$LD_LIBRARY_PATH"
//
// No paths give "". Quotes, backquotes and backslashes are escaped, and so is
// a "$" that does not start a plain variable: `$HOME/lib` still expands on the
// agent, `$(cmd)` does not run (it does with Spark).
func LibraryPathPrefix(paths []string) string {
	if len(paths) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(`LD_LIBRARY_PATH="`)
	for _, p := range paths {
		writeExpandable(&b, p)
		b.WriteByte(':')
	}
	b.WriteString(`$LD_LIBRARY_PATH"`)
	return b.String()
}

// ShellPath makes a path on the agent one word of a shell command line in which
// plain variables (`$HOME/spark`, `${SPARK_HOME}`) and a leading `~/` still
// expand, as they do where Spark writes paths without quotes. Nothing in it runs
// a command. Variables expand to one word, whatever is in them.
func ShellPath(p string) string {
	tilde := ""
	if rest, found := strings.CutPrefix(p, "~/"); found {
		tilde, p = "~/", rest
	}
	if !strings.ContainsAny(p, shellSpecial) {
		return tilde + p
	}
	var b strings.Builder
	b.WriteString(tilde + `"`)
	writeExpandable(&b, p)
	b.WriteByte('"')
	return b.String()
}

// writeExpandable writes text that stands between double quotes and may use
// plain variables.
func writeExpandable(b *strings.Builder, s string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '`', '\\':
			b.WriteByte('\\')
		case '$':
			if i+1 < len(s) && !isVariableStart(s[i+1:]) {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(s[i])
	}
}
