package launch

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

const localScheme = "local://"

// Placement says where and as what an attempt of a driver runs.
type Placement struct {
	TaskID      string
	AgentID     string
	Hostname    string // of the agent; not used in the task
	FrameworkID string // the driver's own (DriverFrameworkID), not the dispatcher's
	Attempt     int
	Resources   []mesos.Resource // already taken out of the offer
}

// TaskID returns the task id of an attempt of a driver: the submission's id,
// with "-retry-<n>" from the first retry (attempt 1) on.
func TaskID(submissionID string, attempt int) string {
	if attempt <= 0 {
		return submissionID
	}
	return submissionID + "-retry-" + strconv.Itoa(attempt)
}

// DriverFrameworkID returns the framework id that an attempt registers with,
// which is its Spark application id too.
func DriverFrameworkID(dispatcherFrameworkID, submissionID string, attempt int) string {
	return dispatcherFrameworkID + "-" + TaskID(submissionID, attempt)
}

// builder holds what the parts of one task are made of.
type builder struct {
	conf        DispatcherConf
	d           *Description
	p           Placement
	submitted   sparkconf.Conf
	hideSecrets bool
}

// Task builds the task of an attempt. For a description that Describe accepted
// with the same conf it does not fail; the error, an *InvalidError, is for a
// dispatcher whose configuration changed since.
func Task(conf DispatcherConf, d *Description, p Placement) (mesos.TaskInfo, error) {
	return build(conf, d, d.Conf(), p)
}

func build(conf DispatcherConf, d *Description, submitted sparkconf.Conf, p Placement) (mesos.TaskInfo, error) {
	b := &builder{conf: conf, d: d, p: p, submitted: submitted}
	var err error
	if b.hideSecrets, err = b.submitted.Bool(KeyHideSecrets, conf.HideSecrets); err != nil {
		return mesos.TaskInfo{}, invalid(err, KeyHideSecrets)
	}
	command, err := b.command()
	if err != nil {
		return mesos.TaskInfo{}, err
	}
	container, err := b.container()
	if err != nil {
		return mesos.TaskInfo{}, err
	}
	labels, err := mesosutil.ParseLabels(b.submitted.Text(KeyLabels, ""))
	if err != nil {
		return mesos.TaskInfo{}, invalid(err, KeyLabels)
	}
	killPolicy, err := b.killPolicy()
	if err != nil {
		return mesos.TaskInfo{}, err
	}
	return mesos.TaskInfo{
		Name:       "Driver for " + d.Name,
		TaskID:     mesos.TaskID{Value: p.TaskID},
		AgentID:    mesos.AgentID{Value: p.AgentID},
		Resources:  p.Resources,
		Command:    command,
		Container:  container,
		Labels:     &mesos.Labels{Labels: labels},
		KillPolicy: killPolicy,
	}, nil
}

func (b *builder) command() (*mesos.CommandInfo, error) {
	line, secrets, err := b.commandLine()
	if err != nil {
		return nil, err
	}
	if len(line) > MaxCommandLength {
		return nil, &InvalidError{Key: "submission", Reason: fmt.Sprintf("the driver's command line would have %d bytes, at most %d can be started; shorten arguments or properties", len(line), MaxCommandLength)}
	}
	uris, err := b.uris()
	if err != nil {
		return nil, err
	}
	variables, err := b.environment(secrets)
	if err != nil {
		return nil, err
	}
	return &mesos.CommandInfo{
		Value:       &line,
		URIs:        uris,
		Environment: &mesos.Environment{Variables: variables},
	}, nil
}

// uris lists what the agent fetches: the application, the dispatcher's and the
// submission's files, Python files, the Spark package.
func (b *builder) uris() ([]mesos.CommandInfo_URI, error) {
	var list []string
	if b.d.AppResource != "" && !b.localInContainer() {
		// Mesos fetches bare paths from the agent's own disk.
		list = append(list, strings.TrimPrefix(strings.TrimPrefix(b.d.AppResource, "file:"), "local:"))
	}
	list = append(list, b.conf.URIs...)
	list = append(list, b.submitted.List(keyURIs)...)
	list = append(list, b.submitted.List(keyPyFiles)...)
	list = append(list, b.executorURI())
	cache, err := b.submitted.Bool(keyFetcherCache, b.conf.FetcherCache)
	return mesosutil.FetchURIs(list, cache), invalid(err, keyFetcherCache)
}

// localInContainer reports whether the application is a file of the image.
func (b *builder) localInContainer() bool {
	return strings.HasPrefix(b.d.AppResource, localScheme) && b.submitted.Text(keyLocalMode, "host") == "container"
}

// environment lists driverEnv.* first, then the client's variables with the
// driver's framework id added to SPARK_SUBMIT_OPTS, then secrets. A name that
// comes twice stays twice; Mesos lets the last one win.
func (b *builder) environment(secretProperties string) ([]mesos.Environment_Variable, error) {
	var out []mesos.Environment_Variable
	add := func(name, value string) { out = append(out, mesos.Environment_Variable{Name: name, Value: &value}) }
	for _, e := range sortedKV(b.submitted.Prefixed(keyDriverEnvPrefix)) {
		if err := checkEnvName(keyDriverEnvPrefix+e.Key, e.Key); err != nil {
			return nil, err
		}
		add(e.Key, e.Value)
	}
	env := kvMap(b.d.Environment)
	env["SPARK_SUBMIT_OPTS"] += " -D" + mesosutil.FrameworkIDKey + "=" + b.p.FrameworkID
	for _, e := range sortedKV(env) {
		add(e.Key, e.Value)
	}
	if secretProperties != "" {
		add(secretsVariable, secretProperties)
	}
	for _, v := range out {
		if len(v.Name)+len(v.GetValue()) > MaxCommandLength {
			return nil, &InvalidError{Key: "environmentVariables", Reason: fmt.Sprintf("the variable %s has more than %d bytes, which cannot be started", v.Name, MaxCommandLength)}
		}
	}
	secrets, err := b.secrets()
	if err != nil {
		return nil, err
	}
	vars, err := secrets.Environment()
	return append(out, vars...), invalid(err, "")
}

func (b *builder) secrets() (mesosutil.SecretSettings, error) {
	s, err := mesosutil.ParseSecrets(b.submitted.Lookup, "driver")
	if err != nil {
		return s, invalid(err, "")
	}
	for _, name := range s.EnvKeys {
		if err := checkEnvName(s.Prefix+"envkeys", name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// container follows the executor's container properties, as in Spark, and adds
// the driver's secret files.
func (b *builder) container() (*mesos.ContainerInfo, error) {
	c, err := mesosutil.ParseContainer(b.submitted.Lookup)
	if err != nil {
		return nil, invalid(err, "")
	}
	secrets, err := b.secrets()
	if err != nil {
		return nil, err
	}
	volumes, err := secrets.Volumes()
	if err != nil {
		return nil, invalid(err, "")
	}
	info := c.Info()
	info.Volumes = append(info.Volumes, volumes...)
	return info, nil
}

func (b *builder) killPolicy() (*mesos.KillPolicy, error) {
	grace, err := b.submitted.Time(KeyKillGracePeriod, time.Second, b.conf.KillGracePeriod)
	if err != nil || grace == 0 {
		return nil, invalid(err, KeyKillGracePeriod)
	}
	return &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: grace.Nanoseconds()}}, nil
}
