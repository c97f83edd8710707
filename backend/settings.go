package backend

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/internal/sparkconf"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// Context is what a Spark context knows of its application.
type Context struct {
	// AppName is the name of the application; default `spark.app.name`. Required
	// in one of the two places.
	AppName string
	// User is the OS user of the executors, and SPARK_USER in their environment. In
	// a Config it defaults to the variable SPARK_USER, else to the user of this
	// process, and must be the same on all nodes.
	User string
	// SparkHome is where Spark lies on the agents, unless
	// `spark.mesos.executor.home` or `spark.executor.uri` says otherwise.
	SparkHome string
	// SparkVersion, such as "3.5.1", chooses the form of the executor's command
	// line. Empty: that of Spark 3.5. "2…": that of Spark 2.
	SparkVersion string
	// WebUIURL of the application, unless `spark.mesos.driver.webui.url` is set.
	WebUIURL string
	// ExecutorURI is the driver's own SPARK_EXECUTOR_URI.
	ExecutorURI string
	// PublicHost is how people reach the scheduler (SPARK_PUBLIC_DNS); default
	// the host of the driver.
	PublicHost string
	// DriverURL is what executors dial, such as
	// spark://CoarseGrainedScheduler@host:port. Default: made of
	// `spark.driver.host` and `spark.driver.port`.
	DriverURL string
	// Conf are the spark.* properties.
	Conf map[string]string
}

// DefaultFailoverTimeout is how long Mesos keeps the executors while no node is
// subscribed, unless `spark.mesos.driver.failoverTimeout` is set. Spark's own
// default is 0, which ends every executor when its scheduler goes away: the very
// thing that this package is there to prevent.
const DefaultFailoverTimeout = 10 * time.Minute

const maxDriverURL = 1024 // bytes

// MaxAgentFailures is how many failed executors exclude an agent.
const MaxAgentFailures = 2

// Settings are the properties of an application as they were when it started.
// ParseSettings makes them; they do not change.
type Settings struct {
	AppName, User string
	DriverURL     string // of the CoarseGrainedScheduler endpoint

	CoresMax      int64 // `spark.cores.max` as set, 0 without
	MaxCores      int64 // the same as a multiple of MinCores
	ExecutorCores int64 // 0: what an offer has
	MinCores      int64
	MaxGPUs       int64
	ExtraCores    int64
	HeapMiB       int64
	MemoryMiB     int64 // heap and overhead
	Ports         []uint64
	Constraints   mesosutil.Constraints
	Refuse        mesosutil.RefuseDurations

	DynamicAllocation  bool
	InitialTotal       int64
	LocalityWait       time.Duration
	MinRegisteredRatio float64
	ShutdownTimeout    time.Duration
	ExcludeFor         time.Duration // 0: for good

	ShuffleService   bool
	ShufflePort      int64
	ShuffleTimeout   time.Duration
	ShuffleHeartbeat time.Duration
	TokenRatio       float64       // of the life of delegation tokens, after which they are renewed
	TokenRetry       time.Duration // after a failure to renew them

	// Of fine-grained mode; zero in the other.
	TaskCPUs           int64
	AgentExecutorCores float64 // of the Mesos executor on each agent, beside those of its tasks
	DefaultParallelism int64

	Framework mesosutil.DriverFramework // ID is the one to register with, if set

	context   Context
	conf      sparkconf.Conf
	labels    []mesos.Label
	container mesosutil.Container
	secrets   mesosutil.SecretSettings
	cache     bool
	fineData  []byte
}

// mode says how an application gets its work done.
type mode int

const (
	coarseGrained mode = iota
	fineGrained
)

// ParseSettings reads the properties of an application in coarse-grained mode. The
// error joins one *InvalidError for each property that cannot be used.
func ParseSettings(sc Context) (*Settings, error) { return parseSettings(sc, coarseGrained) }

func parseSettings(sc Context, m mode) (*Settings, error) {
	r := reader{conf: sparkconf.New(sc.Conf)}
	s := &Settings{context: sc, conf: r.conf, User: sc.User}
	s.AppName = cmp.Or(sc.AppName, r.conf.Text("spark.app.name", ""))
	if s.AppName == "" {
		r.wrong("spark.app.name", "the application needs a name")
	}
	r.cores(s)
	r.memory(s)
	r.dynamic(s)
	r.offers(s)
	r.shuffle(s)
	r.tokens(s)
	r.framework(s)
	r.task(s)
	if m == fineGrained {
		r.fine(s)
	}
	if len(r.errs) == 0 {
		// Whatever is wrong with the command shows here and not at the first offer.
		var err error
		if m == fineGrained {
			_, err = s.AgentExecutor(AgentExecutorSpec{AppID: "app", ExecutorID: "agent", Host: "host"})
		} else {
			_, err = s.Command(ExecutorSpec{AppID: "app", ExecutorID: "0", Host: "host", Cores: 1})
		}
		r.note(err, "command")
	}
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return s, nil
}

// reader reads properties and collects what is wrong with them.
type reader struct {
	conf sparkconf.Conf
	errs []error
}

func (r *reader) note(err error, key string) {
	if err = invalid(err, key); err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *reader) wrong(key, reason string) {
	r.errs = append(r.errs, &InvalidError{Key: key, Value: r.conf.Text(key, ""), Reason: reason})
}

func (r *reader) integer(key string, def, least int64) int64 {
	n, err := r.conf.Int(key, def)
	r.note(err, key)
	if err == nil && (n < least || n > math.MaxInt32) {
		r.wrong(key, fmt.Sprintf("must be a whole number from %d to %d", least, math.MaxInt32))
	}
	return n
}

func (r *reader) boolean(key string) bool {
	v, err := r.conf.Bool(key, false)
	r.note(err, key)
	return v
}

func (r *reader) duration(key string, unit, def time.Duration) time.Duration {
	d, err := r.conf.Time(key, unit, def)
	r.note(err, key)
	return d
}

func (r *reader) cores(s *Settings) {
	if s.ExecutorCores = 0; r.set("spark.executor.cores") {
		s.ExecutorCores = r.integer("spark.executor.cores", 0, 1)
	}
	s.MinCores = max(s.ExecutorCores, 1)
	s.MaxCores = math.MaxInt32
	if r.set("spark.cores.max") {
		s.CoresMax = r.integer("spark.cores.max", 0, 1)
		s.MaxCores = s.CoresMax
	}
	s.MaxCores -= s.MaxCores % s.MinCores
	s.MaxGPUs = r.integer("spark.mesos.gpus.max", 0, 0)
	s.ExtraCores = r.integer("spark.mesos.extra.cores", 0, 0)
}

func (r *reader) set(key string) bool {
	_, set := r.conf.Lookup(key)
	return set
}

func (r *reader) memory(s *Settings) {
	const key, overheadKey, factorKey = "spark.executor.memory", "spark.mesos.executor.memoryOverhead", "spark.executor.memoryOverheadFactor"
	bytes, valid := sparkconf.ParseMemoryUnit(r.conf.Text(key, "1g"), "m")
	if s.HeapMiB = sparkconf.MiB(bytes); !valid || s.HeapMiB < 1 || s.HeapMiB > math.MaxInt32 {
		r.wrong(key, "must be a memory size of at least 1 MiB, such as 2g")
		return
	}
	s.MemoryMiB = s.containerMiB(r, overheadKey, factorKey, s.HeapMiB)
}

func (s *Settings) containerMiB(r *reader, overheadKey, factorKey string, heap int64) int64 {
	factor, err := r.conf.Double(factorKey, mesosutil.DefaultMemoryOverheadFactor)
	r.note(err, factorKey)
	if err == nil && (factor <= 0 || factor > 1e6) {
		r.wrong(factorKey, "must be a number above 0")
	}
	var explicit *int64
	if r.set(overheadKey) {
		n := r.integer(overheadKey, 0, 0)
		explicit = &n
	}
	return mesosutil.ContainerMemoryMiB(heap, explicit, factor)
}

func (r *reader) dynamic(s *Settings) {
	s.DynamicAllocation = r.boolean("spark.dynamicAllocation.enabled")
	s.InitialTotal = fsm.Unlimited
	if s.DynamicAllocation {
		s.InitialTotal = 0
	}
	s.LocalityWait = r.duration("spark.locality.wait", time.Millisecond, 3*time.Second)
	const ratio = "spark.scheduler.minRegisteredResourcesRatio"
	var err error
	if s.MinRegisteredRatio, err = r.conf.Double(ratio, 0); err != nil {
		r.note(err, ratio)
	}
	s.MinRegisteredRatio = min(s.MinRegisteredRatio, 1)
	const shutdown = "spark.mesos.coarse.shutdownTimeout"
	if strings.HasPrefix(strings.TrimSpace(r.conf.Text(shutdown, "")), "-") {
		r.errs = append(r.errs, &InvalidError{Key: shutdown, Value: r.conf.Text(shutdown, ""), Reason: "spark.mesos.coarse.shutdownTimeout must be >= 0"})
		return
	}
	s.ShutdownTimeout = r.duration(shutdown, time.Millisecond, 10*time.Second)
}

func (r *reader) offers(s *Settings) {
	var err error
	s.Constraints, err = mesosutil.ParseConstraints(r.conf.Text("spark.mesos.constraints", ""))
	r.note(err, "spark.mesos.constraints")
	optional := func(key string) *time.Duration {
		if !r.set(key) {
			return nil
		}
		d := r.duration(key, time.Second, 0)
		return &d
	}
	s.Refuse = mesosutil.NewRefuseDurations(optional("spark.mesos.rejectOfferDuration"),
		optional("spark.mesos.rejectOfferDurationForUnmetConstraints"), optional("spark.mesos.rejectOfferDurationForReachedMaxCores"))
	s.Ports, err = mesosutil.WantedPorts(r.conf.Lookup, mesosutil.ManagedPortKeys()...)
	r.note(err, "")
	s.ExcludeFor = r.duration("spark.blacklist.timeout", time.Millisecond, time.Hour)
	s.ExcludeFor = r.duration("spark.excludeOnFailure.timeout", time.Millisecond, s.ExcludeFor)
}

func (r *reader) shuffle(s *Settings) {
	s.ShuffleService = r.boolean("spark.shuffle.service.enabled")
	s.ShufflePort = r.integer("spark.shuffle.service.port", 7337, 1)
	network := r.duration("spark.network.timeout", time.Second, 120*time.Second)
	s.ShuffleTimeout = r.duration("spark.storage.blockManagerHeartbeatTimeoutMs", time.Millisecond, network)
	s.ShuffleHeartbeat = r.duration("spark.executor.heartbeatInterval", time.Millisecond, 10*time.Second)
}

func (r *reader) tokens(s *Settings) {
	const ratio = "spark.security.credentials.renewalRatio"
	var err error
	s.TokenRatio, err = r.conf.Double(ratio, 0.75)
	r.note(err, "")
	if err == nil && (s.TokenRatio <= 0 || s.TokenRatio > 1) {
		r.wrong(ratio, "must lie above 0 and not above 1")
	}
	s.TokenRetry = r.duration("spark.security.credentials.retryWait", time.Second, time.Hour)
}

// driver is the host of the driver.
func (r *reader) driver(s *Settings) string {
	host := r.conf.Text("spark.driver.host", "")
	s.DriverURL = fmt.Sprintf("spark://CoarseGrainedScheduler@%s:%s", host, r.conf.Text("spark.driver.port", ""))
	if s.context.DriverURL == "" {
		return host
	}
	s.DriverURL = s.context.DriverURL
	named, err := driverHost(s.DriverURL)
	r.note(err, "DriverURL")
	return cmp.Or(host, named)
}

// driverHost reads a driver's URL as Spark's executors do (RpcEndpointAddress).
func driverHost(text string) (string, error) {
	const form = "must have the form spark://NAME@HOST:PORT"
	u, err := url.Parse(text)
	if err != nil || len(text) > maxDriverURL {
		return "", &InvalidError{Key: "DriverURL", Reason: form}
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	_, password := u.User.Password()
	if err != nil || port == 0 || u.Scheme != "spark" || u.Hostname() == "" || u.User.Username() == "" || password ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", &InvalidError{Key: "DriverURL", Reason: form}
	}
	return u.Hostname(), nil
}

func (r *reader) framework(s *Settings) {
	host := r.driver(s)
	failover, err := r.conf.Double("spark.mesos.driver.failoverTimeout", DefaultFailoverTimeout.Seconds())
	r.note(err, "spark.mesos.driver.failoverTimeout")
	if failover < 0 || failover > 1e9 {
		r.wrong("spark.mesos.driver.failoverTimeout", "must be seconds from 0 to 1000000000")
	}
	s.Framework = mesosutil.DriverFramework{
		User: s.User, Name: s.AppName, Hostname: cmp.Or(s.context.PublicHost, host),
		WebUIURL:        r.conf.Text("spark.mesos.driver.webui.url", s.context.WebUIURL),
		ID:              r.conf.Text(mesosutil.FrameworkIDKey, ""),
		FailoverTimeout: time.Duration(failover * float64(time.Second)), GPUs: s.MaxGPUs > 0,
	}
	if role := r.conf.Text("spark.mesos.role", ""); role != "" {
		role, err := mesosutil.ResolveRole(role)
		r.note(err, "spark.mesos.role")
		s.Framework.Roles = []string{role}
	}
}

func (r *reader) fine(s *Settings) {
	s.TaskCPUs = r.integer("spark.task.cpus", 1, 1)
	s.DefaultParallelism = r.integer("spark.default.parallelism", 8, 1)
	const key = "spark.mesos.mesosExecutor.cores"
	var err error
	s.AgentExecutorCores, err = r.conf.Double(key, 1)
	r.note(err, key)
	if err == nil && !(s.AgentExecutorCores >= 0 && s.AgentExecutorCores <= math.MaxInt32) {
		r.wrong(key, fmt.Sprintf("must be a number from 0 to %d", math.MaxInt32))
	}
	s.ShutdownTimeout = 0 // no executor has anything to clean up
	conf := r.conf.Map()
	if conf["spark.app.name"] == "" {
		conf["spark.app.name"] = s.AppName
	}
	s.fineData = javaPairs(conf)
}

func (r *reader) task(s *Settings) {
	var err error
	s.labels, err = mesosutil.ParseLabels(r.conf.Text("spark.mesos.task.labels", ""))
	r.note(err, "spark.mesos.task.labels")
	s.container, err = mesosutil.ParseContainer(r.conf.Lookup)
	r.note(err, "")
	s.secrets, err = mesosutil.ParseSecrets(r.conf.Lookup, "executor")
	r.note(err, "")
	s.cache = r.boolean("spark.mesos.fetcherCache.enable")
}
