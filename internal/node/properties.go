package node

import (
	"errors"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/launch"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

const keyRecoveryMode = "spark.deploy.recoveryMode"

// errSecretSet begins with Spark's own words.
var errSecretSet = errors.New("The MesosClusterDispatcher does not support authentication via " + keySecret + ".  " +
	"It is not currently possible to run jobs in cluster mode with authentication on. " +
	"Take " + keySecret + " out of the dispatcher's properties; --auth-tokens is for access to the dispatcher itself")

// checkProperties returns what is wrong with the properties, and logs what has
// no effect.
func (c *Config) checkProperties() []error {
	var wrong []error
	report := sparkconf.Check(c.Spark, sparkconf.Dispatcher|sparkconf.WebUI)
	for _, w := range report.Wrong {
		wrong = append(wrong, w)
	}
	switch mode := c.Spark.Text(keyRecoveryMode, "NONE"); strings.ToUpper(mode) {
	case "NONE", "ZOOKEEPER":
	default:
		wrong = append(wrong, &sparkconf.ValueError{Key: keyRecoveryMode, Value: mode,
			Allowed: "NONE or ZOOKEEPER, and neither is needed: the nodes replicate their state themselves"})
	}
	for _, r := range report.Remarks() {
		c.Logger.Warn("property without effect", "key", r.Key, "why", r.Text)
	}
	for _, key := range report.Unread {
		c.Logger.Info("property without effect", "key", key,
			"why", "only submissions and applications are asked for it; spark.mesos.dispatcher.driverDefault."+key+" hands it to every driver")
	}
	return wrong
}

// onePerKey joins errors, of which several may be about the same property.
func onePerKey(all []error) error {
	seen := make(map[string]bool)
	var kept []error
	for _, err := range flatten(all) {
		var (
			value   *sparkconf.ValueError
			invalid *launch.InvalidError
			key     string
		)
		switch {
		case errors.As(err, &value):
			key = value.Key
		case errors.As(err, &invalid):
			key = invalid.Key
		}
		if key == "" || !seen[key] {
			kept = append(kept, err)
		}
		seen[key] = true
	}
	return errors.Join(kept...)
}

func flatten(all []error) []error {
	var out []error
	for _, err := range all {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			out = append(out, flatten(joined.Unwrap())...)
		} else if err != nil {
			out = append(out, err)
		}
	}
	return out
}
