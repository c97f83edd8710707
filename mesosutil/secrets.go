package mesosutil

import (
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// SecretSettings are the four secret properties of drivers or executors.
// Either Names (references that a Mesos secret resolver looks up) or Values
// (the secrets themselves) are set, not both. The i-th secret goes to the i-th
// environment variable and to the i-th file; a list of destinations that is
// not empty must be as long as the list of secrets.
//
// Errors tell counts and keys, never names or values.
type SecretSettings struct {
	Prefix    string // "spark.mesos.driver.secret." or "spark.mesos.executor.secret."
	Names     []string
	Values    []string
	EnvKeys   []string
	Filenames []string
}

// ParseSecrets reads `spark.mesos.<target>.secret.{names,values,envkeys,filenames}`,
// where target is "driver" or "executor". All four are lists as in SplitList,
// so a value cannot hold a comma. Errors are of type *ParseError.
func ParseSecrets(conf Lookup, target string) (SecretSettings, error) {
	prefix := "spark.mesos." + target + ".secret."
	list := func(name string) []string {
		text, _ := conf(prefix + name)
		return SplitList(text)
	}
	s := SecretSettings{
		Prefix:    prefix,
		Names:     list("names"),
		Values:    list("values"),
		EnvKeys:   list("envkeys"),
		Filenames: list("filenames"),
	}
	return s, s.check()
}

func (s SecretSettings) check() error {
	if len(s.Names) > 0 && len(s.Values) > 0 {
		return &ParseError{Key: s.Prefix + "values", Kind: "secret",
			Reason: "reference secrets (" + s.Prefix + "names) and value secrets cannot be used together; set one of them"}
	}
	if err := s.checkDestinations("envkeys", len(s.EnvKeys)); err != nil {
		return err
	}
	return s.checkDestinations("filenames", len(s.Filenames))
}

func (s SecretSettings) checkDestinations(list string, n int) error {
	if n == 0 || n == s.count() {
		return nil
	}
	return &ParseError{Key: s.Prefix + list, Kind: "secret",
		Reason: fmt.Sprintf("%d destinations for %d secrets; give one destination to each secret", n, s.count())}
}

func (s SecretSettings) count() int { return len(s.Names) + len(s.Values) }

// Unused reports whether there are secrets that no destination makes visible
// to the task; Spark ignores them silently.
func (s SecretSettings) Unused() bool {
	return s.count() > 0 && len(s.EnvKeys) == 0 && len(s.Filenames) == 0
}

// Environment returns one variable of type SECRET for each entry of EnvKeys.
func (s SecretSettings) Environment() ([]mesos.Environment_Variable, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	vars := make([]mesos.Environment_Variable, len(s.EnvKeys))
	for i, key := range s.EnvKeys {
		vars[i] = mesos.Environment_Variable{
			Name:   key,
			Type:   mesos.Environment_Variable_SECRET.Enum(),
			Secret: s.secret(i),
		}
	}
	return vars, nil
}

// Volumes returns one read-only volume, backed by a secret, for each entry of
// Filenames.
func (s SecretSettings) Volumes() ([]mesos.Volume, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	volumes := make([]mesos.Volume, len(s.Filenames))
	for i, path := range s.Filenames {
		volumes[i] = mesos.Volume{
			ContainerPath: path,
			Mode:          mesos.RO.Enum(),
			Source:        &mesos.Volume_Source{Type: mesos.Volume_Source_SECRET, Secret: s.secret(i)},
		}
	}
	return volumes, nil
}

func (s SecretSettings) secret(i int) *mesos.Secret {
	if i < len(s.Names) {
		return &mesos.Secret{Type: mesos.Secret_REFERENCE, Reference: &mesos.Secret_Reference{Name: s.Names[i]}}
	}
	return &mesos.Secret{Type: mesos.Secret_VALUE, Value: &mesos.Secret_Value{Data: []byte(s.Values[i])}}
}
