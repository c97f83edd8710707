package shuffle

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ha-dispatcher/ha-dispatcher/shuffle/auth"
)

// Config of a [Service]. Start from [DefaultConfig] or [FromProperties]; a zero
// limit is refused by [New] unless its comment gives it a meaning.
type Config struct {
	// Addr is the TCP address that Spark's clients connect to.
	Addr string
	// HTTPAddr serves /healthz and /metrics; empty: no HTTP.
	HTTPAddr string
	// DataDir holds the registrations; empty: in memory only, lost on restart.
	DataDir string

	// Auth demands a handshake on every connection; nil lets anybody in.
	Auth *auth.Config
	// AuthTimeout bounds the time until a connection has authenticated.
	AuthTimeout time.Duration
	// IdleTimeout closes connections without a request, and those whose peer
	// takes nothing of an answer or does not finish a request, for so long.
	IdleTimeout time.Duration

	// CleanerInterval is how often silent applications are looked for.
	CleanerInterval time.Duration
	// OrphanTimeout removes applications that were restored after a restart and
	// gave no sign of life since; zero keeps them for ever.
	OrphanTimeout time.Duration
	// OrphanUnregistered applies OrphanTimeout also to applications whose driver
	// never registered. Leave it off outside Mesos, where no driver registers.
	OrphanUnregistered bool
	// AllowedDirs, if not empty, are the directories that executors' local dirs
	// must be beneath.
	AllowedDirs []string

	// IndexCacheBytes bounds the memory for shuffle index files.
	IndexCacheBytes int64
	// OpenFiles bounds the shuffle files that are kept open between requests.
	OpenFiles int
	// SendfileBytes is the block size from which the kernel copies from file to
	// socket; smaller blocks are gathered into one write. At most 64 KiB are
	// gathered whatever this says.
	SendfileBytes int64

	// MaxConnections refuses further connections.
	MaxConnections int
	// MaxRequestBytes refuses longer frames.
	MaxRequestBytes int64
	// MaxOpenChunks bounds the chunks of one connection that are asked for and
	// not yet fetched.
	MaxOpenChunks int64
	// MaxChunksInFlight closes a connection whose fetch would exceed it, over all
	// connections (spark.shuffle.maxChunksBeingTransferred); zero: no bound.
	MaxChunksInFlight int64
	// MemoryBytes bounds, of all connections together, unfinished large requests
	// with one half and open streams with the other.
	MemoryBytes int64
	// RegistrationBytes bounds the memory for registrations.
	RegistrationBytes int64

	// ReceiveBuffer and SendBuffer are the socket buffers; zero: the kernel's choice.
	ReceiveBuffer, SendBuffer int
	// AccessLogEvery logs every n-th request; zero: none. Failures are always
	// logged, within a rate.
	AccessLogEvery int
	// Log receives everything; nil: slog.Default().
	Log *slog.Logger
}

// DefaultConfig listens on Spark's port on all addresses, in memory, without
// authentication, with Spark's defaults where Spark has the setting.
func DefaultConfig() Config {
	return Config{
		Addr:              ":7337",
		AuthTimeout:       30 * time.Second,
		IdleTimeout:       120 * time.Second,
		CleanerInterval:   30 * time.Second,
		OrphanTimeout:     72 * time.Hour,
		IndexCacheBytes:   100 << 20,
		OpenFiles:         2048,
		SendfileBytes:     defaultSendfile,
		MaxConnections:    8192,
		MaxRequestBytes:   16 << 20,
		MaxOpenChunks:     1 << 20,
		MemoryBytes:       128 << 20,
		RegistrationBytes: 64 << 20,
		AccessLogEvery:    100,
	}
}

// ErrConfig is wrapped by every refusal of a configuration.
var ErrConfig = errors.New("shuffle service configuration")

func (c *Config) validate() error {
	for _, v := range []struct {
		name string
		n    int64
	}{
		{"AuthTimeout", int64(c.AuthTimeout)}, {"IdleTimeout", int64(c.IdleTimeout)}, {"CleanerInterval", int64(c.CleanerInterval)},
		{"OpenFiles", int64(c.OpenFiles)}, {"MaxConnections", int64(c.MaxConnections)}, {"MaxRequestBytes", c.MaxRequestBytes},
		{"MaxOpenChunks", c.MaxOpenChunks}, {"MemoryBytes", c.MemoryBytes}, {"RegistrationBytes", c.RegistrationBytes},
	} {
		if v.n <= 0 {
			return fmt.Errorf("%w: %s must be positive, is %d", ErrConfig, v.name, v.n)
		}
	}
	if c.Auth != nil {
		if err := c.Auth.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}
