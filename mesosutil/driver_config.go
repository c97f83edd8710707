package mesosutil

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/gogo/protobuf/proto"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/prometheus/client_golang/prometheus"
)

// DriverCodec is how messages are written on the wire.
type DriverCodec string

// The codecs of Mesos. Protobuf is the default; JSON can be read with tcpdump.
const (
	DriverCodecProtobuf DriverCodec = "protobuf"
	DriverCodecJSON     DriverCodec = "json"
)

// DriverConfig is the configuration of a Driver. Framework and one of Master
// and Detector are required; for the rest the zero value is the default.
type DriverConfig struct {
	// Master is a list of masters as ParseMaster reads it; a zk:// master
	// needs a Detector instead.
	Master string
	// Detector finds the masters where they are not a fixed list.
	Detector MasterDetector
	// Framework is copied. With an ID the driver takes that framework over
	// (and never takes another id); without, it registers a new one.
	Framework *mesos.FrameworkInfo
	// Credentials, when given, also fill in the framework's principal.
	Credentials *Credentials
	// Gate is asked before every SUBSCRIBE and once more when the master has
	// accepted it, before EventSubscribed. An error ends Run with ErrGate.
	// A replicated scheduler verifies here that it leads.
	Gate func(context.Context) error

	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Registerer of the metrics; none without. Drivers may share one.
	Registerer prometheus.Registerer

	// HeartbeatMisses is after how many silent heartbeat intervals (15 s each
	// in Mesos) the subscription is given up: 1 to 100, default 3.
	HeartbeatMisses int
	// BackoffMin and BackoffMax bound the wait before the next round of
	// subscribing: drawn from [0, min(BackoffMax, BackoffMin·2ⁿ)]. Defaults
	// 100 ms and 10 s.
	BackoffMin, BackoffMax time.Duration
	// CallTimeout bounds a call, a SUBSCRIBE until its answer begins, and the
	// wait for the SUBSCRIBED event. Default 10 s.
	CallTimeout time.Duration
	// Codec defaults to DriverCodecProtobuf.
	Codec DriverCodec
	// TLS, when set, makes https the scheme of masters given without one.
	TLS *tls.Config
	// Buffer is how many events may wait for the reader of Events before the
	// driver stops reading from the master. Default 64.
	Buffer int
	// MaxRecordBytes bounds one event on the wire. Default 64 MiB (mesos-go's
	// 4 MiB are reached by the offers of some thousand agents).
	MaxRecordBytes int
}

func (c DriverConfig) withDefaults() DriverConfig {
	setDefault(&c.Logger, slog.Default())
	setDefault(&c.HeartbeatMisses, 3)
	setDefault(&c.BackoffMax, max(10*time.Second, c.BackoffMin))
	setDefault(&c.BackoffMin, min(100*time.Millisecond, c.BackoffMax))
	setDefault(&c.CallTimeout, 10*time.Second)
	setDefault(&c.Codec, DriverCodecProtobuf)
	setDefault(&c.Buffer, 64)
	setDefault(&c.MaxRecordBytes, 64<<20)
	if c.Gate == nil {
		c.Gate = func(context.Context) error { return nil }
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c DriverConfig) check() error {
	switch {
	case c.HeartbeatMisses < 1 || c.HeartbeatMisses > 100:
		return fmt.Errorf("%w: HeartbeatMisses is %d, not 1 to 100", ErrDriverConfig, c.HeartbeatMisses)
	case c.BackoffMin < 0 || c.BackoffMax < c.BackoffMin:
		return fmt.Errorf("%w: back-off from %v to %v", ErrDriverConfig, c.BackoffMin, c.BackoffMax)
	case c.CallTimeout < 0:
		return fmt.Errorf("%w: CallTimeout %v is negative", ErrDriverConfig, c.CallTimeout)
	case c.Buffer < 0:
		return fmt.Errorf("%w: Buffer %d is negative", ErrDriverConfig, c.Buffer)
	case c.MaxRecordBytes < 0:
		return fmt.Errorf("%w: MaxRecordBytes %d is negative", ErrDriverConfig, c.MaxRecordBytes)
	}
	return nil
}

func (c DriverConfig) codec() (encoding.Codec, error) {
	switch c.Codec {
	case DriverCodecProtobuf:
		return codecs.ByMediaType[codecs.MediaTypeProtobuf], nil
	case DriverCodecJSON:
		return codecs.ByMediaType[codecs.MediaTypeJSON], nil
	}
	return encoding.Codec{}, fmt.Errorf("%w: codec %q is neither %q nor %q", ErrDriverConfig, c.Codec, DriverCodecProtobuf, DriverCodecJSON)
}

// detector also gives the scheme of masters that are named without one.
func (c DriverConfig) detector() (MasterDetector, string, error) {
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	switch {
	case c.Detector != nil && c.Master != "":
		return nil, "", fmt.Errorf("%w: Master and Detector are both set", ErrDriverConfig)
	case c.Detector != nil:
		return c.Detector, scheme, nil
	}
	m, err := ParseMaster(c.Master)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrDriverConfig, err)
	}
	if m.ZooKeeper {
		return nil, "", fmt.Errorf("%w: %v needs a MasterDetector for ZooKeeper", ErrDriverConfig, m)
	}
	setDefault(&m.Scheme, scheme)
	return staticMasters(m.Hosts), m.Scheme, nil
}

// framework copies the FrameworkInfo and settles its principal: Mesos refuses
// one that is not the authenticated one.
func (c DriverConfig) framework() (*mesos.FrameworkInfo, error) {
	if c.Framework == nil || c.Framework.Name == "" {
		return nil, fmt.Errorf("%w: a Framework with a name is required", ErrDriverConfig)
	}
	info := proto.Clone(c.Framework).(*mesos.FrameworkInfo)
	principal := c.Credentials.Principal()
	if own := info.GetPrincipal(); own != "" && principal != "" && own != principal {
		return nil, fmt.Errorf("%w: the framework's principal %q is not that of the credentials, %q", ErrDriverConfig, own, principal)
	}
	if principal != "" {
		info.Principal = &principal
	}
	return info, nil
}
