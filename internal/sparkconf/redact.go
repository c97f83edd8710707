package sparkconf

import "regexp"

// RedactionKey is the property that holds another redaction pattern.
const RedactionKey = "spark.redaction.regex"

// RedactedText is what stands in the place of a hidden value, as in Spark.
const RedactedText = "*********(redacted)"

// DefaultRedaction is Spark's default pattern of secret keys and values.
var DefaultRedaction = regexp.MustCompile(`(?i)secret|password|token|access[.]?key`)

// Redaction returns the pattern of RedactionKey in conf, or DefaultRedaction.
// Go's syntax has no look-around and no back-references; a pattern with these
// is refused with a *ValueError.
func Redaction(conf Conf) (*regexp.Regexp, error) {
	text, ok := conf.Lookup(RedactionKey)
	if !ok {
		return DefaultRedaction, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, &ValueError{Key: RedactionKey, Value: text, Allowed: "a regular expression: " + err.Error()}
	}
	return re, nil
}

// Redact returns a copy of kv in which the value of each pair whose key or
// value matches pattern is RedactedText. It is to be used for whatever leaves
// the process for people to read: logs, pages, replies, error texts.
func Redact(pattern *regexp.Regexp, kv map[string]string) map[string]string {
	out := make(map[string]string, len(kv))
	for k, v := range kv {
		out[k] = RedactValue(pattern, k, v)
	}
	return out
}

// RedactValue is Redact for one pair. An empty pattern hides nothing.
func RedactValue(pattern *regexp.Regexp, key, value string) string {
	if pattern == nil || pattern.String() == "" {
		return value
	}
	if matches(pattern, key) || matches(pattern, value) {
		return RedactedText
	}
	return value
}

// matches is pattern.MatchString with a short cut for the default pattern,
// which each property of each submission is held against: a text that has
// the first three letters of none of its alternatives cannot match.
func matches(pattern *regexp.Regexp, text string) bool {
	if pattern == DefaultRedaction && !mayMatchDefault(text) {
		return false
	}
	return pattern.MatchString(text)
}

func mayMatchDefault(text string) bool {
	for i := 0; i+5 <= len(text); i++ { // "token" is the shortest match
		switch text[i] | 0x20 {
		case 's':
			if foldedEqual(text[i+1], text[i+2], 'e', 'c') {
				return true
			}
		case 'p':
			if foldedEqual(text[i+1], text[i+2], 'a', 's') {
				return true
			}
		case 't':
			if foldedEqual(text[i+1], text[i+2], 'o', 'k') {
				return true
			}
		case 'a':
			if foldedEqual(text[i+1], text[i+2], 'c', 'c') {
				return true
			}
		default:
			// (?i) folds U+017F (long s) to s and U+212A (Kelvin) to k, too.
			if text[i] >= 0x80 {
				return true
			}
		}
	}
	return false
}

func foldedEqual(a, b, wantA, wantB byte) bool { return a|0x20 == wantA && b|0x20 == wantB }
