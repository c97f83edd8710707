package sparkconf

import (
	"slices"
	"strings"
)

// Type is the form of a property's value.
type Type string

// The types of properties.
const (
	TypeText   Type = "text"
	TypeBool   Type = "boolean"
	TypeInt    Type = "whole number"
	TypeDouble Type = "number"
	TypeTime   Type = "time"
	TypeList   Type = "list"
	TypeChoice Type = "choice"
)

// Readers say which process looks at a property.
type Readers uint8

// Who reads a property.
const (
	Dispatcher  Readers = 1 << iota // the dispatcher's own configuration
	Submission                      // the properties sent with a driver
	Application                     // the scheduler backend of an application
	WebUI                           // the dispatcher's pages
)

// Has reports whether all of r2 are among r.
func (r Readers) Has(r2 Readers) bool { return r&r2 == r2 }

// String lists the readers in words, with commas.
func (r Readers) String() string {
	var names []string
	for i, name := range []string{"dispatcher", "submission", "application", "web UI"} {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Key describes one property.
type Key struct {
	// Name is the whole key, or, when it ends with a dot, the prefix of a
	// family of keys.
	Name string
	Type Type
	// Unit is what a bare number of a TypeTime counts ("s", "ms"), or the unit
	// of a number (documentation only).
	Unit string
	// Default is the text that is assumed when the property is not set; empty
	// when there is no default (or the default is the empty text).
	Default string
	// Min is the least value of a number, if not nil.
	Min *float64
	// Choices are the allowed values of a TypeChoice.
	Choices []string
	Since   string // Spark release; "-" undeclared; "ext" for ours
	Readers Readers
	Doc     string
}

// Extension reports whether the key is ours rather than Spark's.
func (k Key) Extension() bool { return k.Since == "ext" }

// Prefix reports whether the key stands for a family of keys.
func (k Key) Prefix() bool { return strings.HasSuffix(k.Name, ".") }

// Keys returns every `spark.mesos.*` property that is known, in the order of
// their names. The slice is the caller's.
func Keys() []Key { return slices.Clone(keyTable) }

// FindKey returns the description of a `spark.mesos.*` property, also of one
// in a family such as `spark.mesos.driverEnv.<NAME>`.
func FindKey(name string) (Key, bool) {
	if k, ok := exactKeys[name]; ok {
		return k, true
	}
	for _, k := range prefixKeys {
		if len(name) > len(k.Name) && strings.HasPrefix(name, k.Name) {
			return k, true
		}
	}
	return Key{}, false
}

var exactKeys, prefixKeys = indexKeys(keyTable)

func indexKeys(table []Key) (exact map[string]Key, prefixes []Key) {
	exact = make(map[string]Key, len(table))
	for _, k := range table {
		if k.Prefix() {
			prefixes = append(prefixes, k)
		} else {
			exact[k.Name] = k
		}
	}
	return exact, prefixes
}
