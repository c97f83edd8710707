package mesosutil

import (
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// ParseParameters reads the items of
// `spark.mesos.executor.docker.parameters` (split with SplitList), which are
// handed to `docker run` as --key=value:
//
//	parameter := key "=" value
//
// The value starts behind the first "=" and may be empty; the key may not.
// Values cannot hold commas, since the list is split at them. The *ParseError
// names the first item that does not fit. Order is kept.
func ParseParameters(items []string) ([]mesos.Parameter, error) {
	return parseAll(items, parseParameter)
}

// ParametersLenient keeps the well-formed parameters and returns an error for
// each of the others, as Spark does (with a warning).
func ParametersLenient(items []string) ([]mesos.Parameter, []error) {
	return parseItems(items, parseParameter)
}

func parseParameter(item string) (mesos.Parameter, error) {
	if err := checkLength("parameter", item); err != nil {
		return mesos.Parameter{}, err
	}
	key, value, ok := strings.Cut(item, "=")
	if !ok || key == "" {
		return mesos.Parameter{}, &ParseError{Kind: "parameter", Item: item, Reason: "expected key=value"}
	}
	return mesos.Parameter{Key: key, Value: value}, nil
}
