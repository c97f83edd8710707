package host

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ha-dispatcher/ha-dispatcher/backend"
	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Application is an application as its driver registers it. All but the ID is its
// content, which stands in the log, secrets included.
type Application struct {
	// ID on the cluster: up to 200 bytes of letters, digits, '.', '_' and '-'.
	// Empty: the cluster chooses one.
	ID   string `json:"-"`
	Name string `json:"name"`
	// DriverURL is what executors dial: spark://CoarseGrainedScheduler@host:port.
	DriverURL string `json:"driverUrl"`
	// SparkVersion, such as "3.5.1", chooses the form of the executor's command.
	SparkVersion string `json:"sparkVersion,omitempty"`
	// SparkHome on the agents, unless a property says otherwise. Default
	// ImageSparkHome with a container image, else Config.SparkHome.
	SparkHome string `json:"sparkHome,omitempty"`
	// User that executors run as. Default Config.User; see Config.Users.
	User     string `json:"user,omitempty"`
	WebUIURL string `json:"webUiUrl,omitempty"`
	// Properties are the spark.* ones.
	Properties map[string]string `json:"properties,omitempty"`
	// FailoverTimeout is how long the driver may stay away, from
	// MinFailoverTimeout to MaxFailoverTimeout. Default
	// `spark.mesos.driver.failoverTimeout` where that is set and not 0, else
	// Config.FailoverTimeout.
	FailoverTimeout time.Duration `json:"failoverTimeout,omitempty"`
}

// ImageSparkHome is where Spark lies in Spark's own container images.
const ImageSparkHome = "/opt/spark"

const (
	failoverKey = "spark.mesos.driver.failoverTimeout"
	imageKey    = "spark.mesos.executor.docker.image"
)

// nodeFiles are properties that name files of the driver's host, and would here be
// read from that of a node.
var nodeFiles = []string{
	mesosutil.CredentialsPrincipalFileKey, mesosutil.CredentialsSecretFileKey,
	"spark.authenticate.secret.file", "spark.authenticate.secret.driver.file",
}

// settled is an application with what was decided about it.
type settled struct {
	user        string
	timeout     time.Duration
	credentials *mesosutil.Credentials
	backend     backend.Config // without what the node adds
}

// settle checks an application and decides what it leaves open. Errors:
// *InvalidError.
func (c *Config) settle(a *Application) (*settled, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	conf := sparkconf.New(a.Properties)
	out := &settled{user: cmp.Or(a.User, c.User)}
	if out.user != c.User && !slices.Contains(c.Users, out.user) && !slices.Contains(c.Users, "*") {
		return nil, invalid("user", "executors run as %s here; whoever runs the nodes can allow others", c.User)
	}
	var err error
	if out.timeout, err = c.timeout(a, conf); err != nil {
		return nil, err
	}
	if out.credentials, err = c.credentials(conf); err != nil {
		return nil, invalid(mesosutil.CredentialsPrincipalKey, "%v", err)
	}
	props := maps.Clone(a.Properties)
	if _, set := conf.Lookup("spark.mesos.role"); !set && c.Role != "" {
		if props == nil {
			props = make(map[string]string)
		}
		props["spark.mesos.role"] = c.Role
	}
	home := cmp.Or(a.SparkHome, c.SparkHome)
	if a.SparkHome == "" && conf.Text(imageKey, "") != "" {
		home = ImageSparkHome
	}
	out.backend.Context = backend.Context{
		AppName: a.Name, User: out.user, SparkHome: home, SparkVersion: a.SparkVersion,
		WebUIURL: a.WebUIURL, DriverURL: a.DriverURL, Conf: props,
	}
	if on, _ := conf.Bool("spark.shuffle.service.enabled", false); on && c.Shuffle != nil {
		if out.backend.Shuffle, err = c.Shuffle(props); err != nil {
			return nil, invalidFrom(err, "spark.shuffle.service.enabled")
		}
	}
	return out, nil
}

// check looks at what can be judged without the node's configuration.
func (a *Application) check() error {
	switch {
	case a.ID != "" && !validID(a.ID):
		return invalid("id", "must be up to 200 letters, digits, '.', '_' and '-', and begin with a letter or digit")
	case strings.TrimSpace(a.Name) == "" || len(a.Name) > 1024:
		return invalid("name", "must have 1 to 1024 bytes")
	case a.DriverURL == "":
		return invalid("driverUrl", "is missing: executors register with the driver there")
	case len(a.User) > 255 || strings.ContainsFunc(a.User, func(r rune) bool { return r <= ' ' || r == ':' || r == '/' || r == 0x7f }):
		return invalid("user", "is no name of a user")
	}
	for _, text := range []string{a.Name, a.DriverURL, a.SparkVersion, a.SparkHome, a.User, a.WebUIURL} {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return invalid("application", "holds text that is not UTF-8, or has a zero byte")
		}
	}
	for key, value := range a.Properties {
		if !strings.HasPrefix(key, "spark.") || !utf8.ValidString(key) || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return invalid("properties", "%.200q: keys must begin with spark. and values be UTF-8 without zero bytes", key)
		}
	}
	return a.checkProperties()
}

func (a *Application) checkProperties() error {
	conf := sparkconf.New(a.Properties)
	for _, key := range nodeFiles {
		if _, set := conf.Lookup(key); set {
			return invalid(key, "names a file that the nodes of the cluster do not have; give the value itself")
		}
	}
	if on, err := conf.Bool("spark.io.encryption.enabled", false); err != nil || on {
		return invalid("spark.io.encryption.enabled", "must be false: %v", backend.ErrIOEncryption)
	}
	if coarse, err := conf.Bool("spark.mesos.coarse", true); err != nil || !coarse {
		return invalid("spark.mesos.coarse", "must be true: %v", "only coarse-grained backends are hosted")
	}
	var errs []error
	for _, wrong := range sparkconf.Check(conf, sparkconf.Application|sparkconf.Submission).Wrong {
		errs = append(errs, wrong)
	}
	if len(errs) > 0 {
		return invalidFrom(joined(errs), "properties")
	}
	return nil
}

type joined []error

func (j joined) Error() string   { return fmt.Sprint([]error(j)) }
func (j joined) Unwrap() []error { return j }

func validID(id string) bool {
	if id == "" || len(id) > 200 || strings.ContainsRune("._-", rune(id[0])) {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

func (c *Config) timeout(a *Application, conf sparkconf.Conf) (time.Duration, error) {
	field, d := "failoverTimeoutMs", a.FailoverTimeout
	if d == 0 {
		seconds, err := conf.Double(failoverKey, 0)
		if err != nil {
			return 0, invalidFrom(err, failoverKey)
		}
		if seconds == 0 { // Spark's default, which ends executors at once
			return c.FailoverTimeout, nil
		}
		field, d = failoverKey, time.Duration(min(max(seconds, -1), 1e9)*float64(time.Second))
	}
	if d < MinFailoverTimeout || d > MaxFailoverTimeout {
		return 0, invalid(field, "must lie between %v and %v", MinFailoverTimeout, MaxFailoverTimeout)
	}
	return d, nil
}

// credentials are the application's own, or those of the cluster.
func (c *Config) credentials(conf sparkconf.Conf) (*mesosutil.Credentials, error) {
	none := func(string) (string, bool) { return "", false }
	own, err := mesosutil.CredentialsFrom(conf.Lookup, none)
	if err != nil || own != nil {
		return own, err
	}
	return c.Credentials, nil
}

// encode is the content of an application, the same bytes for the same content.
func (a *Application) encode() ([]byte, error) {
	spec, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode the application: %w", err)
	}
	if len(spec) > MaxSpecification {
		return nil, invalid("properties", "the application has %d bytes in all; at most %d are taken", len(spec), MaxSpecification)
	}
	return spec, nil
}

// decode reads what is in the state of an application.
func decode(a *fsm.App) (*Application, error) {
	out := &Application{ID: a.ID}
	if err := json.Unmarshal(a.Spec, out); err != nil {
		return nil, fmt.Errorf("specification of application %s: %w", a.ID, err)
	}
	return out, nil
}
