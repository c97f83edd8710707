package mesosutil

import (
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// ParseLabels reads the text of a label property
// (`spark.mesos.driver.labels`, `spark.mesos.task.labels`,
// `spark.mesos.network.labels`):
//
//	labels := "" | label ("," label)*
//	label  := key ":" value
//
// `\,` and `\:` write a comma and a colon inside a key or value; a backslash
// itself cannot be escaped and stands for itself elsewhere. Blanks are kept.
// Commas at the end vanish. A label must have one colon that is not escaped,
// with text behind it; otherwise the *ParseError names it. Order is kept; ""
// gives an empty list.
//
//	`key:value`                   key=value
//	`key:value\:value`            key=value:value
//	`key:value\,value,key2:v2`    key=value,value  key2=v2
func ParseLabels(text string) ([]mesos.Label, error) {
	items, err := splitLabels(text)
	if err != nil {
		return nil, err
	}
	return parseAll(items, parseLabel)
}

// LabelsLenient keeps the well-formed labels and returns an error for each of
// the others, as Spark 2.2 did for tasks.
func LabelsLenient(text string) ([]mesos.Label, []error) {
	items, err := splitLabels(text)
	if err != nil {
		return nil, []error{err}
	}
	return parseItems(items, parseLabel)
}

func splitLabels(text string) ([]string, error) {
	if err := checkLength("label", text); err != nil {
		return nil, err
	}
	return splitUnescaped(text, ','), nil
}

func parseLabel(item string) (mesos.Label, error) {
	parts := splitUnescaped(item, ':')
	if len(parts) != 2 {
		return mesos.Label{}, &ParseError{Kind: "label", Item: item,
			Reason: `expected key:value with exactly one colon and a value; write \: and \, for a colon or comma inside`}
	}
	value := unescapeLabel(parts[1])
	return mesos.Label{Key: unescapeLabel(parts[0]), Value: &value}, nil
}

var labelUnescaper = strings.NewReplacer(`\,`, `,`, `\:`, `:`)

func unescapeLabel(s string) string { return labelUnescaper.Replace(s) }

// splitUnescaped splits at each sep that does not follow a backslash. Empty
// pieces at the end are dropped, so "" gives nil.
func splitUnescaped(s string, sep byte) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] == sep && (i == 0 || s[i-1] != '\\') {
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	out = append(out, s[start:])
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}
