package host

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// ErrNotFound says that no application has this id. Those that are over are forgotten in
// time.
var ErrNotFound = errors.New("no such application")

// InvalidError says which field or property of an application, or of a request,
// cannot be used, and why. It never holds a secret.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// invalidFrom makes one InvalidError of all that a parser found; nil stays nil.
func invalidFrom(err error, field string) error {
	if err == nil {
		return nil
	}
	out := &InvalidError{}
	for _, e := range flatten(err) {
		one := describe(e, field)
		if out.Field == "" {
			*out = *one
		} else {
			out.Reason += "; " + one.Error()
		}
	}
	return out
}

func flatten(err error) (all []error) {
	joined, is := err.(interface{ Unwrap() []error })
	if !is {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func describe(err error, field string) *InvalidError {
	var mine *InvalidError
	var property *backend.InvalidError
	var value *sparkconf.ValueError
	switch {
	case errors.As(err, &mine):
		return mine
	case errors.As(err, &value):
		return &InvalidError{value.Key, strings.TrimPrefix(value.Error(), "property "+value.Key+" ")}
	case errors.As(err, &property):
		key, reason := cmp.Or(property.Key, field), property.Reason
		if name := fieldOf[key]; name != "" {
			key = name
		}
		if property.Value != "" {
			reason = fmt.Sprintf("%q: %s", sparkconf.RedactValue(sparkconf.DefaultRedaction, property.Key, property.Value), reason)
		}
		return &InvalidError{key, reason}
	}
	return &InvalidError{field, err.Error()}
}

// fieldOf are the names under which clients know what has no property.
var fieldOf = map[string]string{
	"DriverURL": "driverUrl", "spark.app.name": "name", "spark.mesos.executor.home": "sparkHome",
	"Profile.ID": "totals.profile", "Profile.Cores": "totals.cores", "executors": "totals.total",
}
