package mesosutil

import (
	"errors"
	"fmt"
	"strings"
)

// MaxSettingLength is the largest accepted size, in bytes, of one textual
// setting (a whole constraint string, label list, volume list …). Longer text
// is refused with a *ParseError, so that one request cannot make a scheduler
// spend its time, or fill a task message, on a single property.
const MaxSettingLength = 64 << 10

// ParseError says which piece of a setting is malformed and what was expected.
// Every parser of this package returns it, so a caller can show the user the
// one bad item instead of the entire list.
type ParseError struct {
	// Key is the Spark property the text came from; empty when the caller
	// passed bare text.
	Key string
	// Kind names what was parsed: "constraint", "volume", "port mapping" …
	Kind string
	// Item is the malformed piece exactly as given. It is empty for secrets,
	// whose text must never reach a log or a reply.
	Item string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *ParseError) Error() string {
	var b strings.Builder
	if e.Key != "" {
		b.WriteString(e.Key)
		b.WriteString(": ")
	}
	b.WriteString("bad ")
	b.WriteString(e.Kind)
	if e.Item != "" {
		fmt.Fprintf(&b, " %q", e.Item)
	}
	b.WriteString(": ")
	b.WriteString(e.Reason)
	return b.String()
}

// withKey names the property in a *ParseError made from bare text.
func withKey(err error, key string) error {
	var pe *ParseError
	if errors.As(err, &pe) && pe.Key == "" {
		pe.Key = key
	}
	return err
}

// checkLength refuses text that is longer than MaxSettingLength.
func checkLength(kind, text string) error {
	if len(text) <= MaxSettingLength {
		return nil
	}
	return &ParseError{
		Kind:   kind,
		Item:   "",
		Reason: fmt.Sprintf("the text has %d bytes, at most %d are allowed", len(text), MaxSettingLength),
	}
}

// Lookup returns the value of a Spark property and whether it is set.
// MapLookup adapts a plain map. Functions of this package that read several
// properties take a Lookup, so that they depend on no configuration type.
type Lookup func(key string) (value string, ok bool)

// MapLookup reads properties from m, which must not change meanwhile.
func MapLookup(m map[string]string) Lookup {
	return func(key string) (string, bool) {
		v, ok := m[key]
		return v, ok
	}
}

// SplitList splits a Spark list property the way Spark 3 does: at commas,
// with blanks around each item removed and blank items dropped.
// It returns nil when nothing is left.
//
//	list := item ("," item)*
func SplitList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// parseItems applies parse to each item and keeps the good ones in order;
// the errors of the others come back in the same order.
func parseItems[T any](items []string, parse func(string) (T, error)) ([]T, []error) {
	var (
		good []T
		bad  []error
	)
	for _, item := range items {
		v, err := parse(item)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		good = append(good, v)
	}
	return good, bad
}

// parseAll is the strict form of parseItems: the first bad item wins.
func parseAll[T any](items []string, parse func(string) (T, error)) ([]T, error) {
	good, bad := parseItems(items, parse)
	if len(bad) > 0 {
		return nil, bad[0]
	}
	return good, nil
}
