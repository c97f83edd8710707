package mesosutil

import (
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// AttributeMap indexes the attributes of an offer by name. When a name comes
// twice, the last one counts.
func AttributeMap(attributes []mesos.Attribute) map[string]mesos.Attribute {
	m := make(map[string]mesos.Attribute, len(attributes))
	for _, a := range attributes {
		m[a.Name] = a
	}
	return m
}

// AttributeText returns the value of an attribute as `mesos-agent
// --attributes` would write it: a number, `[1-5,7-7]`, `{a,b}` or plain text.
// An attribute without a value of its declared type gives "".
func AttributeText(a *mesos.Attribute) string {
	switch a.Type {
	case mesos.SCALAR:
		if a.Scalar != nil {
			return strconv.FormatFloat(a.Scalar.Value, 'f', -1, 64)
		}
	case mesos.RANGES:
		if a.Ranges != nil {
			return rangesText(a.Ranges.Range)
		}
	case mesos.SET:
		if a.Set != nil {
			return "{" + strings.Join(a.Set.Item, ",") + "}"
		}
	case mesos.TEXT:
		if a.Text != nil {
			return a.Text.Value
		}
	}
	return ""
}

// AttributesText writes attributes as `name:value;name:value`, in their order.
func AttributesText(attributes []mesos.Attribute) string {
	parts := make([]string, len(attributes))
	for i := range attributes {
		parts[i] = attributes[i].Name + ":" + AttributeText(&attributes[i])
	}
	return strings.Join(parts, ";")
}

func rangesText(ranges []mesos.Value_Range) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = strconv.FormatUint(r.Begin, 10) + "-" + strconv.FormatUint(r.End, 10)
	}
	return "[" + strings.Join(parts, ",") + "]"
}
