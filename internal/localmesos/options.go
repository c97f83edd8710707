package localmesos

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Options say what to start. The zero value is one agent on a free loopback
// port with the timing of a test; fields that are durations use their default
// when zero.
type Options struct {
	// Addr is the host:port of the first master; port 0 picks a free one.
	// Default "127.0.0.1:0".
	Addr string
	// Standbys are addresses of further masters. They do not lead, answer 307
	// to the one that does, and can be made to lead by [Mesos.FailoverTo].
	Standbys []string

	// Agents is how many agents run. Default 1, at most 1000.
	Agents int
	// Resources of each agent in Mesos' flag syntax, for example
	// "cpus:4;mem:4096;disk:8192;ports:[31000-31999];cpus(eng):2". Memory and
	// disk are in MiB. Empty: 4 CPUs, 4 GiB, 8 GiB of disk, and 1000 ports that
	// differ from agent to agent, as all of them share one host.
	Resources string
	// Attributes of each agent, for example "rack:a;os:centos;level:3".
	Attributes string
	// AgentOptions override, by position, what one agent has.
	AgentOptions []AgentOptions

	// WorkDir holds the sandboxes. Empty: a temporary directory that Close
	// removes.
	WorkDir string
	// InheritEnv names the variables of this process that tasks get to see.
	// Nil: PATH, HOME, USER, LANG, TZ, TMPDIR and JAVA_HOME. Nothing else of
	// this process's environment reaches a task.
	InheritEnv []string

	// HeartbeatInterval is the time between HEARTBEAT events. Default 15 s.
	HeartbeatInterval time.Duration
	// AllocationInterval is the least time between two rounds of offers.
	// Rounds run on events, never idly. Default 20 ms.
	AllocationInterval time.Duration
	// OfferTimeout is the age at which an unanswered offer is rescinded.
	// Default: never.
	OfferTimeout time.Duration
	// UpdateRetry is the wait before an unacknowledged update is sent again.
	// It doubles with each try, up to 10 minutes. Default 10 s.
	UpdateRetry time.Duration
	// AgentReregisterDelay is how long agents take to find a new leading
	// master. Default: none.
	AgentReregisterDelay time.Duration
	// KillGracePeriod is the time between SIGTERM and SIGKILL where neither
	// the task nor the KILL call has a policy. Default 3 s.
	KillGracePeriod time.Duration
	// ExecutorRegistrationTimeout is how long an executor may take from its
	// launch to its SUBSCRIBE. Default 1 min.
	ExecutorRegistrationTimeout time.Duration
	// ExecutorReregistrationTimeout is how long a restarted agent waits for its
	// executors; executors hear of it as MESOS_SUBSCRIPTION_BACKOFF_MAX.
	// Default 2 s.
	ExecutorReregistrationTimeout time.Duration
	// ExecutorShutdownGracePeriod is the time between SHUTDOWN and SIGKILL
	// where the ExecutorInfo names none. Default 5 s.
	ExecutorShutdownGracePeriod time.Duration
	// RecoveryTimeout is how long executors are told to wait for their agent's
	// return. Default 15 min.
	RecoveryTimeout time.Duration
	// ExecutorHeartbeatInterval is the time between HEARTBEAT events to
	// executors. Default 30 min.
	ExecutorHeartbeatInterval time.Duration
	// AuthenticateExecutors gives each executor a token in its environment,
	// without which the executor API answers 401. The real agent makes its
	// tokens of a secret key; these are random.
	AuthenticateExecutors bool

	// FetchTimeout bounds the fetching of all URIs of one task. Default 10 min.
	FetchTimeout time.Duration

	// Credentials, if any, are the principals that may call the scheduler API
	// and their secrets, by HTTP basic authentication.
	Credentials map[string]string
	// Logger receives what a master's and an agent's log would say. Nil: none.
	Logger *slog.Logger
}

// AgentOptions override [Options] for one agent. Empty fields override nothing.
type AgentOptions struct {
	Resources  string
	Attributes string
	// Hostname as frameworks see it. Default: the host of Options.Addr.
	Hostname string
}

const (
	maxAgents       = 1000
	maxUpdateRetry  = 10 * time.Minute
	defaultRefuse   = 5 * time.Second
	maxRefuse       = 365 * 24 * time.Hour
	maxCallBytes    = 10 << 20
	maxStreamEvents = 100_000 // a scheduler this far behind is cut off
	maxCompleted    = 1000    // completed tasks kept for each framework, and each agent

	maxExecutorTasks = 200 // completed tasks kept for each executor
	maxPastExecutors = 150 // ended executors kept for each agent
)

func (o Options) withDefaults() (Options, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if _, _, err := net.SplitHostPort(o.Addr); err != nil {
		return o, fmt.Errorf("localmesos: address %q is not host:port: %w", o.Addr, err)
	}
	if o.Agents == 0 {
		o.Agents = max(1, len(o.AgentOptions))
	}
	if o.Agents < 0 || o.Agents > maxAgents {
		return o, fmt.Errorf("localmesos: %d agents: want 1 to %d", o.Agents, maxAgents)
	}
	if len(o.AgentOptions) > o.Agents {
		return o, fmt.Errorf("localmesos: options for %d agents, but only %d agents", len(o.AgentOptions), o.Agents)
	}
	if o.InheritEnv == nil {
		o.InheritEnv = []string{"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "JAVA_HOME"}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.HeartbeatInterval, 15 * time.Second},
		{&o.AllocationInterval, 20 * time.Millisecond},
		{&o.UpdateRetry, 10 * time.Second},
		{&o.KillGracePeriod, 3 * time.Second},
		{&o.FetchTimeout, 10 * time.Minute},
		{&o.ExecutorRegistrationTimeout, time.Minute},
		{&o.ExecutorReregistrationTimeout, 2 * time.Second},
		{&o.ExecutorShutdownGracePeriod, 5 * time.Second},
		{&o.RecoveryTimeout, 15 * time.Minute},
		{&o.ExecutorHeartbeatInterval, 30 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return o, fmt.Errorf("localmesos: negative duration %s", *d.field)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// agentSpec is what agent number i is made of.
func (o Options) agentSpec(i int) (hostname string, total mesos.Resources, attributes []mesos.Attribute, err error) {
	var over AgentOptions
	if i < len(o.AgentOptions) {
		over = o.AgentOptions[i]
	}
	text := firstNonEmpty(over.Resources, o.Resources)
	if text == "" {
		// Ports wrap around: beyond 34 agents they are shared again.
		first := 31000 + 1000*(i%34)
		text = fmt.Sprintf("cpus:4;mem:4096;disk:8192;ports:[%d-%d]", first, first+999)
	}
	if total, err = parseResources(text); err != nil {
		return "", nil, nil, err
	}
	if attributes, err = parseAttributes(firstNonEmpty(over.Attributes, o.Attributes)); err != nil {
		return "", nil, nil, err
	}
	host, _, _ := net.SplitHostPort(o.Addr)
	if host == "" {
		host = "127.0.0.1"
	}
	return firstNonEmpty(over.Hostname, host), total, attributes, nil
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// taskBaseEnv is the part of this process's environment that tasks inherit.
func (o Options) taskBaseEnv() map[string]string {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range o.InheritEnv {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	return env
}
