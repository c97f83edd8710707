package launch

import (
	"regexp"
	"strings"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
)

// Properties of a submission or dispatcher that this package reads by name.
const (
	KeyAppName         = "spark.app.name"
	KeyQueue           = "spark.mesos.dispatcher.queue"
	KeyConstraints     = "spark.mesos.driver.constraints"
	KeyLabels          = "spark.mesos.driver.labels"
	KeyCommand         = "spark.mesos.dispatcher.command"
	KeyDriverMaster    = "spark.mesos.dispatcher.driverMaster"
	KeyKillGracePeriod = "spark.mesos.dispatcher.driver.killGracePeriod"
	KeyHideSecrets     = "spark.mesos.dispatcher.driver.hideSecrets"
	KeyDriverGPUs      = "spark.mesos.dispatcher.driver.gpus"
	KeyDriverPorts     = "spark.mesos.dispatcher.driver.ports"

	keyMaster          = "spark.master"
	keyHome            = "spark.home"
	keyExecutorHome    = "spark.mesos.executor.home"
	keyExecutorURI     = "spark.executor.uri"
	keyURIs            = "spark.mesos.uris"
	keyFetcherCache    = "spark.mesos.fetcherCache.enable"
	keyPyFiles         = "spark.submit.pyFiles"
	keyLocalMode       = "spark.mesos.appJar.local.resolution.mode"
	keyGPUsMax         = "spark.mesos.gpus.max"
	keyExecutorLibPath = "spark.executor.extraLibraryPath"
	keyDriverEnvPrefix = "spark.mesos.driverEnv."
	defaultsPrefix     = "spark.mesos.dispatcher.driverDefault."
	queuePrefix        = KeyQueue + "."
	mesosScheme        = "mesos://"

	// DefaultQueue is the queue of submissions that name none; its priority is 0.
	DefaultQueue = "default"
)

// DispatcherConf is what a dispatcher's own configuration adds to every
// driver. It is made by ParseDispatcherConf and not changed afterwards.
type DispatcherConf struct {
	// Master is the Mesos master that drivers register with, without
	// "mesos://": host:port or zk://…
	Master string
	// DriverMaster, if not empty, replaces the whole --master value of drivers.
	DriverMaster string
	// SparkHome is the directory of Spark on the agents for submissions that
	// do not say where it is; may be empty.
	SparkHome string
	// ExtraLibraryPath is put in front of drivers' library path.
	ExtraLibraryPath string
	// URIs are fetched for every driver.
	URIs []string
	// FetcherCache is used when the submission does not decide.
	FetcherCache bool
	// DriverDefaults are laid under every submission's properties.
	DriverDefaults map[string]string
	// Queues holds the priority of each declared queue.
	Queues map[string]float64
	// KillGracePeriod is used when the submission does not decide; 0 leaves
	// it to Mesos.
	KillGracePeriod time.Duration
	// HideSecrets is used when the submission does not decide.
	HideSecrets bool
	// GPUs tells that the dispatcher's framework takes offers with GPUs.
	GPUs bool
	// Redaction tells which properties are secret.
	Redaction *regexp.Regexp
}

// ParseDispatcherConf reads a dispatcher's configuration. sparkHomeEnv is the
// SPARK_HOME of the dispatcher's environment, the last fallback of
// `spark.home`. `spark.master` must be set. The error is an *InvalidError.
func ParseDispatcherConf(conf sparkconf.Conf, sparkHomeEnv string) (DispatcherConf, error) {
	d := DispatcherConf{
		Master:           trimSchemes(conf.Text(keyMaster, "")),
		DriverMaster:     conf.Text(KeyDriverMaster, ""),
		SparkHome:        conf.Text(keyHome, sparkHomeEnv),
		ExtraLibraryPath: conf.Text(keyExecutorLibPath, ""),
		URIs:             conf.List(keyURIs),
		DriverDefaults:   conf.Prefixed(defaultsPrefix),
		Queues:           make(map[string]float64),
	}
	if d.Master == "" {
		return d, &InvalidError{Key: keyMaster, Reason: "the Mesos master is missing; expected mesos://host:port or mesos://zk://…"}
	}
	var err error
	if d.FetcherCache, err = conf.Bool(keyFetcherCache, false); err != nil {
		return d, invalid(err, keyFetcherCache)
	}
	if d.HideSecrets, err = conf.Bool(KeyHideSecrets, true); err != nil {
		return d, invalid(err, KeyHideSecrets)
	}
	gpus, err := conf.Int(keyGPUsMax, 0)
	if err != nil {
		return d, invalid(err, keyGPUsMax)
	}
	d.GPUs = gpus > 0
	if d.KillGracePeriod, err = conf.Time(KeyKillGracePeriod, time.Second, 0); err != nil {
		return d, invalid(err, KeyKillGracePeriod)
	}
	if d.Redaction, err = sparkconf.Redaction(conf); err != nil {
		return d, invalid(err, sparkconf.RedactionKey)
	}
	return d, d.parseQueues(conf)
}

func (d *DispatcherConf) parseQueues(conf sparkconf.Conf) error {
	for key := range conf.All() {
		name, ok := strings.CutPrefix(key, queuePrefix)
		if !ok {
			continue
		}
		priority, err := conf.Double(key, 0)
		if err != nil {
			return invalid(err, key)
		}
		if name == "" || name == DefaultQueue {
			return &InvalidError{Key: key, Reason: "the queue \"default\" has priority 0 and cannot be declared; choose another name"}
		}
		d.Queues[name] = priority
	}
	return nil
}

// Priority returns the priority of a queue, higher first, and whether the
// queue exists. The empty name means DefaultQueue.
func (d DispatcherConf) Priority(queue string) (float64, bool) {
	if queue == "" || queue == DefaultQueue {
		return 0, true
	}
	p, ok := d.Queues[queue]
	return p, ok
}

// trimSchemes removes "mesos://", also when it comes twice.
func trimSchemes(master string) string {
	for strings.HasPrefix(master, mesosScheme) {
		master = strings.TrimPrefix(master, mesosScheme)
	}
	return master
}
