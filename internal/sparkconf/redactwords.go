package sparkconf

import (
	"net/url"
	"regexp"
	"strings"
)

// RedactWords hides secrets in a command line: the value of key=value, -Dkey=value
// and --key=value, the word behind an option --key, and the password in a URL.
// A word that is secret by itself is hidden whole.
func RedactWords(pattern *regexp.Regexp, words []string) []string {
	out := make([]string, 0, len(words))
	secretNext := false
	for _, word := range words {
		word = RedactURL(word) // before the = of its query is taken for an assignment
		option := strings.HasPrefix(word, "-")
		key, value, assigned := strings.Cut(word, "=")
		switch {
		case secretNext && !option:
			out = append(out, RedactedText)
		case assigned:
			out = append(out, key+"="+RedactURL(RedactValue(pattern, key, value)))
		case option:
			out = append(out, word)
		default:
			out = append(out, RedactValue(pattern, "", word))
		}
		secretNext = option && !assigned && RedactValue(pattern, word, "") != ""
	}
	return out
}

// RedactURL hides the password of a URL that carries one.
func RedactURL(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	if _, set := u.User.Password(); !set {
		return text
	}
	u.User = nil
	scheme, rest, _ := strings.Cut(u.String(), "://")
	return scheme + "://" + RedactedText + "@" + rest
}
