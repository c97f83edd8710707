package ui

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// redactPairs hides the values of the pairs whose key or value is secret, and
// the password in a URL.
func redactPairs(pattern *regexp.Regexp, in []launch.KV) []pair {
	out := make([]pair, 0, len(in))
	for _, kv := range in {
		out = append(out, pair{Name: kv.Key, Value: redactURL(sparkconf.RedactValue(pattern, kv.Key, kv.Value))})
	}
	return out
}

// redactWords hides secrets in a command line: the value of key=value, -Dkey=value
// and --key=value, the word behind an option --key, and the password in a URL.
// A word that is secret by itself is hidden whole.
func redactWords(pattern *regexp.Regexp, words []string) []string {
	out := make([]string, 0, len(words))
	secretNext := false
	for _, word := range words {
		word = redactURL(word) // before the = of its query is taken for an assignment
		option := strings.HasPrefix(word, "-")
		key, value, assigned := strings.Cut(word, "=")
		switch {
		case secretNext && !option:
			out = append(out, sparkconf.RedactedText)
		case assigned:
			out = append(out, key+"="+redactURL(sparkconf.RedactValue(pattern, key, value)))
		case option:
			out = append(out, word)
		default:
			out = append(out, sparkconf.RedactValue(pattern, "", word))
		}
		secretNext = option && !assigned && sparkconf.RedactValue(pattern, word, "") != ""
	}
	return out
}

// redactURL hides the password of a URL that carries one.
func redactURL(text string) string {
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
	return scheme + "://" + sparkconf.RedactedText + "@" + rest
}
