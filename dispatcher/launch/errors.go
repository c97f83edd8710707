package launch

import (
	"errors"
	"fmt"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// InvalidError says why a submission can never be launched.
type InvalidError struct {
	// Key is the Spark property at fault, or the field of the submission
	// ("appResource", "appArgs", "environmentVariables").
	Key string
	// Value is the value at fault. It may be a secret: Error hides it if its
	// key or text looks like one, and so must whoever prints it.
	Value string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return e.Key + ": " + e.Reason
	}
	return fmt.Sprintf("%s: %s (got %q)", e.Key, e.Reason, sparkconf.RedactValue(sparkconf.DefaultRedaction, e.Key, e.Value))
}

// Warning is a remark on a submission that is accepted.
type Warning struct {
	Key  string
	Text string
}

func (w Warning) String() string { return w.Key + ": " + w.Text }

// invalid turns the errors of the packages below into an *InvalidError; key is
// used where the error does not bring one.
func invalid(err error, key string) error {
	var (
		ie *InvalidError
		ve *sparkconf.ValueError
		pe *mesosutil.ParseError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ie):
		return ie
	case errors.As(err, &ve):
		return &InvalidError{Key: ve.Key, Value: ve.Value, Reason: "expected " + ve.Allowed}
	case errors.As(err, &pe):
		if pe.Key != "" {
			key = pe.Key
		}
		return &InvalidError{Key: key, Value: pe.Item, Reason: "bad " + pe.Kind + ": " + pe.Reason}
	}
	return &InvalidError{Key: key, Reason: err.Error()}
}
