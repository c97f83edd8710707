package launch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// The cases of Spark's MesosClusterSchedulerSuite about a driver's secrets.
func TestUpstreamSecrets(t *testing.T) {
	const prefix = "spark.mesos.driver.secret."
	reference := func(name string) mesos.Secret {
		return mesos.Secret{Type: mesos.Secret_REFERENCE, Reference: &mesos.Secret_Reference{Name: name}}
	}
	value := func(v string) mesos.Secret {
		return mesos.Secret{Type: mesos.Secret_VALUE, Value: &mesos.Secret_Value{Data: []byte(v)}}
	}
	type destination struct {
		Name   string
		Secret mesos.Secret
	}
	for name, c := range map[string]struct {
		props            props
		variables, files []destination
	}{
		"Creates an env-based reference secrets.": {
			props{prefix + "names": "/path/to/secret,/anothersecret", prefix + "envkeys": "SECRET_ENV_KEY,PASSWORD"},
			[]destination{{"SECRET_ENV_KEY", reference("/path/to/secret")}, {"PASSWORD", reference("/anothersecret")}}, nil,
		},
		"Creates an env-based value secrets.": {
			props{prefix + "values": "user,password", prefix + "envkeys": "USER,PASSWORD"},
			[]destination{{"USER", value("user")}, {"PASSWORD", value("password")}}, nil,
		},
		"Creates file-based reference secrets.": {
			props{prefix + "names": "/path/to/secret,/anothersecret", prefix + "filenames": "/topsecret,/mypassword"},
			nil, []destination{{"/topsecret", reference("/path/to/secret")}, {"/mypassword", reference("/anothersecret")}},
		},
		"Creates a file-based value secrets.": {
			props{prefix + "values": "user,password", prefix + "filenames": "/whoami,/mypassword"},
			nil, []destination{{"/whoami", value("user")}, {"/mypassword", value("password")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			info := task(t, home(t), submission(c.props))
			var variables, files []destination
			for _, v := range info.Command.Environment.Variables {
				if strings.HasPrefix(v.Name, "SPARK_") {
					continue
				}
				if v.GetType() != mesos.Environment_Variable_SECRET || v.Secret == nil || v.Value != nil {
					t.Fatalf("%v", v)
				}
				variables = append(variables, destination{v.Name, *v.Secret})
			}
			for _, v := range info.Container.Volumes {
				if v.Source.GetType() != mesos.Volume_Source_SECRET {
					t.Fatalf("%v", v)
				}
				files = append(files, destination{v.ContainerPath, *v.Source.Secret})
			}
			if diff := cmp.Diff(c.variables, variables); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.files, files); diff != "" {
				t.Error(diff)
			}
		})
	}
}
