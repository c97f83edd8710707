package sparkconf

import (
	"fmt"
	"strings"
	"time"
)

// MesosPrefix starts the keys that this package's table knows.
const MesosPrefix = "spark.mesos."

const driverDefaultPrefix = "spark.mesos.dispatcher.driverDefault."

// Report is what Check found.
type Report struct {
	// Wrong are properties with a value that their type does not allow.
	Wrong []*ValueError
	// Unknown are keys that start with MesosPrefix and are not in the table:
	// most likely misspelt.
	Unknown []string
	// Unread are known keys that none of the given readers looks at, so that
	// setting them here has no effect.
	Unread []string
	// Replaced are keys that were renamed, or that something else has taken the
	// place of.
	Replaced []string
}

// Check holds the properties of conf against the table of `spark.mesos.*` keys
// and against the Replacements. for readers, give every process that will see
// conf: Submission|Application for the properties of a driver,
// Dispatcher|WebUI for a dispatcher. The lists come in the order of the keys.
func Check(conf Conf, readers Readers) Report {
	var r Report
	for name, value := range conf.All() {
		if old, ok := FindReplacement(name); ok && old.Readers&readers != 0 {
			r.Replaced = append(r.Replaced, name)
			continue
		}
		if !strings.HasPrefix(name, MesosPrefix) {
			continue
		}
		k, ok := FindKey(name)
		if !ok {
			r.Unknown = append(r.Unknown, name)
			continue
		}
		if k.Readers&readers == 0 {
			r.Unread = append(r.Unread, name)
			continue
		}
		if err := checkValue(k, name, value); err != nil {
			r.Wrong = append(r.Wrong, err)
		}
	}
	return r
}

// checkValue is k.Check, and for a default of the drivers that of the property
// which they get.
func checkValue(k Key, name, value string) *ValueError {
	if k.Name == driverDefaultPrefix {
		if driverKey, known := FindKey(strings.TrimPrefix(name, k.Name)); known {
			k = driverKey
		}
	}
	return k.Check(name, value)
}

// Remark is a sentence about a key that has no effect, or not the expected one.
type Remark struct{ Key, Text string }

// suggestions bounds how many unknown keys are compared with all known ones.
const suggestions = 10

// Remarks returns a sentence about each key that is unknown or replaced, in
// this order. What to say of the Unread ones depends on where they were found.
func (r Report) Remarks() []Remark {
	var out []Remark
	for i, name := range r.Unknown {
		meant := "it misspelt"
		if i < suggestions {
			if near := nearestKey(name); near != "" {
				meant = near + " meant"
			}
		}
		out = append(out, Remark{name, "no such property is known; is " + meant + "?"})
	}
	for _, name := range r.Replaced {
		old, _ := FindReplacement(name)
		out = append(out, Remark{name, "this has no effect: " + old.Instead})
	}
	return out
}

// Check reports whether value is allowed for the property; name is the full
// key, which differs from k.Name for a family of keys. It returns nil if so.
func (k Key) Check(name, value string) *ValueError {
	if k.accepts(value) {
		return nil
	}
	return &ValueError{Key: name, Value: value, Allowed: k.Allowed()}
}

func (k Key) accepts(value string) bool {
	switch k.Type {
	case TypeBool:
		_, ok := ParseBool(value)
		return ok
	case TypeInt:
		n, ok := ParseInt(value)
		return ok && n == int64(int32(n)) && k.atLeast(float64(n))
	case TypeDouble:
		v, ok := ParseDouble(value)
		return ok && k.atLeast(v)
	case TypeTime:
		_, ok := ParseTime(value, k.TimeUnit())
		return ok
	case TypeChoice:
		for _, c := range k.Choices {
			if c == value {
				return true
			}
		}
		return false
	}
	return true
}

func (k Key) atLeast(v float64) bool { return k.Min == nil || v >= *k.Min }

// TimeUnit returns what a bare number of a TypeTime property counts.
func (k Key) TimeUnit() time.Duration {
	if u, ok := timeUnits[k.Unit]; ok {
		return u
	}
	return time.Second
}

// Allowed says in words which values the property takes.
func (k Key) Allowed() string {
	var s string
	switch k.Type {
	case TypeBool:
		return AllowedBool
	case TypeInt:
		s = AllowedInt + " (at most 2147483647)"
	case TypeDouble:
		s = AllowedDouble
	case TypeTime:
		return AllowedTime
	case TypeChoice:
		return "one of " + strings.Join(k.Choices, ", ")
	case TypeList:
		return "a list with commas"
	default:
		return "text"
	}
	if k.Min != nil {
		s += fmt.Sprintf(", %g or more", *k.Min)
	}
	return s
}
