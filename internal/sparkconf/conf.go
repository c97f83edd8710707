package sparkconf

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Conf is an immutable set of properties. The zero value is empty. It is safe
// for concurrent use.
type Conf struct {
	m map[string]string
}

// New returns a Conf with a copy of properties.
func New(properties map[string]string) Conf {
	return Conf{m: maps.Clone(properties)}
}

// With returns a Conf that has the properties of c and, winning over them,
// those of over.
func (c Conf) With(over map[string]string) Conf {
	m := make(map[string]string, len(c.m)+len(over))
	maps.Copy(m, c.m)
	maps.Copy(m, over)
	return Conf{m: m}
}

// Len returns the number of properties.
func (c Conf) Len() int { return len(c.m) }

// Map returns a copy of the properties.
func (c Conf) Map() map[string]string {
	m := make(map[string]string, len(c.m))
	maps.Copy(m, c.m)
	return m
}

// All iterates over the properties in the order of their keys.
func (c Conf) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(c.m)) {
			if !yield(k, c.m[k]) {
				return
			}
		}
	}
}

// Prefixed returns the properties whose keys start with prefix, with the
// prefix cut off.
func (c Conf) Prefixed(prefix string) map[string]string {
	out := make(map[string]string)
	for k, v := range c.m {
		if name, ok := strings.CutPrefix(k, prefix); ok {
			out[name] = v
		}
	}
	return out
}

// Lookup returns the text of a property and whether it is set.
func (c Conf) Lookup(key string) (string, bool) {
	v, ok := c.m[key]
	return v, ok
}

// Text returns the text of a property, or def when it is not set.
func (c Conf) Text(key, def string) string {
	if v, ok := c.m[key]; ok {
		return v
	}
	return def
}

// Bool returns a boolean property, or def when it is not set.
func (c Conf) Bool(key string, def bool) (bool, error) {
	return get(c, key, def, AllowedBool, ParseBool)
}

// Int returns a whole number, or def when the property is not set.
func (c Conf) Int(key string, def int64) (int64, error) {
	return get(c, key, def, AllowedInt, ParseInt)
}

// Double returns a number, or def when the property is not set.
func (c Conf) Double(key string, def float64) (float64, error) {
	return get(c, key, def, AllowedDouble, ParseDouble)
}

// Time returns a duration whose bare numbers count in unit, or def when the
// property is not set.
func (c Conf) Time(key string, unit, def time.Duration) (time.Duration, error) {
	return get(c, key, def, AllowedTime, func(s string) (time.Duration, bool) { return ParseTime(s, unit) })
}

// Memory returns a size in bytes, whose bare numbers count bytes, or def when
// the property is not set.
func (c Conf) Memory(key string, def int64) (int64, error) {
	return get(c, key, def, AllowedMemory, ParseMemory)
}

// List returns the items of a list; nil when there is none.
func (c Conf) List(key string) []string { return ParseList(c.m[key]) }

func get[T any](c Conf, key string, def T, allowed string, parse func(string) (T, bool)) (T, error) {
	text, set := c.m[key]
	if !set {
		return def, nil
	}
	v, ok := parse(text)
	if !ok {
		return def, &ValueError{Key: key, Value: text, Allowed: allowed}
	}
	return v, nil
}
