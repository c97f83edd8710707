package ui

import (
	"regexp"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// redactPairs hides the values of the pairs whose key or value is secret, and
// the password in a URL.
func redactPairs(pattern *regexp.Regexp, in []launch.KV) []pair {
	out := make([]pair, 0, len(in))
	for _, kv := range in {
		out = append(out, pair{Name: kv.Key, Value: sparkconf.RedactURL(sparkconf.RedactValue(pattern, kv.Key, kv.Value))})
	}
	return out
}
