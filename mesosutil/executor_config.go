package mesosutil

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	mesostime "github.com/mesos/mesos-go/api/v1/lib/time"
)

// Errors that end ExecutorDriver.Run, or that its calls return.
var (
	// ErrExecutorConfig: the configuration, or the environment that it was read
	// from, is not one that a Mesos agent gives to an executor.
	ErrExecutorConfig = errors.New("invalid executor configuration")
	// ErrAgentLost: the connection to the agent ended and the framework does not
	// checkpoint, or the agent did not come back within the recovery timeout.
	// The tasks of this executor are lost to Mesos: end them, and the process.
	ErrAgentLost = errors.New("the Mesos agent is lost")
	// ErrExecutorUnknown: the agent does not know this executor (any more). End
	// its tasks, and the process.
	ErrExecutorUnknown = errors.New("the Mesos agent does not know this executor")
	// ErrExecutorRefused: the agent finds a call invalid. That is a defect here.
	ErrExecutorRefused = errors.New("the Mesos agent refuses the executor's call")
	// ErrExecutorDone: the driver is not running; nothing can be sent.
	ErrExecutorDone = errors.New("the executor driver has ended")
	// ErrStatusSize: a status of more than MaxStatusBytes.
	ErrStatusSize = errors.New("task status too large")
)

// MaxStatusBytes bounds one encoded task status, of which only data and message
// can be large: 4 MiB.
const MaxStatusBytes = 4 << 20

// ExecutorConfig is the configuration of an ExecutorDriver, most of it from the
// environment that the agent gives to an executor (ExecutorConfigFromEnv). IDs
// and AgentEndpoint are required; the zero value of the rest is the default.
type ExecutorConfig struct {
	FrameworkID, ExecutorID string
	AgentEndpoint           string // host:port
	Sandbox                 string // the executor's directory; the driver does not use it
	// Checkpoint is the framework's: with it the executor outlives its agent
	// and waits RecoveryTimeout (default 15 min) for the next one, trying after
	// random pauses of at most SubscriptionBackoffMax (default 2 s).
	Checkpoint                              bool
	RecoveryTimeout, SubscriptionBackoffMax time.Duration
	// ShutdownGracePeriod is how long the agent waits after SHUTDOWN before it
	// kills. Default 5 s.
	ShutdownGracePeriod time.Duration
	// Token authenticates the executor where agents ask for that. Secret.
	Token string

	// TLS, when set, makes the agent's endpoint https.
	TLS *tls.Config
	// Codec defaults to DriverCodecProtobuf.
	Codec DriverCodec
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// CallTimeout bounds a call, and a SUBSCRIBE until SUBSCRIBED. Default 10 s.
	CallTimeout time.Duration
	// RetryInterval is after how long an update that the agent took but did not
	// acknowledge is sent again; it doubles with each try up to 10 min.
	// Default 10 s.
	RetryInterval time.Duration
	// MaxUnacknowledged and MaxUnacknowledgedBytes bound the updates that wait
	// for the agent; Update waits beyond that. Defaults 10000 and 8 MiB.
	MaxUnacknowledged, MaxUnacknowledgedBytes int
	// MaxRecordBytes bounds one event on the wire. Default 64 MiB.
	MaxRecordBytes int
}

// ExecutorConfigFromEnv reads the variables MESOS_* that an agent sets for an
// executor; get is os.Getenv. Errors wrap ErrExecutorConfig and name every
// variable that is missing or malformed, never the token's value.
func ExecutorConfigFromEnv(get func(string) string) (ExecutorConfig, error) {
	var wrong []string
	required := func(name string) string {
		value := get(name)
		if value == "" {
			wrong = append(wrong, name+" is not set")
		}
		return value
	}
	duration := func(name string) time.Duration {
		text := required(name)
		if text == "" {
			return 0
		}
		d, err := mesostime.ParseDuration(text)
		if err != nil || d < 0 {
			wrong = append(wrong, fmt.Sprintf("%s=%q is no duration such as 2secs", name, text))
		}
		return d
	}
	c := ExecutorConfig{
		FrameworkID:         required("MESOS_FRAMEWORK_ID"),
		ExecutorID:          required("MESOS_EXECUTOR_ID"),
		AgentEndpoint:       required("MESOS_AGENT_ENDPOINT"),
		Sandbox:             required("MESOS_SANDBOX"),
		ShutdownGracePeriod: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"),
		Token:               get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"),
	}
	if text := get("MESOS_CHECKPOINT"); text != "" {
		var err error
		if c.Checkpoint, err = strconv.ParseBool(text); err != nil {
			wrong = append(wrong, fmt.Sprintf("MESOS_CHECKPOINT=%q is neither 0 nor 1", text))
		}
	}
	if c.Checkpoint {
		c.RecoveryTimeout = duration("MESOS_RECOVERY_TIMEOUT")
		c.SubscriptionBackoffMax = duration("MESOS_SUBSCRIPTION_BACKOFF_MAX")
	}
	if len(wrong) > 0 {
		return ExecutorConfig{}, fmt.Errorf("%w: %s: a Mesos agent sets these when it starts an executor", ErrExecutorConfig, strings.Join(wrong, "; "))
	}
	if tlsOn, err := strconv.ParseBool(get("LIBPROCESS_SSL_ENABLED")); err == nil && tlsOn {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12} // of the system's roots
	}
	return c, nil
}

func (c ExecutorConfig) withDefaults() ExecutorConfig {
	setDefault(&c.RecoveryTimeout, 15*time.Minute)
	setDefault(&c.SubscriptionBackoffMax, 2*time.Second)
	setDefault(&c.ShutdownGracePeriod, 5*time.Second)
	setDefault(&c.Codec, DriverCodecProtobuf)
	setDefault(&c.Logger, slog.Default())
	setDefault(&c.CallTimeout, 10*time.Second)
	setDefault(&c.RetryInterval, 10*time.Second)
	setDefault(&c.MaxUnacknowledged, 10_000)
	setDefault(&c.MaxUnacknowledgedBytes, 8<<20)
	setDefault(&c.MaxRecordBytes, 64<<20)
	return c
}

func (c ExecutorConfig) check() error {
	for name, d := range map[string]time.Duration{
		"RecoveryTimeout": c.RecoveryTimeout, "SubscriptionBackoffMax": c.SubscriptionBackoffMax,
		"ShutdownGracePeriod": c.ShutdownGracePeriod, "CallTimeout": c.CallTimeout, "RetryInterval": c.RetryInterval,
	} {
		if d < 0 {
			return fmt.Errorf("%w: %s is %v", ErrExecutorConfig, name, d)
		}
	}
	switch {
	case c.FrameworkID == "" || c.ExecutorID == "":
		return fmt.Errorf("%w: the ids of framework and executor are required", ErrExecutorConfig)
	case c.AgentEndpoint == "" || strings.ContainsAny(c.AgentEndpoint, "/?#@ "):
		return fmt.Errorf("%w: agent endpoint %q is not host:port", ErrExecutorConfig, c.AgentEndpoint)
	case c.MaxUnacknowledged < 1 || c.MaxUnacknowledgedBytes < 1 || c.MaxRecordBytes < 1:
		return fmt.Errorf("%w: limits must be positive", ErrExecutorConfig)
	}
	return nil
}
