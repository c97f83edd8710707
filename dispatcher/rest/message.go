package rest

import (
	"encoding/json"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// commandKey makes the driver a plain shell command, which has neither an
// application file nor a main class.
const commandKey = launch.KeyCommand

// field is a set of the fields that a message carried with a value.
type field uint8

const (
	fieldAction field = 1 << iota
	fieldClientVersion
	fieldResource
	fieldMainClass
	fieldArgs
	fieldProperties
	fieldEnvironment
	fieldMessage
)

var fieldsByName = map[string]field{
	"action": fieldAction, "clientSparkVersion": fieldClientVersion, "appResource": fieldResource,
	"mainClass": fieldMainClass, "appArgs": fieldArgs, "sparkProperties": fieldProperties,
	"environmentVariables": fieldEnvironment, "message": fieldMessage,
}

// createMessage is a CreateSubmissionRequest as it came.
type createMessage struct {
	action     string
	submission launch.Submission
	present    field
	// unknown are the keys that Spark's server would report in unknownFields:
	// those it does not know, and all but one of those that came repeatedly.
	unknown []string
}

// decodeCreate reads the message in data, of which it keeps nothing. What follows the object is ignored,
// as Spark's server does. Errors are *malformedError.
func decodeCreate(data []byte) (*createMessage, error) {
	s := &scanner{data: string(data)}
	switch c := s.peek(); {
	case c == 0:
		return nil, malformed("the body is empty; it must be a JSON object, a %s", api.ActionCreate)
	case c != '{' && json.Valid(data):
		return nil, malformed("Action field not found in JSON: the body must be an object, a %s", api.ActionCreate)
	}
	m := &createMessage{}
	var seen field
	err := s.object(func(key string) error {
		f := fieldsByName[key]
		if f == 0 {
			m.unknown = append(m.unknown, key)
			return s.skip()
		}
		if seen&f != 0 {
			m.unknown = append(m.unknown, key)
		}
		first := seen&f == 0
		seen |= f
		return m.read(s, key, f, first)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// read takes in the value of a known field. Of a repeated one the last counts,
// but of the action, which Spark looks up separately, the first.
func (m *createMessage) read(s *scanner, key string, f field, first bool) error {
	switch f {
	case fieldArgs:
		return m.readArgs(s)
	case fieldProperties:
		return m.readMap(s, key, f, &m.submission.Properties)
	case fieldEnvironment:
		return m.readMap(s, key, f, &m.submission.Environment)
	case fieldAction:
		if s.peek() != '"' { // Spark finds only a string here
			return s.skip()
		}
	}
	v, k, err := s.scalar()
	switch {
	case err != nil:
		return err
	case k == kindNull:
		m.present &^= f
		if f == fieldMessage { // Spark leaves it out, and so reports it
			m.unknown = append(m.unknown, key)
		}
		return nil
	case k != kindScalar:
		return malformed("field '%s' must be a string, not %s", key, k)
	}
	m.present |= f
	switch f {
	case fieldAction:
		if first {
			m.action = v
		}
	case fieldClientVersion:
		m.submission.ClientSparkVersion = v
	case fieldResource:
		m.submission.AppResource = v
	case fieldMainClass:
		m.submission.MainClass = v
	}
	return nil
}

// isNull passes over a null.
func (s *scanner) isNull() bool {
	if s.peek() != 'n' {
		return false
	}
	v, err := s.literal()
	return err == nil && v == "null"
}

func (m *createMessage) readArgs(s *scanner) error {
	if s.isNull() {
		m.present &^= fieldArgs
		return nil
	}
	if s.peek() != '[' {
		return malformed("field 'appArgs' must be an array of strings")
	}
	args := []string{}
	err := s.array(func() error {
		v, k, err := s.scalar()
		if err == nil && k != kindScalar {
			return malformed("element %d of 'appArgs' must be a string, not %s", len(args), k)
		}
		args = append(args, v)
		return err
	})
	m.submission.Args = args
	m.present |= fieldArgs
	return err
}

func (m *createMessage) readMap(s *scanner, name string, f field, into *map[string]string) error {
	if s.isNull() {
		m.present &^= f
		return nil
	}
	if s.peek() != '{' {
		return malformed("field '%s' must be an object whose values are strings", name)
	}
	values := make(map[string]string, 16)
	err := s.object(func(key string) error {
		v, k, err := s.scalar()
		switch {
		case err != nil:
			return err
		case k == kindNull:
			return malformed("null value for '%s' in '%s': leave the key out, or give it a value", key, name)
		case k != kindScalar:
			return malformed("value of '%s' in '%s' must be a string, not %s", key, name, k)
		}
		values[key] = v
		return nil
	})
	*into = values
	m.present |= f
	return err
}

// validationFailed is the text that Spark's server gives; the reason, which it
// keeps to itself, follows.
const validationFailed = "Validation of message CreateSubmissionRequest failed! "

// validate is what the protocol demands of a submission, whatever the server
// makes of it. The order is upstream's.
func (m *createMessage) validate() error {
	command := m.submission.Properties[commandKey] != ""
	if m.present&fieldProperties == 0 {
		return malformed("%sNo Spark properties set! ('sparkProperties' is missing)", validationFailed)
	}
	for _, required := range [...]struct {
		f    field
		name string
	}{
		{fieldClientVersion, "clientSparkVersion"}, {fieldResource, "appResource"},
		{fieldArgs, "appArgs"}, {fieldEnvironment, "environmentVariables"},
	} {
		if m.present&required.f != 0 || command && required.f == fieldResource {
			continue
		}
		return malformed("%s'%s' is missing in message CreateSubmissionRequest.", validationFailed, required.name)
	}
	if err := m.validateProperties(); err != nil {
		return err
	}
	if m.present&fieldMainClass == 0 && !command {
		return malformed("Main class 'mainClass' is missing. (For Python and R it is the empty string.)")
	}
	return nil
}

func isMemory(v string) bool {
	_, ok := sparkconf.ParseMemory(v)
	return ok
}

func isNumeric(v string) bool {
	_, ok := sparkconf.ParseDouble(v)
	return ok
}

// isBoolean is stricter than sparkconf: Spark takes no blanks here.
func isBoolean(v string) bool {
	return strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
}

var propertyRules = [...]struct {
	key, kind, allowed string
	holds              func(string) bool
}{
	{"spark.driver.supervise", "boolean", "true or false", isBoolean},
	{"spark.driver.cores", "numeric", "a number such as 1 or 0.5", isNumeric},
	{"spark.cores.max", "numeric", "a number such as 8", isNumeric},
	{"spark.driver.memory", "memory", "a whole number with k, m, g, t or p, such as 2g", isMemory},
	{"spark.executor.memory", "memory", "a whole number with k, m, g, t or p, such as 2g", isMemory},
}

func (m *createMessage) validateProperties() error {
	p := m.submission.Properties
	if _, named := p["spark.app.name"]; !named {
		return malformed("%s'spark.app.name' is missing in message CreateSubmissionRequest.", validationFailed)
	}
	for i := range propertyRules {
		r := &propertyRules[i]
		if v, set := p[r.key]; set && !r.holds(v) {
			return malformed("%sProperty '%s' expected %s value: actual was '%s'. Allowed is %s.",
				validationFailed, r.key, r.kind, v, r.allowed)
		}
	}
	return nil
}

// otherActions are the messages of the protocol that are not submissions.
func otherAction(action string) bool {
	switch action {
	case api.ActionCreateResponse, api.ActionKillResponse, api.ActionStatusResponse, api.ActionError:
		return true
	}
	return false
}
