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
	if pattern.MatchString(key) || pattern.MatchString(value) {
		return RedactedText
	}
	return value
}
